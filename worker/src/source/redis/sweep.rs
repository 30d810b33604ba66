//! Rescuing messages whose worker is gone.
//!
//! Read, judge, rewrite here; moved by a script that leaves alone whatever changed in between. Any number of workers may
//! sweep at once, Python's among them, and no lock is held that could outlive its holder. Rewriting in Lua is out of
//! the question: its JSON turns `[]` into `{}` and rounds numbers.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use celery_client::aio::{Cmd, Failure, Value, scripts};
use celery_protocol::message::{Unacked, mark_redelivered};

use super::{DEAD_LETTERS, Layout, RedisSource, bytes, number};
use crate::delivery::Tag;

/// Index entries read at a time.
const PAGE: usize = 1_000;
/// The most pages of one sweep: what is beyond waits for the next. Between the two deadlines stand the messages that
/// Python's workers hold rightly; each sweep passes over them.
const PAGES: usize = 50;
/// Bodies read and moved at a time.
const BATCH: usize = 100;

/// What a sweep did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Messages back in their lists.
    pub(crate) restored: usize,
    /// Messages that could not be read or had nowhere to go.
    pub(crate) dead: usize,
}

/// A lease that has run out: tag and score as Redis gave them.
struct Orphan {
    tag: String,
    score: String,
}

/// Where a message goes.
enum Move {
    Lists(Vec<String>, Vec<u8>),
    Dead {
        raw: Vec<u8>,
        queue: String,
        id: String,
        cause: String,
    },
    /// The index had it, the hash does not.
    Forget,
}

impl RedisSource {
    /// Restores messages of our workers that were not renewed for `lease`, and of others for `visibility_timeout`.
    /// Does not insist: after an outage the caller has to wait before it judges anybody.
    pub(crate) async fn sweep(
        &mut self,
        lease: Duration,
        visibility_timeout: Duration,
    ) -> Result<Swept, Failure> {
        let swept = self.try_sweep(lease, visibility_timeout).await;
        match &swept {
            Ok(_) => self.link.worked(),
            Err(failure) => self.link.failed(failure),
        }
        swept
    }

    async fn try_sweep(
        &mut self,
        lease: Duration,
        visibility_timeout: Duration,
    ) -> Result<Swept, Failure> {
        let now = self.server_time().await?;
        let ours = now - lease.as_secs_f64();
        let foreign = now - visibility_timeout.as_secs_f64();
        let mut swept = Swept::default();
        let mut passed = 0;
        for _ in 0..PAGES {
            let page = self.page(ours.max(foreign), passed).await?;
            let full = page.len() == PAGE;
            let (orphans, others): (Vec<_>, Vec<_>) = page.into_iter().partition(|entry| {
                let deadline = if Layout::is_ours(&entry.tag) {
                    ours
                } else {
                    foreign
                };
                entry
                    .score
                    .parse::<f64>()
                    .is_ok_and(|score| score <= deadline)
            });
            passed += others.len();
            for batch in orphans.chunks(BATCH) {
                self.rescue(batch, &mut swept).await?;
            }
            if !full {
                break;
            }
        }
        Ok(swept)
    }

