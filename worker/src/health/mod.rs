//! Shows a worker's health to a supervisor (systemd), a probe, or a Prometheus server.
//!
//! * `vitals` – what makes a worker healthy, and what makes it ready.
//! * `http` – the three pages: `/healthz`, `/readyz`, `/metrics`.
//! * `systemd` – readiness and the watchdog.
//!
//! All of it runs on the worker's own runtime, so that no task can delay it. It reads what the
//! parts of the worker record in a [`Monitor`](crate::monitor::Monitor).

pub(crate) mod http;
pub(crate) mod systemd;
mod vitals;

pub(crate) use self::vitals::{Schedules, Vitals};
