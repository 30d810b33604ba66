//! What both drivers send to Redis: the Lua scripts. Commands are packed by redis-rs.
//!
//! A script lives in a file of its own under `scripts/`, headed by its purpose, KEYS, ARGV and what it returns. It is
//! sent by its SHA-1 (`EVALSHA`), and in full (`EVAL`) when the server answers `NOSCRIPT`. Script texts may change
//! between versions, key formats only grow: workers and clients of two versions work side by side.

pub mod mode;

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

/// Posts a message unless the guard of its task's id exists. KEYS: list, guard. ARGV: message, seconds.
pub static PUBLISH_ONCE: Script = Script::new(include_str!("scripts/publish_once.lua"));
/// How long the guard of a post is kept: far longer than any post may take, so that a repeat always finds it, and short
/// enough that an hour's posts are the most that are remembered.
pub const PUBLISH_ONCE_GUARD: Duration = Duration::from_hours(1);
/// Deletes a value that has not changed since it was read. KEYS: key. ARGV: SHA-1 of the value.
pub static DELETE_UNCHANGED: Script = Script::new(include_str!("scripts/delete_unchanged.lua"));

/// A Lua script and its name in Redis' cache.
pub struct Script {
    source: &'static str,
    sha: OnceLock<String>,
}

impl Script {
    /// A script from its source.
    pub const fn new(source: &'static str) -> Self {
        Self {
            source,
            sha: OnceLock::new(),
        }
    }

    /// The text.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// The SHA-1 of the text, in hexadecimal: what `EVALSHA` wants.
    pub fn sha(&self) -> &str {
        self.sha.get_or_init(|| sha1(self.source.as_bytes()))
    }

    /// `EVALSHA` with the keys; append the arguments.
    pub fn evalsha(&self, keys: &[&str]) -> ::redis::Cmd {
        call("EVALSHA", self.sha(), keys)
    }

    /// `EVAL` with the keys, after `NOSCRIPT`; append the arguments.
    pub fn eval(&self, keys: &[&str]) -> ::redis::Cmd {
        call("EVAL", self.source, keys)
    }
}

fn call(command: &str, script: &str, keys: &[&str]) -> ::redis::Cmd {
    let mut cmd = ::redis::cmd(command);
    cmd.arg(script).arg(keys.len());
    for key in keys {
        cmd.arg(key);
    }
    cmd
}

/// SHA-1 in hexadecimal, as Redis names scripts and `redis.sha1hex` writes it. Nothing's safety rests on it.
pub fn sha1(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest
        .as_ref()
        .iter()
        .fold(String::with_capacity(40), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha_is_redis_sha() {
        // `redis-cli script load 'return 1'`
        assert_eq!(
            Script::new("return 1").sha(),
            "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
        );
    }
}
