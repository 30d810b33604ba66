//! Counts the members of chords, in the keys of Celery's Redis backend.

use celery_client::aio::{Cmd, Value, scripts};
use celery_protocol::redis_keys::ChordPart;
use serde_json::value::{RawValue, to_raw_value};

use super::answer::{bytes, number};
use super::forms::as_json;
use super::session::Session;
use crate::broker::settlement::{Chord, Complete, Join, Part};

/// How long the claim on a body lives, in seconds. It outlasts a short outage between the count and
/// the settlement. It is not longer than a lease, so that the worker that gets the message of a
/// killed worker need not wait.
const CLAIM: u64 = 30;

/// How many seconds a chord that ended is remembered, as in Celery.
const REMEMBERED: u64 = 300;

impl Session {
    /// Counts ended members of chords, and returns an answer for each. A member that completes
    /// a chord gets the chord's results if this worker publishes the body. A member that cannot be
    /// counted, because a key of the chord has another type, gets the reason.
    pub(super) async fn count_parts(
        &mut self,
        parts: &[Part],
    ) -> Vec<Result<Option<Complete>, String>> {
        let read = |answer, count| match answer {
            Value::Array(answers) if answers.len() == count => {
                Some(answers.into_iter().map(complete).collect::<Vec<_>>())
            }
            _ => None,
        };
        let answers = self
            .in_parts(
                parts,
                &scripts::COUNT_PARTS,
                Self::count_call,
                read,
                "count_parts",
            )
            .await;
        answers
            .into_iter()
            .flat_map(|(_, answer)| match answer {
                Ok((counted, _)) => counted,
                Err(refused) => vec![Err(refused.to_string())],
            })
            .collect()
    }

    fn count_call(&self, parts: &[Part]) -> Cmd {
        let size = parts.iter().map(|part| part.result.get().len() + 512).sum();
        let arguments = 3 + 13 * parts.len();
        let mut call = scripts::call(&scripts::COUNT_PARTS, 6 * parts.len(), arguments, size);
        for part in parts {
            let key = |which| self.layout.keys.chord(&part.group, which);
            call.arg(key(ChordPart::Joined))
                .arg(key(ChordPart::Delta))
                .arg(key(ChordPart::Size))
                .arg(key(ChordPart::Deduplication))
                .arg(key(ChordPart::Claim))
                .arg(self.layout.keys.group(&part.group));
        }
        call.arg(self.layout.chord_ttl).arg(CLAIM);
        call.arg(self.layout.saved_ttl);
        for part in parts {
            let place = part
                .index
                .map_or_else(|| "+inf".to_owned(), |index| index.to_string());
            let member = if part.has_ended {
                let member = to_raw_value(&(1, &part.id, part.state.as_str(), &part.result));
                Some(member.unwrap_or_else(|_| RawValue::NULL.to_owned()))
            } else {
                None
            };
            let member = member.as_ref().map(|member| member.get().as_bytes());
            let member = member.map(|member| self.layout.in_form(member));
            call.arg(&part.id)
                .arg(place)
                .arg(member.as_deref().unwrap_or_default())
                .arg(part.word())
                .arg(u8::from(part.task.redelivered))
                .arg(part.added)
                .arg(part.run());
        }
        call
    }

    /// Begins chords and ends others on a result backend that is not the broker.
    pub(super) async fn change_chords(&mut self, begin: &[Chord], end: &[Join]) {
        if begin.is_empty() && end.is_empty() {
            return;
        }
        let keys: Vec<String> = begin
            .iter()
            .flat_map(|chord| self.begin_keys(&chord.group))
            .chain(
                end.iter()
                    .flat_map(|join| self.end_keys(&join.group, join.failed)),
            )
            .collect();
        let mut call = scripts::call(&scripts::CHORDS, keys.len(), 2 * keys.len() + 4, 0);
        call.arg(&keys);
        call.arg(self.layout.chord_ttl)
            .arg(REMEMBERED)
            .arg(self.layout.saved_ttl)
            .arg(begin.len());
        for chord in begin {
            call.arg(chord.size).arg(&*self.layout.saved(chord));
        }
        for join in end {
            call.arg(&join.word);
        }
        let read = |answer| number(&answer);
        self.insist(&scripts::CHORDS, &call, read, "chords").await;
    }

    /// Returns the keys to begin a chord, in the scripts' order.
    pub(super) fn begin_keys(&self, group: &str) -> Vec<String> {
        let key = |which| self.layout.keys.chord(group, which);
        vec![
            key(ChordPart::Size),
            key(ChordPart::Claim),
            self.layout.keys.group(group),
        ]
    }

    /// Returns the keys to end a chord, in the scripts' order: its claim, and the keys to forget.
    /// For a chord that failed only the size is forgotten, so its key fills the other places.
    pub(super) fn end_keys(&self, group: &str, failed: bool) -> Vec<String> {
        let key = |which| self.layout.keys.chord(group, which);
        let forgotten = |which| key(if failed { ChordPart::Size } else { which });
        vec![
            key(ChordPart::Claim),
            forgotten(ChordPart::Joined),
            forgotten(ChordPart::Delta),
            key(ChordPart::Size),
            forgotten(ChordPart::Deduplication),
        ]
    }
}

/// Returns the completed chord if the answer is one, or why the member cannot be counted.
fn complete(answer: Value) -> Result<Option<Complete>, String> {
    match answer {
        Value::Array(parts) => {
            let mut parts = parts.into_iter();
            Ok(Some(Complete {
                saved: parts.next().and_then(bytes).map(as_json),
                members: parts.filter_map(bytes).map(as_json).collect(),
            }))
        }
        Value::BulkString(why) => Err(String::from_utf8_lossy(&why).into_owned()),
        _ => Ok(None),
    }
}
