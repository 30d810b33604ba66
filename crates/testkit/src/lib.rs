//! Private servers and faults for tests, benchmarks and the demo.
//!
//! Everything here runs on a free port of the loopback interface and in a temporary folder of its own, and is
//! gone when its value is dropped: tests run side by side and leave nothing behind. What is missing on the
//! machine is named together with the Debian package that brings it.
//!
//! # Layout
//!
//! * [`Process`] – any program with its output captured; lines of it can be waited for.
//! * [`Redis`] – a Redis server, with a password, persistence, a memory limit or a primary if asked for.
//! * [`MariaDb`] – a MariaDB server with an empty database.
//! * [`Php`] – PHP with the extension that was built, or none; [`Fpm`] – PHP-FPM and nginx serving a folder with it.
//! * [`Proxy`] – a TCP proxy that delays, drips, falls silent, resets, cuts a connection at a request, or leads
//!   elsewhere.
//! * [`Wire`] – two network namespaces and a wire between them that can be cut: packets are swallowed.
//! * [`Certificates`] – an authority and what it signed, for servers with TLS.
//! * [`wait_for`] – the only way to wait for a condition: with a deadline and a name for what was waited for.
//!
//! The crate speaks neither Celery nor SQL: what is sent to the servers is the business of the tests.

mod error;
mod fpm;
mod mariadb;
mod php;
mod ports;
mod postgres;
mod process;
mod proxy;
mod redis;
mod tls;
mod wait;
mod wire;

use std::env;
use std::path::{Path, PathBuf};

pub use error::Error;
pub use fpm::Fpm;
pub use mariadb::MariaDb;
pub use php::Php;
pub use ports::free_port;
pub use postgres::Postgres;
pub use process::{Process, leave_terminal_group};
pub use proxy::{Cut, Fault, Proxy};
pub use redis::{Redis, RedisOptions};
pub use tls::{Certificates, ServerName};
pub use wait::wait_for;
pub use wire::Wire;

/// Cargo's target folder: what is built, and what can be made again, is there.
fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    )
}
