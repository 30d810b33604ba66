//! The Lua scripts that both drivers send to Redis.
//!
//! Each script has a file of its own under `scripts/`. Its head documents its purpose, KEYS, ARGV
//! and return value. A script is sent by its SHA-1 (`EVALSHA`), and in full (`EVAL`) when the
//! server answers `NOSCRIPT`.
//!
//! Script texts may change between versions, but key formats only grow, so that workers and clients
//! of two versions work side by side.

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

/// Posts a message unless the guard of its task's id exists. KEYS: list, guard. ARGV: message,
/// seconds.
pub static PUBLISH_ONCE: Script = Script::new(include_str!("scripts/publish_once.lua"));
/// The time for which the guard of a post is kept.
///
/// It is far longer than a post may take, so that a repeat always finds the guard. It is also short
/// enough that Redis holds the guards of one hour only.
pub const PUBLISH_ONCE_GUARD: Duration = Duration::from_hours(1);
/// Deletes a value that has not changed since it was read. KEYS: key. ARGV: SHA-1 of the value.
pub static DELETE_UNCHANGED: Script = Script::new(include_str!("scripts/delete_unchanged.lua"));

/// Begins and ends chords where no other change has to be in the same step. The head of the script
/// lists KEYS and ARGV.
pub static CHORDS: Script = Script::new(include_str!("scripts/chords.lua"));

/// Returns the lists of a queue and of its fair groups that have messages.
pub static QUEUE_LISTS: Script = Script::new(concat!(
    include_str!("scripts/moving.lua"),
    include_str!("scripts/queue_lists.lua")
));

/// Deletes the waiting tasks of a queue.
pub static PURGE: Script = Script::new(concat!(
    include_str!("scripts/moving.lua"),
    include_str!("scripts/purge.lua")
));

/// Puts a dead letter back into its queue.
pub static REPLAY: Script = Script::new(include_str!("scripts/replay.lua"));

/// Reads entries of the schedules.
pub static BEAT_LIST: Script = Script::new(include_str!("scripts/beat_list.lua"));

/// Adds, changes or removes an entry of the schedules.
pub static BEAT_WRITE: Script = Script::new(include_str!("scripts/beat_write.lua"));

/// A Lua script and its name in Redis' cache.
pub struct Script {
    source: &'static str,
    sha: OnceLock<String>,
}

impl Script {
    /// Creates a script from its source.
    pub const fn new(source: &'static str) -> Self {
        Self {
            source,
            sha: OnceLock::new(),
        }
    }

    /// Returns the text.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Returns the SHA-1 of the text in hexadecimal, the name that `EVALSHA` takes.
    pub fn sha(&self) -> &str {
        self.sha.get_or_init(|| sha1(self.source.as_bytes()))
    }

    /// Returns an `EVALSHA` call with the keys; the caller appends the arguments.
    pub fn evalsha(&self, keys: &[&str]) -> redis::Cmd {
        call("EVALSHA", self.sha(), keys)
    }

    /// Returns an `EVAL` call with the keys, for use after `NOSCRIPT`; the caller appends the
    /// arguments.
    pub fn eval(&self, keys: &[&str]) -> redis::Cmd {
        call("EVAL", self.source, keys)
    }
}

fn call(command: &str, script: &str, keys: &[&str]) -> redis::Cmd {
    let mut cmd = redis::cmd(command);
    cmd.arg(script).arg(keys.len());
    for key in keys {
        cmd.arg(key);
    }
    cmd
}

/// Returns the SHA-1 in hexadecimal, as Redis names scripts and as `redis.sha1hex` writes it. It
/// protects nothing: it only identifies a text.
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
    fn the_sha_equals_that_of_redis() {
        // `redis-cli script load 'return 1'`
        assert_eq!(
            Script::new("return 1").sha(),
            "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
        );
    }
}
