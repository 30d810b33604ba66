//! Carries out verdicts.

use std::sync::Once;

use celery_client::aio::{Cmd, Value, scripts};

use super::{DEAD_LETTERS, MAX_TAGS, RedisSource, bytes, number, positions};
use crate::broker::{Letter, Settled, Settlement, Step};

impl RedisSource {
    pub(super) async fn settle_batch(&mut self, batch: &[Settlement]) -> Settled {
        let answers = self
            .in_parts(
                batch,
                &scripts::SETTLE,
                Self::settle_call,
                |value, _| read_settled(value),
                "settle",
            )
            .await;
        let mut settled = Settled::default();
        for (start, answer) in answers {
            match answer {
                Ok((answer, repeated)) => {
                    let lost = answer.lost.into_iter().map(|place| start + place);
                    settled.lost.extend(lost);
                    let failed = answer.failed.into_iter();
                    let failed = failed.map(|(place, why)| (start + place, why));
                    settled.failed.extend(failed);
                    settled.repeated |= repeated;
                }
                Err(refused) => settled.failed.push((start, refused.to_string())),
            }
        }
        settled
    }

    /// Stores results and states, and publishes them, even if another worker holds the messages.
    pub(crate) async fn store_results(&mut self, documents: &[(String, Vec<u8>)]) {
        for chunk in documents.chunks(MAX_TAGS) {
            let size = chunk
                .iter()
                .map(|(id, document)| id.len() + document.len() + 64)
                .sum();
            let mut call = scripts::call(
                &scripts::STORE_RESULTS,
                chunk.len(),
                1 + 2 * chunk.len(),
                size,
            );
            for (id, _) in chunk {
                call.arg(self.layout.keys.result(id));
            }
            call.arg(self.layout.result_ttl);
            for (_, document) in chunk {
                call.arg(document);
            }
            self.insist(&scripts::STORE_RESULTS, &call, read_stored, "store_results")
                .await;
        }
    }

    fn settle_call(&self, batch: &[Settlement]) -> Cmd {
        let layout = &*self.layout;
        let flat: Vec<Vec<&Step>> = batch.iter().map(|s| flatten(&s.steps)).collect();
        let keys: Vec<String> = flat
            .iter()
            .flatten()
            .flat_map(|step| self.keys_of(step))
            .collect();
        let size: usize = batch.iter().map(Settlement::size).sum();
        let arguments =
            3 + keys.len() + 4 + flat.iter().map(|steps| 2 + 6 * steps.len()).sum::<usize>();
        let mut call = scripts::call(
            &scripts::SETTLE,
            3 + keys.len(),
            arguments,
            size + 100 * arguments,
        );
        call.arg(&layout.unacked)
            .arg(&layout.index)
            .arg(&layout.dead)
            .arg(&keys);
        call.arg(layout.result_ttl)
            .arg(&layout.node)
            .arg(DEAD_LETTERS)
            .arg(batch.len());
        for settlement in batch {
            call.arg(layout.tag(settlement.tag));
        }
        // The three fixed keys come first, and Lua counts from 1.
        let mut place = 4;
        let mut skip = |keys: usize| {
            place += keys;
            place - keys
        };
        for steps in flat {
            call.arg(steps.len());
            for step in steps {
                let mut next = || skip(1);
                match step {
                    Step::Result { document, .. } => call.arg("result").arg(next()).arg(document),
                    Step::Push { message, .. } => call.arg("push").arg(next()).arg(message),
                    Step::Front { message, .. } => call.arg("front").arg(next()).arg(message),
                    Step::Return { queue, .. } => call
                        .arg("return")
                        .arg(next())
                        .arg(layout.tail_length(queue)),
                    Step::Dead(letter) => letter_args(
                        call.arg("dead").arg(layout.tail_length(&letter.queue)),
                        letter,
                    ),
                    Step::Note(letter, raw) => letter_args(call.arg("note"), letter).arg(raw),
                    Step::Chord { size, saved, .. } => call
                        .arg("chord")
                        .arg(skip(3))
                        .arg(*size)
                        .arg(saved.as_deref().unwrap_or_default()),
                    Step::Join { word, steps, .. } => call
                        .arg("join")
                        .arg(skip(5))
                        .arg(word)
                        .arg(flatten(steps).len()),
                    // `flatten` has removed the steps that count.
                    Step::Count(_) => &mut call,
                };
            }
        }
        call
    }

    /// Returns the keys that a step needs.
    fn keys_of(&self, step: &Step) -> Vec<String> {
        let keys = &self.layout.keys;
        match step {
            Step::Result { id, .. } => vec![keys.result(id)],
            Step::Push {
                queue, priority, ..
            }
            | Step::Front {
                queue, priority, ..
            }
            | Step::Return { queue, priority } => vec![self.layout.list(queue, *priority)],
            Step::Chord { group, .. } => self.begin_keys(group),
            Step::Join { group, failed, .. } => self.end_keys(group, *failed),
            Step::Dead(_) | Step::Note(..) | Step::Count(_) => Vec::new(),
        }
    }
}

/// Returns the steps as a flat list. The steps that depend on a condition come after the condition.
fn flatten(steps: &[Step]) -> Vec<&Step> {
    let mut flat = Vec::with_capacity(steps.len());
    for step in steps {
        match step {
            Step::Count(_) => {}
            Step::Join { steps, .. } => {
                flat.push(step);
                flat.extend(flatten(steps));
            }
            step => flat.push(step),
        }
    }
    flat
}

fn letter_args<'a>(call: &'a mut Cmd, letter: &Letter) -> &'a mut Cmd {
    call.arg(&*letter.queue)
        .arg(&letter.id)
        .arg(&letter.task)
        .arg(&letter.cause)
}

/// Logs, once, that results are stored but not published.
fn warn_unpublished(error: Option<Value>) {
    static LOGGED: Once = Once::new();
    if let Some(error) = error.and_then(bytes) {
        let error = String::from_utf8_lossy(&error).into_owned();
        LOGGED.call_once(|| {
            tracing::warn!(
                "Results are stored, but publishing them is refused ({error}): a client that waits \
                 for one finds it when it looks again. The ACL rule that allows it is &*"
            );
        });
    }
}

fn read_stored(answer: Value) -> Option<Vec<usize>> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let mut parts = parts.into_iter();
    let kept = positions(parts.next()?)?;
    warn_unpublished(parts.next());
    Some(kept)
}

fn read_settled(answer: Value) -> Option<Settled> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let mut parts = parts.into_iter();
    let lost = positions(parts.next()?)?;
    let Value::Array(problems) = parts.next()? else {
        return None;
    };
    warn_unpublished(parts.next());
    let mut problems = problems.into_iter();
    let mut failed = Vec::new();
    while let Some(position) = problems.next() {
        let why = bytes(problems.next()?)?;
        failed.push((
            number(&position)?.checked_sub(1)?,
            String::from_utf8_lossy(&why).into_owned(),
        ));
    }
    Some(Settled {
        lost,
        failed,
        repeated: false,
    })
}