    /// Gives back, marked as redelivered, what is still held under these tags. For the end of a worker, when nothing
    /// renews them any longer.
    pub(crate) async fn abandon(&mut self, tags: &[Tag]) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        for chunk in tags.chunks(BATCH) {
            let mut scores = Cmd::new();
            scores.arg("ZMSCORE").arg(&self.layout.index);
            let names: Vec<String> = chunk.iter().map(|tag| self.layout.tag(*tag)).collect();
            scores.arg(&names);
            let Value::Array(scores) = self.link.connection().await.query(&scores).await? else {
                return Err(Failure::Answer("ZMSCORE"));
            };
            let orphans: Vec<Orphan> = names
                .into_iter()
                .zip(scores)
                .filter_map(|(tag, score)| {
                    Some(Orphan {
                        tag,
                        score: text(score)?,
                    })
                })
                .collect();
            self.rescue(&orphans, &mut swept).await?;
        }
        Ok(swept)
    }

    async fn server_time(&mut self) -> Result<f64, Failure> {
        let mut time = Cmd::new();
        time.arg("TIME");
        let answer = self.link.connection().await.query(&time).await?;
        let parts = match answer {
            Value::Array(parts) => parts.into_iter().filter_map(text).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        match parts.as_slice() {
            [seconds, micros] => format!("{seconds}.{micros:0>6}")
                .parse()
                .map_err(|_| Failure::Answer("TIME")),
            _ => Err(Failure::Answer("TIME")),
        }
    }

    async fn page(&mut self, until: f64, offset: usize) -> Result<Vec<Orphan>, Failure> {
        let mut range = Cmd::new();
        range
            .arg("ZRANGE")
            .arg(&self.layout.index)
            .arg("-inf")
            .arg(until)
            .arg("BYSCORE");
        range.arg("LIMIT").arg(offset).arg(PAGE).arg("WITHSCORES");
        let Value::Array(items) = self.link.connection().await.query(&range).await? else {
            return Err(Failure::Answer("ZRANGE"));
        };
        let texts: Option<Vec<String>> = items.into_iter().map(text).collect();
        let texts = texts.ok_or(Failure::Answer("ZRANGE"))?;
        Ok(texts
            .chunks_exact(2)
            .map(|pair| Orphan {
                tag: pair[0].clone(),
                score: pair[1].clone(),
            })
            .collect())
    }

    async fn rescue(&mut self, orphans: &[Orphan], swept: &mut Swept) -> Result<(), Failure> {
        if orphans.is_empty() {
            return Ok(());
        }
        let mut get = Cmd::new();
        get.arg("HMGET").arg(&self.layout.unacked);
        for orphan in orphans {
            get.arg(&orphan.tag);
        }
        let Value::Array(entries) = self.link.connection().await.query(&get).await? else {
            return Err(Failure::Answer("HMGET"));
        };
        let mut bindings = HashMap::new();
        let mut moves = Vec::with_capacity(orphans.len());
        for entry in entries {
            moves.push(match bytes(entry) {
                None => Move::Forget,
                Some(entry) => self.judge(entry, &mut bindings).await?,
            });
        }
        let dead = moves
            .iter()
            .filter(|m| matches!(m, Move::Dead { .. }))
            .count();
        let moved = self.restore(orphans, &moves).await?;
        // If some were left alone, which ones is not known; the counts are for the log only.
        let dead = dead.min(moved);
        swept.dead += dead;
        swept.restored += moved - dead;
        Ok(())
    }

    /// Where an orphan belongs.
    async fn judge(
        &mut self,
        entry: Vec<u8>,
        bindings: &mut HashMap<String, Vec<Binding>>,
    ) -> Result<Move, Failure> {
        let Ok(parts) = Unacked::parse(&entry) else {
            let cause = "unacked-entry".to_owned();
            return Ok(Move::Dead {
                raw: entry,
                queue: String::new(),
                id: String::new(),
                cause,
            });
        };
        let (exchange, routing_key) = (parts.exchange(), parts.routing_key());
        let marked = match mark_redelivered(parts.envelope) {
            Ok(marked) => marked,
            Err(error) => {
                return Ok(Move::Dead {
                    raw: parts.envelope.to_vec(),
                    queue: routing_key,
                    id: error.id().unwrap_or_default().to_owned(),
                    cause: error.cause().code().to_owned(),
                });
            }
        };
        let queues = if exchange.is_empty() {
            vec![routing_key.clone()]
        } else {
            if !bindings.contains_key(&exchange) {
                let found = self.bindings(&exchange).await?;
                bindings.insert(exchange.clone(), found);
            }
            let table = bindings
                .get(&exchange)
                .map(Vec::as_slice)
                .unwrap_or_default();
            table
                .iter()
                .filter(|b| b.leads(&routing_key))
                .map(|b| b.queue.clone())
                .collect()
        };
        if queues.is_empty() || queues.iter().any(String::is_empty) {
            let (id, cause) = (String::new(), "no-binding".to_owned());
            return Ok(Move::Dead {
                raw: marked.raw,
                queue: routing_key,
                id,
                cause,
            });
        }
        let lists = queues
            .iter()
            .map(|queue| self.layout.list(queue, marked.priority))
            .collect();
        Ok(Move::Lists(lists, marked.raw))
    }

    async fn bindings(&mut self, exchange: &str) -> Result<Vec<Binding>, Failure> {
        let mut members = Cmd::new();
        members
            .arg("SMEMBERS")
            .arg(self.layout.keys.binding(exchange));
        match self.link.connection().await.query(&members).await? {
            Value::Array(items) | Value::Set(items) => Ok(items
                .into_iter()
                .filter_map(|item| Binding::read(&text(item)?))
                .collect()),
            _ => Err(Failure::Answer("SMEMBERS")),
        }
    }

    async fn restore(&mut self, orphans: &[Orphan], moves: &[Move]) -> Result<usize, Failure> {
        // Lua counts from 1, and the fixed three come first.
        let mut places = BTreeMap::new();
        let mut keys = vec![&self.layout.unacked, &self.layout.index, &self.layout.dead];
        for list in moves.iter().flat_map(|m| {
            if let Move::Lists(lists, _) = m {
                lists.as_slice()
            } else {
                &[]
            }
        }) {
            places.entry(list).or_insert_with(|| {
                keys.push(list);
                keys.len()
            });
        }
        let mut call = scripts::call(
            &scripts::RESTORE,
            keys.len(),
            keys.len() + 2 + 7 * orphans.len(),
            0,
        );
        call.arg(keys).arg(&self.layout.node).arg(DEAD_LETTERS);
        for (orphan, destination) in orphans.iter().zip(moves) {
            call.arg(&orphan.tag).arg(&orphan.score);
            match destination {
                Move::Lists(lists, message) => {
                    let places: Vec<String> = lists
                        .iter()
                        .filter_map(|l| places.get(l))
                        .map(usize::to_string)
                        .collect();
                    call.arg(places.join(","))
                        .arg(message)
                        .arg("")
                        .arg("")
                        .arg("");
                }
                Move::Dead {
                    raw,
                    queue,
                    id,
                    cause,
                } => {
                    call.arg(3).arg(raw).arg(queue).arg(id).arg(cause);
                }
                Move::Forget => {
                    call.arg(3).arg("").arg("").arg("").arg("");
                }
            }
        }
        let answer = self
            .link
            .connection()
            .await
            .run(&scripts::RESTORE, &call)
            .await?;
        number(&answer).ok_or(Failure::Answer("restore"))
    }
}

fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

/// A member of kombu's binding set: what an exchange sends to a queue.
#[derive(Debug)]
struct Binding {
    routing_key: String,
    pattern: Option<regex::Regex>,
    queue: String,
}

impl Binding {
    fn read(member: &str) -> Option<Self> {
        let mut parts = member.split(celery_protocol::keys::SEPARATOR);
        let (routing_key, pattern, queue) = (parts.next()?, parts.next()?, parts.next()?);
        let pattern = match pattern {
            "" => None,
            pattern => regex::RegexBuilder::new(pattern)
                .size_limit(1 << 16)
                .build()
                .ok(),
        };
        Some(Binding {
            routing_key: routing_key.into(),
            pattern,
            queue: queue.into(),
        })
    }

    /// Whether a message with this key goes there: by equality, or by the pattern of a topic exchange.
    fn leads(&self, routing_key: &str) -> bool {
        self.routing_key == routing_key
            || self
                .pattern
                .as_ref()
                .is_some_and(|p| p.is_match(routing_key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_lead_by_key_or_pattern() {
        let direct = Binding::read("celery\u{6}\u{16}\u{6}\u{16}celery").unwrap();
        assert!(direct.leads("celery") && !direct.leads("other"));
        let topic = Binding::read("image.#\u{6}\u{16}^image\\..*?$\u{6}\u{16}photos").unwrap();
        assert!(topic.leads("image.resize") && !topic.leads("imagexresize"));
        assert_eq!(topic.queue, "photos");
        assert!(Binding::read("nonsense").is_none());
    }
}
