//! The worker's scripts. What their KEYS, ARGV and answers are stands at the head of each file.

use redis::Cmd;

use crate::redis::Script;

/// Acknowledges a batch and claims the next one.
pub static ACK_CLAIM: Script = Script::new(include_str!("../redis/scripts/ack_claim.lua"));
/// Renews leases.
pub static RENEW: Script = Script::new(include_str!("../redis/scripts/renew.lua"));
/// Lets claimed messages wait for their ETA.
pub static PARK: Script = Script::new(include_str!("../redis/scripts/park.lua"));
/// Hands out parked messages that are due.
pub static FETCH_PARKED: Script = Script::new(include_str!("../redis/scripts/fetch_parked.lua"));
/// Moves orphaned messages back.
pub static RESTORE: Script = Script::new(include_str!("../redis/scripts/restore.lua"));
/// Carries out verdicts.
pub static SETTLE: Script = Script::new(include_str!("../redis/scripts/settle.lua"));
/// Counts how often messages were begun.
pub static COUNT_BEGUN: Script = Script::new(include_str!("../redis/scripts/count_begun.lua"));
/// Counts members of chords.
pub static COUNT_PARTS: Script = Script::new(include_str!("../redis/scripts/count_parts.lua"));
/// Begins and ends chords on a server that is not the broker.
pub static CHORDS: Script = Script::new(include_str!("../redis/scripts/chords.lua"));
/// Stores results on a server that is not the broker.
pub static STORE_RESULTS: Script = Script::new(include_str!("../redis/scripts/store_results.lua"));
/// Puts a dead letter back into its queue.
pub static REPLAY: Script = Script::new(include_str!("../redis/scripts/replay.lua"));

/// Begins a call of `script` with `keys` keys, `arguments` arguments (keys included) and about `bytes` bytes of them: the
/// keys and then the other arguments are to be appended. The sizes save growing, nothing else.
pub fn call(script: &Script, keys: usize, arguments: usize, bytes: usize) -> Cmd {
    // Beside the arguments: the command, the digest, the number of keys.
    let mut cmd = Cmd::with_capacity(arguments + 3, bytes + 64);
    cmd.arg("EVALSHA").arg(script.sha()).arg(keys);
    cmd
}
