//! Carries out verdicts.

use std::sync::{Arc, Once};
use std::time::Duration;

use celery_client::aio::{Cmd, Value, scripts};
use celery_protocol::message::{DecodeError, Redelivery as Marked};

use super::answer::{bytes, number, positions};
use super::forms::{Kept, documents};
use super::locking::micros;
use super::session::{DEAD_LETTERS, Session};
use crate::broker::lock::Lock;
use crate::broker::settlement::{
    Chord, Document, Fate, Join, Letter, ResultStep, Settled, Settlement, Step,
};
use crate::broker::tag::Tag;

impl Session {
    pub(super) async fn settle_batch(&mut self, batch: &[Settlement]) -> Settled {
        let mut settled = Settled::default();
        let mut start = 0;
        let layout = Arc::clone(&self.layout);
        for part in layout.parts_without_repeats(batch, documents) {
            self.settle_part(start, part, &mut settled).await;
            start += part.len();
        }
        settled
    }

    /// Settles the part of a batch that begins at `start`.
    async fn settle_part(&mut self, start: usize, part: &[Settlement], settled: &mut Settled) {
        let kept = self.succeeded(documents(part)).await;
        let batch = self.with_redelivered(part).await;
        let answers = self
            .in_parts(
                &batch,
                &scripts::SETTLE,
                |session, batch| session.settle_call(batch, &kept),
                |value, _| read_settled(value),
                "settle",
            )
            .await;
        for (place, answer) in answers {
            let start = start + place;
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
    }

    /// Reads the messages of a batch that must be put back, and marks them as redelivered.
    async fn with_redelivered<'a>(&mut self, batch: &'a [Settlement]) -> Vec<Item<'a>> {
        let mut items: Vec<Item<'_>> = batch.iter().map(Item::from).collect();
        let tags: Vec<Tag> = items.iter().filter_map(Item::redelivered).collect();
        if tags.is_empty() {
            return items;
        }
        for item in &items {
            if let Fate::Redeliver(redelivery) = &item.settlement.fate
                && let Some(name) = &redelivery.clear
            {
                self.forget_counts(std::slice::from_ref(name)).await;
            }
        }
        let mut bodies = self.bodies(&tags).await.into_iter();
        for item in &mut items {
            if item.redelivered().is_some() {
                let message = bodies.next().flatten().unwrap_or_default();
                item.marked = Some(message.marked());
            }
        }
        items
    }

    fn settle_call(&self, batch: &[Item<'_>], kept: &Kept) -> Cmd {
        let layout = &*self.layout;
        let flat: Vec<Vec<Wire<'_>>> = batch.iter().map(Item::steps).collect();
        let keys: Vec<String> = flat
            .iter()
            .flatten()
            .flat_map(|step| self.keys_of(step))
            .collect();
        let size: usize = batch.iter().map(|item| item.settlement.size()).sum();
        let arguments =
            3 + keys.len() + 5 + flat.iter().map(|steps| 2 + 6 * steps.len()).sum::<usize>();
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
        let usual = |document: &Document| layout.ttl_of(document) == layout.result_ttl;
        let results = only_results(&flat).filter(|it| it.iter().all(|one| usual(one)));
        call.arg(if results.is_some() {
            "results"
        } else {
            "steps"
        });
        for item in batch {
            call.arg(layout.tag(item.settlement.tag));
        }
        if let Some(documents) = results {
            for document in documents {
                call.arg(&*layout.stored(document, kept));
            }
            return call;
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
                    Wire::Store(document) if !usual(document) => call
                        .arg("failure")
                        .arg(next())
                        .arg(&*layout.stored(document, kept))
                        .arg(layout.ttl_of(document)),
                    Wire::Store(document) => call
                        .arg("result")
                        .arg(next())
                        .arg(&*layout.stored(document, kept)),
                    Wire::Push { message, .. } => call.arg("push").arg(next()).arg(message),
                    Wire::Front { message, .. } => call.arg("front").arg(next()).arg(message),
                    Wire::Return { queue, .. } => call
                        .arg("return")
                        .arg(next())
                        .arg(layout.tail_length(queue)),
                    Wire::Dead {
                        queue,
                        id,
                        task,
                        cause,
                    } => call
                        .arg("dead")
                        .arg(layout.tail_length(queue))
                        .arg(queue)
                        .arg(id)
                        .arg(task)
                        .arg(cause),
                    Wire::Note(letter, raw) => call
                        .arg("note")
                        .arg(&*letter.queue)
                        .arg(&letter.id)
                        .arg(&letter.task)
                        .arg(&letter.cause)
                        .arg(raw),
                    Wire::Unlock(_, keep) => call.arg("lock").arg(next()).arg(micros(keep)),
                    Wire::Chord(chord) => call
                        .arg("chord")
                        .arg(skip(3))
                        .arg(chord.size)
                        .arg(&*layout.saved(chord))
                        .arg(layout.chord_ttl)
                        .arg(layout.saved_ttl),
                    Wire::Join(join, steps) => {
                        call.arg("join").arg(skip(5)).arg(&join.word).arg(steps)
                    }
                };
            }
        }
        call
    }

    /// Returns the keys that a step needs.
    fn keys_of(&self, step: &Wire<'_>) -> Vec<String> {
        let keys = &self.layout.keys;
        match *step {
            Wire::Store(document) => vec![keys.result(&document.id)],
            Wire::Push {
                queue, priority, ..
            }
            | Wire::Front {
                queue, priority, ..
            }
            | Wire::Return { queue, priority } => vec![self.layout.list(queue, priority)],
            Wire::Unlock(lock, _) => vec![keys.unique(&lock.task, &lock.digest)],
            Wire::Chord(chord) => self.begin_keys(&chord.group),
            Wire::Join(join, _) => self.end_keys(&join.group, join.failed),
            Wire::Dead { .. } | Wire::Note(..) => Vec::new(),
        }
    }
}

