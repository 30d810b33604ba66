//! How a worker's health is read from outside: by a supervisor (systemd), a probe, a Prometheus server.
//!
//! * `vitals` – what makes a worker healthy, and what makes it ready.
//! * `http` – the three pages: `/healthz`, `/readyz`, `/metrics`.
//! * `systemd` – readiness and the watchdog.
//!
//! All of it runs on the worker's own runtime, so that no task can delay it. What it reads is written by
//! the parts of the worker into a [`Monitor`](crate::monitor::Monitor).

pub(crate) mod http;
pub(crate) mod systemd;
mod vitals;

pub(crate) use self::vitals::Vitals;
