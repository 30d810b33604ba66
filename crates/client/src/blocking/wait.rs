//! The deadline and the interrupt of a call.
//!
//! All waiting of the driver goes through [`Wait`]. It sleeps in `poll(2)`, in slices that are
//! short enough to serve the caller's interrupts, and never past its deadline.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::process::Process;
use crate::backoff::Backoff;
use crate::error::ClientError;

/// The longest sleep between two checks of the interrupt: short for a person, while 20 wake-ups a
/// second cost almost nothing.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// The least time that another attempt gets, or a quarter of the whole time if that is shorter. If the
/// deadline cut off its answer, a known refusal would become an unknown outcome.
const LAST_ATTEMPT: Duration = Duration::from_millis(100);

/// An absolute point in time, and the total time from its creation to that point.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    since: Instant,
    at: Instant,
    total: Duration,
}

/// The longest time of a deadline. No caller ever waits that long, but the time is small enough to
/// be added to any clock.
const FOREVER: Duration = Duration::from_hours(100 * 365 * 24);

impl Deadline {
    /// Returns the deadline that passes after `total`.
    pub fn after(total: Duration) -> Self {
        let total = total.min(FOREVER);
        let since = Instant::now();
        Self {
            since,
            at: since + total,
            total,
        }
    }

    /// Returns the earlier of this deadline and `total` from now.
    #[must_use]
    pub fn within(self, total: Duration) -> Self {
        let other = Self::after(total);
        if other.at < self.at { other } else { self }
    }

    /// Returns the time left; zero once the deadline has passed.
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Returns `true` if the deadline has passed.
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// Returns the time at which the deadline was set.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Returns the total time that the deadline allowed.
    pub fn total(&self) -> Duration {
        self.total
    }
}

/// The error of an [`Interrupt`] whose caller wants its thread back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// A check that runs at least every 50 ms, and after every signal, while a call waits.
pub trait Interrupt {
    /// Serves pending events of the caller (signals, time limits). An error ends the call with
    /// [`ClientError::Interrupted`].
    ///
    /// # Errors
    /// [`Interrupted`] if the call must not go on.
    fn check(&mut self) -> Result<(), Interrupted>;
}

/// An interrupt that never ends a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverInterrupt;

impl Interrupt for NeverInterrupt {
    fn check(&mut self) -> Result<(), Interrupted> {
        Ok(())
    }
}

/// The time that a call may wait, and the check that may end it earlier.
pub struct Wait<'a> {
    deadline: Deadline,
    interrupt: &'a mut dyn Interrupt,
    /// The time of the last check; before the first one, the start of the deadline.
    asked: Instant,
    /// The process that began to wait. An interrupt may run any PHP function, which may fork.
    process: Process,
}

impl<'a> Wait<'a> {
    /// Creates a wait of at most `total` from now.
    pub fn new(total: Duration, interrupt: &'a mut dyn Interrupt) -> Self {
        Self::until(Deadline::after(total), interrupt)
    }

    /// Creates a wait until `deadline` at most.
    pub fn until(deadline: Deadline, interrupt: &'a mut dyn Interrupt) -> Self {
        Self {
            deadline,
            interrupt,
            asked: deadline.since,
            process: Process::current(),
        }
    }

    /// Returns the deadline.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Lends the whole wait.
    pub(crate) fn whole(&mut self) -> Wait<'_> {
        Wait {
            interrupt: self.interrupt,
            ..*self
        }
    }

    /// Lends a part of this wait that lasts at most `total`.
    pub fn within(&mut self, total: Duration) -> Wait<'_> {
        Wait {
            deadline: self.deadline.within(total),
            ..self.whole()
        }
    }

    /// Lends a part of this wait that lasts an `nth` of the time left, but at least `least`.
    pub(crate) fn share(&mut self, nth: u32, least: Duration) -> Wait<'_> {
        self.within((self.deadline.remaining() / nth).max(least))
    }

    /// Runs the interrupt. In a child that was forked meanwhile, ends the call, because the
    /// connection belongs to the parent.
    pub(crate) fn check(&mut self) -> Result<(), ClientError> {
        self.asked = Instant::now();
        self.interrupt
            .check()
            .map_err(|Interrupted| ClientError::Interrupted)?;
        if self.process == Process::current() {
            Ok(())
        } else {
            Err(ClientError::Forked)
        }
    }

    /// Returns the next slice to sleep, or an error once the deadline has passed.
    ///
    /// A loop that never sleeps, because there is always something to do, calls this method, too.
    /// The interrupt is checked here once every slice.
    pub(crate) fn slice(&mut self, what: &'static str) -> Result<Duration, ClientError> {
        let mut now = Instant::now();
        if now.saturating_duration_since(self.asked) >= SLICE {
            self.check()?;
            now = Instant::now();
        }
        match self.deadline.at.saturating_duration_since(now) {
            Duration::ZERO => Err(self.timeout(what)),
            left => Ok(left.min(SLICE)),
        }
    }

    pub(crate) fn timeout(&self, what: &'static str) -> ClientError {
        ClientError::Timeout {
            what,
            after: self.deadline.total(),
        }
    }

    /// Sleeps until one of `events` is true of `fd` (or its other end is closed), and returns the
    /// true ones.
    pub(crate) fn for_fd(
        &mut self,
        fd: BorrowedFd<'_>,
        events: PollFlags,
        what: &'static str,
    ) -> Result<PollFlags, ClientError> {
        loop {
            let slice = self.slice(what)?;
            let mut fds = [PollFd::new(fd, events)];
            match poll(&mut fds, timeout_of(slice)) {
                Ok(0) | Err(Errno::EINTR) => self.check()?,
                Ok(_) => return Ok(fds[0].revents().unwrap_or(PollFlags::POLLERR)),
                Err(errno) => return Err(ClientError::Protocol(format!("poll: {errno}"))),
            }
        }
    }

    /// Sleeps for `time`. Fails at the deadline if that comes first.
    pub(crate) fn pause(&mut self, time: Duration, what: &'static str) -> Result<(), ClientError> {
        let end = Deadline::after(time);
        while !end.has_passed() {
            let slice = self.slice(what)?.min(end.remaining());
            match poll(&mut [], timeout_of(slice)) {
                Ok(_) | Err(Errno::EINTR) => self.check()?,
                Err(errno) => return Err(ClientError::Protocol(format!("poll: {errno}"))),
            }
        }
        Ok(())
    }

    /// Sleeps until the next attempt. Fails if an interrupt comes first, and at once if too little
    /// time is left for an answer.
    pub(crate) fn back_off(&mut self, backoff: &mut Backoff) -> Result<(), ClientError> {
        const WHAT: &str = "waiting for the server to recover";
        let least = LAST_ATTEMPT.min(self.deadline.total / 4);
        let room = self.deadline.remaining().saturating_sub(least);
        if room.is_zero() {
            self.check()?;
            return Err(self.timeout(WHAT));
        }
        self.pause(backoff.pause().min(room), WHAT)
    }
}

/// Converts a slice to the milliseconds of `poll`, rounded up. Rounded down, the last millisecond
/// would be spent in a busy loop.
fn timeout_of(slice: Duration) -> PollTimeout {
    let millis = slice.as_micros().div_ceil(1000);
    PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_does_not_continue_the_call_of_its_parent() {
        let mut never = NeverInterrupt;
        let mut wait = Wait::new(Duration::from_secs(20), &mut never);
        wait.process = Process::another();
        let ended = wait.pause(Duration::from_secs(10), "the end");
        assert_eq!(ended, Err(ClientError::Forked));
    }
}