/// A settlement, with its message if that is to be put back.
struct Item<'a> {
    settlement: &'a Settlement,
    /// The message, marked as redelivered. The message could be read when it was claimed, so an
    /// error means that it has vanished: its lease is lost, and the script does nothing.
    marked: Option<Result<Marked, DecodeError>>,
}

impl<'a> From<&'a Settlement> for Item<'a> {
    fn from(settlement: &'a Settlement) -> Self {
        Item {
            settlement,
            marked: None,
        }
    }
}

/// A step as the script takes it.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Store(&'a Document),
    Push {
        queue: &'a str,
        priority: u8,
        message: &'a [u8],
    },
    Front {
        queue: &'a str,
        priority: u8,
        message: &'a [u8],
    },
    Return {
        queue: &'a str,
        priority: u8,
    },
    Dead {
        queue: &'a str,
        id: &'a str,
        task: &'a str,
        cause: &'a str,
    },
    Note(&'a Letter, &'a [u8]),
    Unlock(&'a Lock, Duration),
    Chord(&'a Chord),
    /// The end of a chord, and the number of the steps after it that depend on it.
    Join(&'a Join, usize),
}

impl Item<'_> {
    /// Returns the tag if the message is to be read, marked and put back.
    fn redelivered(&self) -> Option<Tag> {
        let is_redelivered = matches!(self.settlement.fate, Fate::Redeliver(_));
        is_redelivered.then_some(self.settlement.tag)
    }

    /// Returns what happens to the message itself, and then the steps.
    fn steps(&self) -> Vec<Wire<'_>> {
        let mut steps = Vec::with_capacity(1 + self.settlement.steps.len());
        steps.extend(self.fate());
        flatten(&self.settlement.steps, &mut steps);
        steps
    }

    fn fate(&self) -> Option<Wire<'_>> {
        match &self.settlement.fate {
            // The script acknowledges after the last step.
            Fate::Ack => None,
            Fate::Return { queue, priority } => Some(Wire::Return {
                queue,
                priority: *priority,
            }),
            Fate::Redeliver(redelivery) => {
                let queue = &*redelivery.queue;
                Some(match self.marked.as_ref()? {
                    Ok(marked) => {
                        let (priority, message) = (marked.priority, &*marked.raw);
                        if redelivery.front {
                            Wire::Front {
                                queue,
                                priority,
                                message,
                            }
                        } else {
                            Wire::Push {
                                queue,
                                priority,
                                message,
                            }
                        }
                    }
                    Err(error) => Wire::Dead {
                        queue,
                        id: &redelivery.id,
                        task: &redelivery.task,
                        cause: error.cause().code(),
                    },
                })
            }
            Fate::Dead(letter) => Some(Wire::Dead {
                queue: &letter.queue,
                id: &letter.id,
                task: &letter.task,
                cause: &letter.cause,
            }),
        }
    }
}

/// Returns the documents of these tasks, if each of them does nothing but store one result.
fn only_results<'a>(tasks: &[Vec<Wire<'a>>]) -> Option<Vec<&'a Document>> {
    let document = |steps: &Vec<Wire<'a>>| match steps[..] {
        [Wire::Store(document)] => Some(document),
        _ => None,
    };
    tasks.iter().map(document).collect()
}

/// Adds the steps to a flat list. The steps that depend on a condition come after the condition.
fn flatten<'a>(steps: &'a [Step], flat: &mut Vec<Wire<'a>>) {
    for step in steps {
        match step {
            Step::Publish(outgoing) => flat.push(Wire::Push {
                queue: &outgoing.queue,
                priority: outgoing.priority,
                message: &outgoing.message,
            }),
            Step::Note(letter, raw) => flat.push(Wire::Note(letter, raw)),
            Step::Unlock(lock, keep) => flat.push(Wire::Unlock(lock, *keep)),
            Step::Result(ResultStep::Store(document)) => flat.push(Wire::Store(document)),
            Step::Result(ResultStep::Chord(chord)) => flat.push(Wire::Chord(chord)),
            Step::Result(ResultStep::Join(join)) => {
                let place = flat.len();
                flatten(&join.steps, flat);
                let dependent = flat.len() - place;
                flat.insert(place, Wire::Join(join, dependent));
            }
            // The members of chords were counted, and removed, before.
            Step::Result(ResultStep::Count(_)) => {}
        }
    }
}

/// Logs, once, that results are stored but not published.
pub(super) fn warn_unpublished(error: Option<Value>) {
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
        ..Settled::default()
    })
}
