//! Resolves host names within a deadline.
//!
//! The system's resolver has no deadline. So a helper thread calls it, and the caller waits for the
//! answer only as long as it has time. The helper blocks all signals, because PHP's signals belong
//! to PHP's thread.
//!
//! A lookup whose caller has given up continues, and the next caller waits for it. So a dead name
//! server costs at most one thread for each name. Answers are kept for a minute. Addresses need no
//! lookup.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};

use super::process::Process;
use super::wait::Wait;
use crate::endpoint::Address;
use crate::error::ClientError;

/// The time for which an answer is used. A failover by name is noticed sooner, because a caller
/// that fails to connect forgets the name.
const KEPT: Duration = Duration::from_mins(1);
/// Limit for the names kept at once. A process rarely talks to more than a few servers.
const MAX_NAMES: usize = 64;

type Answer = io::Result<Vec<IpAddr>>;

/// A lookup that a helper thread is working on.
struct Asked {
    /// The process that started the lookup. A forked child has a copy of the receiver, but not the
    /// thread.
    by: Process,
    answer: Receiver<Answer>,
}

#[derive(Default)]
struct Names {
    known: HashMap<String, (Instant, Vec<IpAddr>)>,
    asked: HashMap<String, Asked>,
}

thread_local! {
    static NAMES: RefCell<Names> = RefCell::default();
}

/// Returns the addresses of a host in the resolver's order. The outer error ends the call, the
/// inner one is the resolver's.
pub(crate) fn addresses(host: &str, wait: &mut Wait<'_>) -> Result<Answer, ClientError> {
    if let Ok(address) = host.parse() {
        return Ok(Ok(vec![address]));
    }
    if let Some(known) = known(host) {
        return Ok(Ok(known));
    }
    let asked = match join(host).map_or_else(|| ask(host), Ok) {
        Ok(asked) => asked,
        Err(error) => return Ok(Err(error)),
    };
    // No borrow is held while the interrupt runs, because it may run any PHP function.
    let outcome = loop {
        let slice = match wait.slice("resolving the name") {
            Ok(slice) => slice,
            Err(timeout) => break Err(timeout),
        };
        match asked.answer.recv_timeout(slice) {
            Ok(answer) => break Ok(answer),
            Err(RecvTimeoutError::Disconnected) => {
                break Ok(Err(io::Error::other(
                    "the resolver ended without an answer",
                )));
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Err(interrupted) = wait.check() {
                    break Err(interrupted);
                }
            }
        }
    };
    match outcome {
        Ok(answer) => {
            if let Ok(addresses) = &answer {
                remember(host, addresses);
            }
            Ok(answer)
        }
        Err(error) => {
            NAMES.with_borrow_mut(|names| names.asked.insert(host.to_owned(), asked));
            Err(error)
        }
    }
}

/// Forgets a name, so that the next caller looks it up again.
pub(crate) fn forget(host: &str) {
    NAMES.with_borrow_mut(|names| names.known.remove(host));
}

/// Forgets the name in an address, if there is one.
pub(crate) fn forget_address(address: &Address) {
    if let Address::Tcp { host, .. } = address {
        forget(host);
    }
}

fn known(host: &str) -> Option<Vec<IpAddr>> {
    NAMES.with_borrow(|names| {
        let (at, addresses) = names.known.get(host)?;
        (at.elapsed() < KEPT).then(|| addresses.clone())
    })
}

fn remember(host: &str, addresses: &[IpAddr]) {
    NAMES.with_borrow_mut(|names| {
        if names.known.len() >= MAX_NAMES {
            names.known.clear();
        }
        names
            .known
            .insert(host.to_owned(), (Instant::now(), addresses.to_vec()));
    });
}

/// Takes over a running lookup of the same name.
fn join(host: &str) -> Option<Asked> {
    let asked = NAMES.with_borrow_mut(|names| names.asked.remove(host))?;
    if asked.by == Process::current() {
        return Some(asked);
    }
    // The thread stayed in the parent process, perhaps in the middle of using the channel. The copy
    // must not be touched.
    std::mem::forget(asked);
    None
}

fn ask(host: &str) -> io::Result<Asked> {
    let (sender, answer) = channel();
    let name = host.to_owned();
    // A new thread inherits the signal mask. Signals are delayed only while the thread starts.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = std::thread::Builder::new()
        .name("celery-resolve".to_owned())
        .spawn(move || {
            let answer = (name.as_str(), 0)
                .to_socket_addrs()
                .map(|all| all.map(|address| address.ip()).collect());
            // The caller may have given up.
            let _ = sender.send(answer);
        });
    before.thread_set_mask()?;
    started.map(|_| Asked {
        by: Process::current(),
        answer,
    })
}

#[cfg(test)]
mod tests {
    use super::super::wait::{Interrupt, Interrupted, NeverInterrupt};
    use super::*;

    #[test]
    fn addresses_need_no_lookup() {
        let mut never = NeverInterrupt;
        for address in ["127.0.0.1", "::1"] {
            let got = addresses(address, &mut Wait::new(Duration::ZERO, &mut never))
                .unwrap()
                .unwrap();
            assert_eq!(got, [address.parse::<IpAddr>().unwrap()]);
        }
    }

    #[test]
    fn an_answer_is_kept_until_forgotten() {
        let mut never = NeverInterrupt;
        let mut wait = Wait::new(Duration::from_secs(10), &mut never);
        let first = addresses("localhost", &mut wait).unwrap().unwrap();
        assert!(first.iter().all(IpAddr::is_loopback));
        // Without time to wait, only an answer that was kept can be returned.
        assert_eq!(
            addresses("localhost", &mut Wait::new(Duration::ZERO, &mut never))
                .unwrap()
                .unwrap(),
            first
        );
        forget("localhost");
        let timeout =
            addresses("localhost", &mut Wait::new(Duration::ZERO, &mut never)).unwrap_err();
        assert!(matches!(timeout, ClientError::Timeout { .. }));
    }

    #[test]
    fn a_lookup_without_an_answer_is_joined_and_can_be_interrupted() {
        struct Now;
        impl Interrupt for Now {
            fn check(&mut self) -> Result<(), Interrupted> {
                Err(Interrupted)
            }
        }
        let (sender, answer) = channel();
        let asked = Asked {
            by: Process::current(),
            answer,
        };
        NAMES.with_borrow_mut(|names| names.asked.insert("silent".to_owned(), asked));
        let mut now = Now;
        let interrupted =
            addresses("silent", &mut Wait::new(Duration::from_secs(10), &mut now)).unwrap_err();
        assert_eq!(interrupted, ClientError::Interrupted);
        sender.send(Ok(vec!["127.0.0.9".parse().unwrap()])).unwrap();
        let mut never = NeverInterrupt;
        let got = addresses(
            "silent",
            &mut Wait::new(Duration::from_secs(10), &mut never),
        )
        .unwrap()
        .unwrap();
        assert_eq!(got, ["127.0.0.9".parse::<IpAddr>().unwrap()]);
    }
}
