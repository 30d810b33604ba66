//! `revoke` and `terminate`: tasks that must not run, and running ones that end.
//!
//! A broker on Redis keeps the ids, too, so that they survive a restart. As in Celery 5.7, every worker
//! that hears the request and does not run the task stores REVOKED, unless another worker has begun
//! the task.

use std::collections::BTreeSet;
use std::str::FromStr as _;
use std::time::Duration;

use celery_protocol::names::check_task_id;
use celery_protocol::result::ResultDoc;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::broker::Results;
use crate::broker::control::{ControlChannel, Named};
use crate::clock::now;
use crate::control::answer::{Answer, ok, quoted, raised};
use crate::control::arguments::Arguments;
use crate::control::node::Node;

/// How long the server of the results may take to store the state REVOKED. Meanwhile the worker
/// serves no other request, and a result is stored anyway when the task's turn comes.
const STORING: Duration = Duration::from_secs(2);

pub(super) async fn run(
    node: &Node,
    arguments: Arguments<'_>,
    channel: &mut impl ControlChannel,
) -> Answer {
    let terminate = arguments.command() == "terminate" || arguments.flag("terminate");
    arguments.required("task_id")?;
    let ids: BTreeSet<&str> = arguments.texts("task_id").into_iter().collect();
    let ids: Vec<&str> = ids
        .into_iter()
        .filter(|id| check_task_id(id).is_ok())
        .collect();
    // Running tasks end before anything is waited for.
    node.view.note_revoked(&ids);
    let held = node.view.in_hand();
    let active: BTreeSet<&str> = held
        .iter()
        .filter(|held| held.began.is_some())
        .map(|held| &*held.task.id)
        .collect();
    let documents: Vec<(&str, Vec<u8>)> = match node.config.result_backend {
        // Only the message of a task names the address of its replies.
        Results::Disabled | Results::Replies => Vec::new(),
        Results::Broker | Results::Server(_) => {
            let others = ids.iter().filter(|id| !active.contains(*id));
            others
                .map(|id| (*id, ResultDoc::revoked(*id, "revoked", now()).encode()))
                .collect()
        }
    };
    // Tasks end at once, however long a server needs to answer. As in Python, an unknown signal
    // ends nothing, but the tasks are revoked.
    let ended = terminate.then(|| {
        let signal = number(arguments.get("signal"))?;
        let ended = node.view.terminate(&ids, signal);
        if !ended.is_empty() {
            tracing::info!("Terminating {} ({signal})", ended.join(", "));
        }
        Ok::<_, String>(ended)
    });
    node.view.settle_revoked(&ids).await;
    channel.revoke(Named::Ids, &ids).await;
    let stored = channel.store_revoked(&documents);
    if tokio::time::timeout(STORING, stored).await.is_err() {
        tracing::warn!(
            "Failed to mark tasks as revoked in the backend: it did not answer within {} s",
            STORING.as_secs()
        );
    }
    let Some(ended) = ended else {
        tracing::info!("Tasks flagged as revoked: {}", ids.join(", "));
        return ok(&format!("tasks {} flagged as revoked", set(&ids)));
    };
    match ended? {
        ended if ended.is_empty() => ok("terminate: tasks unknown"),
        ended => ok(&format!("terminate: {}", ended.join(", "))),
    }
}

/// Returns the number of a signal: `SIGTERM`, `TERM`, in any case, or 15. As in Python, an absent,
/// empty or zero signal is SIGTERM.
pub(super) fn number(signal: Option<&Value>) -> Result<i32, String> {
    let signal = match signal {
        None => return Ok(Signal::SIGTERM as i32),
        Some(signal) if signal == "" || signal == 0 => return Ok(Signal::SIGTERM as i32),
        Some(signal) => signal,
    };
    let named = signal.as_str().and_then(|name| {
        let name = name.to_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        Signal::from_str(&format!("SIG{name}")).ok()
    });
    let numbered = signal
        .as_i64()
        .and_then(|number| i32::try_from(number).ok());
    let numbered = numbered.and_then(|number| Signal::try_from(number).ok());
    let known = named.or(numbered).map(|signal| signal as i32);
    known.ok_or_else(|| raised("ValueError", &format!("unknown signal {signal}")))
}

/// Returns ids as Python shows a set.
fn set(ids: &[&str]) -> String {
    if ids.is_empty() {
        return "set()".to_owned();
    }
    let ids: Vec<String> = ids.iter().map(|id| quoted(id)).collect();
    format!("{{{}}}", ids.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (signal, wanted) in [
            (json!("SIGTERM"), Some(15)),
            (json!("TERM"), Some(15)),
            (json!("sigkill"), Some(9)),
            (json!("usr1"), Some(10)),
            (json!(2), Some(2)),
            (json!("NONE"), None),
            (json!(""), Some(15)),
            (json!(0), Some(15)),
            (json!(" "), None),
            (json!(-9), None),
            (json!(1_000_000_000_000_i64), None),
            (json!([9]), None),
        ] {
            assert_eq!(number(Some(&signal)).ok(), wanted, "{signal}");
        }
        assert_eq!(number(None), Ok(15));
    }

    #[test]
    fn ids_are_shown_as_pythons_set() {
        assert_eq!(set(&[]), "set()");
        assert_eq!(set(&["a", "it's"]), "{'a', \"it's\"}");
    }
}
