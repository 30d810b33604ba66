//! Reports to the service manager: `READY=1`, `WATCHDOG=1` and `STOPPING=1` go to the socket of
//! `NOTIFY_SOCKET`, as `sd_notify(3)` and `sd_watchdog_enabled(3)` describe. Without that variable
//! nothing happens.
//!
//! The worker feeds the watchdog while every loop of the consumer turns. It does so even while the
//! broker is away, because a restart would not bring the broker back.
//!
//! This is our own code because the crate `sd-notify` does not support abstract sockets, which
//! containers often use.

use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::monitor::Pulses;
use crate::shutdown::{Phase, Shutdown};

/// How often the worker asks for more time during a long start. A broker that is away is not a
/// reason for the manager to give up.
const STARTING: Duration = Duration::from_secs(5);
/// How much more time each request during a long start asks for.
const STARTING_PATIENCE: Duration = Duration::from_secs(30);

/// A service manager that listens.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// The longest silence that the watchdog allows, if there is a watchdog.
    watchdog: Option<Duration>,
    stopping: AtomicBool,
}

impl Manager {
    /// Returns the manager that started this process, if it listens.
    pub(crate) fn from_env() -> Option<Arc<Self>> {
        let variable = |name: &str| std::env::var(name).ok();
        let path = variable("NOTIFY_SOCKET").filter(|path| !path.is_empty())?;
        let watchdog = watchdog(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        Self::open(&path, watchdog)
            .inspect_err(|error| tracing::warn!("NOTIFY_SOCKET cannot be used: {error}"))
            .ok()
            .map(Arc::new)
    }

    fn open(path: &str, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match path.strip_prefix('@') {
            #[cfg(target_os = "linux")]
            Some(name) => SocketAddr::from_abstract_name(name)?,
            #[cfg(not(target_os = "linux"))]
            Some(_) => return Err(io::Error::from(io::ErrorKind::Unsupported)),
            None => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A slow manager must not slow down the worker.
        socket.set_nonblocking(true)?;
        Ok(Manager {
            socket,
            address,
            watchdog,
            stopping: AtomicBool::new(false),
        })
    }

    fn tell(&self, state: &str) {
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            tracing::debug!("the service manager did not receive {state:?}: {error}");
        }
    }

    /// Reports, once, that the worker is about to end. Every part that notices the end calls this,
    /// because an idle worker ends before some parts notice it. Only the first call reports.
    pub(crate) fn stopping(&self) {
        if !self.stopping.swap(true, Ordering::Relaxed) {
            self.tell("STOPPING=1\nSTATUS=Stopping");
        }
    }

    /// Reports to the manager until the process ends. `ready` must end when the worker is ready.
    pub(crate) async fn serve(
        self: Arc<Self>,
        ready: impl Future<Output = ()>,
        pulses: Arc<Pulses>,
        shutdown: Shutdown,
    ) {
        let mut ready = std::pin::pin!(ready);
        let mut is_ready = false;
        let mut reported = Phase::Running;
        // The interval is half of the required one, as sd_watchdog_enabled(3) advises.
        let period = self
            .watchdog
            .map_or(STARTING, |time| (time / 2).min(STARTING));
        let mut tick = tokio::time::interval(period);
        self.tell("STATUS=Connecting to the broker");
        loop {
            tokio::select! {
                () = &mut ready, if !is_ready => {
                    is_ready = true;
                    self.tell("READY=1\nSTATUS=Ready");
                }
                () = shutdown.reached(Phase::Draining), if reported == Phase::Running => {
                    reported = Phase::Draining;
                    self.tell("STATUS=Draining");
                }
                () = shutdown.reached(Phase::Warm), if reported < Phase::Warm => {
                    reported = Phase::Warm;
                    self.stopping();
                }
                _ = tick.tick() => {
                    let starting = !is_ready && reported < Phase::Warm;
                    let alive = pulses.hanging(Instant::now()).is_empty();
                    if let Some(state) = sign_of_life(alive, starting, self.watchdog.is_some()) {
                        self.tell(&state);
                    }
                }
            }
        }
    }
}

/// Returns the regular report to the manager, or `None` if the worker hangs.
fn sign_of_life(alive: bool, starting: bool, watched: bool) -> Option<String> {
    let mut lines = Vec::new();
    if starting {
        let patience = STARTING_PATIENCE.as_micros();
        lines.push(format!("EXTEND_TIMEOUT_USEC={patience}"));
    }
    if watched {
        lines.push("WATCHDOG=1".to_owned());
    }
    (alive && !lines.is_empty()).then(|| lines.join("\n"))
}

/// Returns the interval of the watchdog, if it is meant for this process.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_hangs_gives_no_sign_of_life() {
        for (starting, watched) in [(true, true), (false, true), (true, false)] {
            assert_eq!(sign_of_life(false, starting, watched), None);
            let sign = sign_of_life(true, starting, watched).unwrap();
            assert_eq!(sign.contains("WATCHDOG=1"), watched);
            assert_eq!(sign.contains("EXTEND_TIMEOUT_USEC=30000000"), starting);
        }
        assert_eq!(sign_of_life(true, false, false), None);
    }

    #[test]
    fn a_watchdog_for_another_process_is_ignored() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some("1000000"), None, 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("7"), 7), second);
        for (usec, pid) in [
            (None, Some("7")),
            (Some("0"), None),
            (Some("soon"), None),
            (Some("1000000"), Some("8")),
            (Some("1000000"), Some("x")),
        ] {
            assert_eq!(watchdog(usec, pid, 7), None, "{usec:?} {pid:?}");
        }
    }
}
