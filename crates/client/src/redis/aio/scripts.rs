//! The Lua scripts of the worker. The head of each file documents its KEYS, ARGV and answers.

use redis::Cmd;

use crate::redis::Script;
pub use crate::redis::script::{BEAT_WRITE, CHORDS, PURGE, QUEUE_LISTS, REPLAY};

/// Returns the text of a script with the function of `succeeded.lua` before it.
macro_rules! with_succeeded {
    ($script:literal) => {
        concat!(
            include_str!("../scripts/succeeded.lua"),
            include_str!(concat!("../scripts/", $script, ".lua"))
        )
    };
}

/// Acknowledges a finished batch and claims the next messages.
pub static ACK_CLAIM: Script = Script::new(include_str!("../scripts/ack_claim.lua"));
/// Enters the messages of a held list into the held messages. Always sent in full (`EVAL`): in a
/// MULTI, an unknown script would leave entries without a score.
pub static ENTER_HELD: Script = Script::new(include_str!("../scripts/enter_held.lua"));
/// Puts the messages of a held list back into their list.
pub static RETURN_HELD: Script = Script::new(include_str!("../scripts/return_held.lua"));
/// Renews leases.
pub static RENEW: Script = Script::new(include_str!("../scripts/renew.lua"));
/// Lets calls of limited tasks begin.
pub static ADMIT: Script = Script::new(include_str!("../scripts/admit.lua"));
/// Takes and frees the locks of unique tasks.
pub static LOCK: Script = Script::new(include_str!("../scripts/lock.lua"));
/// Returns the messages at the head of a fair queue.
pub static FAIR_PEEK: Script = Script::new(include_str!("../scripts/fair_peek.lua"));
/// Moves messages of a fair queue to the groups of their keys.
pub static FAIR_SORT: Script = Script::new(include_str!("../scripts/fair_sort.lua"));
/// Returns the groups of a fair queue that have messages.
pub static FAIR_GROUPS: Script = Script::new(include_str!("../scripts/fair_groups.lua"));
/// Moves messages of fair groups back to the lists of their queue.
pub static FAIR_RETURN: Script = Script::new(include_str!("../scripts/fair_return.lua"));
/// Lets claimed messages wait for their ETA.
pub static PARK: Script = Script::new(include_str!("../scripts/park.lua"));
/// Returns the parked messages that are due.
pub static FETCH_PARKED: Script = Script::new(include_str!("../scripts/fetch_parked.lua"));
/// Moves orphaned messages back to their queues.
pub static RESTORE: Script = Script::new(include_str!("../scripts/restore.lua"));
/// Settles tasks: results, follow-up messages, dead letters and acknowledgements.
pub static SETTLE: Script = Script::new(with_succeeded!("settle"));
/// Counts how often the tasks of messages were started.
pub static COUNT_BEGUN: Script = Script::new(include_str!("../scripts/count_begun.lua"));
/// Counts ended header members of chords.
pub static COUNT_PARTS: Script = Script::new(include_str!("../scripts/count_parts.lua"));
/// Stores results on a server that is not the broker.
pub static STORE_RESULTS: Script = Script::new(with_succeeded!("store_results"));
/// Returns stored documents, as far as they fit into one answer.
pub static READ_RESULTS: Script = Script::new(include_str!("../scripts/read_results.lua"));
/// Sends a failed task again, once for each failure.
pub static SEND_AGAIN: Script = Script::new(include_str!("../scripts/send_again.lua"));
/// Sends a reply of remote control to a client that still waits.
pub static CONTROL_REPLY: Script = Script::new(include_str!("../scripts/control_reply.lua"));

/// Keeps the ids of revoked tasks.
pub static REVOKE: Script = Script::new(include_str!("../scripts/revoke.lua"));
/// Stores the state of revoked tasks that no worker has begun.
pub static REVOKE_RESULTS: Script = Script::new(include_str!("../scripts/revoke_results.lua"));
/// Takes the lease of the leader of schedules, and returns the entries that are due.
pub static BEAT_LOOK: Script = Script::new(include_str!("../scripts/beat_look.lua"));
/// Sends the messages of an entry of the schedules that is due.
pub static BEAT_FIRE: Script = Script::new(include_str!("../scripts/beat_fire.lua"));
/// Ends the lease of the leader of schedules.
pub static BEAT_RESIGN: Script = Script::new(include_str!("../scripts/beat_resign.lua"));

/// Begins a call of `script` with `keys` keys; the caller appends the keys and then the other
/// arguments.
///
/// `arguments` counts all arguments (keys included) and `bytes` is about their total length. Both
/// only reserve memory.
pub fn call(script: &Script, keys: usize, arguments: usize, bytes: usize) -> Cmd {
    // `EVALSHA`, the digest and the number of keys precede the arguments.
    let mut cmd = Cmd::with_capacity(arguments + 3, bytes + 64);
    cmd.arg("EVALSHA").arg(script.sha()).arg(keys);
    cmd
}
