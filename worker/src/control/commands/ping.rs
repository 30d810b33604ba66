//! `ping`: answers that the worker lives.

use crate::control::answer::{Answer, ok};

pub(super) fn run() -> Answer {
    ok("pong")
}
