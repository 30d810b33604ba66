//! Private servers and faults for tests, benchmarks and the demo.
//!
//! Each server runs on a free port of the loopback interface, in a temporary folder of its own.
//! Dropping its value removes it, so tests run side by side and leave nothing behind. If a program
//! is missing on the machine, the error names the Debian package that contains it.
//!
//! # Layout
//!
//! * [`Process`] – any program with its output captured; a test can wait for a line of it.
//! * [`Redis`] – a Redis server; options add a password, persistence, a memory limit or a primary.
//! * [`Sentinels`] – three Sentinels that watch a Redis and its replicas.
//! * [`RedisCluster`] – a Redis Cluster that fails over and moves the slot of the keys on request.
//! * [`RabbitMq`] – a RabbitMQ node with virtual hosts, alarms and Erlang expressions on request.
//! * [`MariaDb`] – a MariaDB server with an empty database.
//! * [`Php`] – PHP with the extension that was built, or without it; [`Fpm`] – PHP-FPM and nginx
//!   serving a folder with it.
//! * [`Proxy`] – a TCP proxy that delays data, drips it, falls silent, resets or cuts a connection
//!   at a request, or connects to another server.
//! * [`Wire`] – two network namespaces and a wire between them; cutting it drops all packets.
//! * [`OtlpCollector`] – a collector of OpenTelemetry that keeps the spans it gets.
//! * [`Certificates`] – an authority and the certificates that it signed, for servers with TLS.
//! * [`wait_for`] – the only way to wait for a condition: it needs a deadline and a name for
//!   errors.
//!
//! The crate knows neither Celery nor SQL: the tests decide what to send to the servers.

mod cluster;
mod error;
mod fpm;
mod guard;
mod mariadb;
mod otlp;
mod php;
mod ports;
mod postgres;
mod process;
mod proxy;
mod rabbitmq;
mod redis;
mod sentinel;
mod tls;
mod wait;
mod wire;

use std::env;
use std::path::{Path, PathBuf};

pub use cluster::RedisCluster;
pub use error::Error;
pub use fpm::Fpm;
pub use mariadb::MariaDb;
pub use otlp::{OtlpCollector, SeenSpan};
pub use php::Php;
pub use ports::free_port;
pub use postgres::Postgres;
pub use process::{Process, leave_terminal_group};
pub use proxy::{Cut, Fault, Proxy};
pub use rabbitmq::{RabbitMq, RabbitMqOptions, VirtualHost};
pub use redis::{Redis, RedisOptions};
pub use sentinel::{MASTER, Sentinels};
pub use tls::{Certificates, ServerName};
pub use wait::wait_for;
pub use wire::Wire;

/// Returns Cargo's target folder, where the built programs and the caches of this crate are.
fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    )
}
