//! Names of hosts to addresses, inside a deadline.
//!
//! The system's resolver cannot be told to hurry, so it is asked in a helper thread with all signals blocked (PHP's
//! signals belong to PHP's thread), and the caller waits for the answer as long as it has time. A question that nobody
//! waits for any longer goes on, and the next caller joins it: a dead name server costs one thread a name. Answers
//! are kept for a minute; addresses need no asking.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};

use super::process::Process;
use super::wait::Wait;
use crate::error::ClientError;

/// How long an answer is believed. A failover by name is seen sooner: whoever fails to connect forgets the name.
const KEPT: Duration = Duration::from_mins(1);
/// Names remembered at once; a process that talks to more than a few servers is rare.
const MAX_NAMES: usize = 64;

type Answer = io::Result<Vec<IpAddr>>;

/// A question that a helper thread is working on.
struct Asked {
    /// The process that asked: a forked child has the receiver, but not the thread.
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

/// The addresses of a host, in the resolver's order. The outer error ends the call, the inner one is the resolver's.
pub(super) fn addresses(host: &str, wait: &mut Wait<'_>) -> Result<Answer, ClientError> {
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
    // Nothing is borrowed while the interrupt runs: it may be a whole PHP function.
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

/// The next caller asks again.
pub(super) fn forget(host: &str) {
    NAMES.with_borrow_mut(|names| names.known.remove(host));
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

/// Takes over an earlier question for the same name.
fn join(host: &str) -> Option<Asked> {
    let asked = NAMES.with_borrow_mut(|names| names.asked.remove(host))?;
    if asked.by == Process::current() {
        return Some(asked);
    }
    // Its thread stayed in the parent process, perhaps in the middle of the channel: it must not be touched.
    std::mem::forget(asked);
    None
}

fn ask(host: &str) -> io::Result<Asked> {
    let (sender, answer) = channel();
    let name = host.to_owned();
    // A new thread inherits the mask: signals wait for the moment it takes to start one.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = std::thread::Builder::new()
        .name("celery-resolve".to_owned())
        .spawn(move || {
            let answer = (name.as_str(), 0)
                .to_socket_addrs()
                .map(|all| all.map(|address| address.ip()).collect());
            // Nobody may be waiting any longer.
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
    fn addresses_need_no_asking() {
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
        // Without any time there is only what is known.
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
    fn a_question_without_an_answer_is_joined_and_can_be_interrupted() {
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
