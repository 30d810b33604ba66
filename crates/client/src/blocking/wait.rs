//! One deadline and one interrupt for everything in a call.
//!
//! All waiting of the driver goes through [`Wait`]: it sleeps in `poll(2)`, in slices short enough that the caller's
//! interrupts are served, and never past its deadline.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::process::Process;
use crate::error::ClientError;

/// The longest sleep between two looks at the interrupt: short for a person, and 20 wake-ups a second cost nothing.
pub(super) const SLICE: Duration = Duration::from_millis(50);

/// An absolute point in time, with the whole time that it allowed.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    total: Duration,
}

/// Far enough to be never, near enough to be added to any clock.
const FOREVER: Duration = Duration::from_hours(100 * 365 * 24);

impl Deadline {
    /// That long from now.
    pub fn after(total: Duration) -> Self {
        let total = total.min(FOREVER);
        Self {
            at: Instant::now() + total,
            total,
        }
    }

    /// The earlier of this and `total` from now.
    #[must_use]
    pub fn within(self, total: Duration) -> Self {
        let other = Self::after(total);
        if other.at < self.at { other } else { self }
    }

    /// What is left; zero once it has passed.
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// The whole time that it allowed.
    pub fn total(&self) -> Duration {
        self.total
    }
}

/// The caller wants its thread back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// Asked at least every 50 ms, and after every signal, while a call waits.
pub trait Interrupt {
    /// Serves what is pending (signals, time limits); an error ends the call with [`ClientError::Interrupted`].
    ///
    /// # Errors
    /// [`Interrupted`] if the call must not go on.
    fn check(&mut self) -> Result<(), Interrupted>;
}

/// For callers that nothing interrupts.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverInterrupt;

impl Interrupt for NeverInterrupt {
    fn check(&mut self) -> Result<(), Interrupted> {
        Ok(())
    }
}

/// How long a call may wait, and what may end it earlier.
pub struct Wait<'a> {
    deadline: Deadline,
    interrupt: &'a mut dyn Interrupt,
    /// When the interrupt was asked last.
    asked: Instant,
    /// Who began to wait: an interrupt may run a whole PHP function, which may fork.
    process: Process,
}

impl<'a> Wait<'a> {
    /// At most `total` from now.
    pub fn new(total: Duration, interrupt: &'a mut dyn Interrupt) -> Self {
        Self::until(Deadline::after(total), interrupt)
    }

    /// At most until `deadline`.
    pub fn until(deadline: Deadline, interrupt: &'a mut dyn Interrupt) -> Self {
        Self {
            deadline,
            interrupt,
            asked: Instant::now(),
            process: Process::current(),
        }
    }

    /// The deadline.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// All of this wait, lent.
    pub(super) fn whole(&mut self) -> Wait<'_> {
        Wait {
            interrupt: self.interrupt,
            ..*self
        }
    }

    /// A part of this wait that may take at most `total`.
    pub fn within(&mut self, total: Duration) -> Wait<'_> {
        Wait {
            deadline: self.deadline.within(total),
            ..self.whole()
        }
    }

    /// A part of this wait that may take one `nth` of what is left, and `least` in any case.
    pub(super) fn share(&mut self, nth: u32, least: Duration) -> Wait<'_> {
        self.within((self.deadline.remaining() / nth).max(least))
    }

    /// Asks the interrupt. In a child that was forked meanwhile the call ends: its connection is the parent's.
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

    /// The next slice to sleep: an error once the deadline has passed. Whoever does not sleep, because there is always
    /// something to do, asks for one, too: then the interrupt is asked here, once in the time of a slice.
    pub(crate) fn slice(&mut self, what: &'static str) -> Result<Duration, ClientError> {
        if self.asked.elapsed() >= SLICE {
            self.check()?;
        }
        match self.deadline.remaining() {
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

    /// Sleeps until one of `events` is true of `fd` (or its other end is gone), and returns what is.
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

    /// Sleeps for `time`, or fails at the deadline if that comes first.
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
}

/// `poll` counts milliseconds; rounded up, or the last one would be spent spinning.
fn timeout_of(slice: Duration) -> PollTimeout {
    let millis = slice.as_micros().div_ceil(1000);
    PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_does_not_go_on_with_its_parents_call() {
        let mut never = NeverInterrupt;
        let mut wait = Wait::new(Duration::from_secs(20), &mut never);
        wait.process = Process::another();
        let ended = wait.pause(Duration::from_secs(10), "the end");
        assert_eq!(ended, Err(ClientError::Forked));
    }
}
