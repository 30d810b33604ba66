//! Rescues messages whose worker is gone.
//!
//! This module reads, judges and rewrites the messages. A script then moves them, and leaves alone
//! those that changed in between. Any number of workers may sweep at once, Python's among them, and
//! there are no locks that could outlive their holder. Lua cannot do the rewriting: its JSON turns
//! `[]` into `{}` and rounds numbers.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use celery_client::aio::{Cmd, Failure, Pipeline, Value, scripts};
use celery_protocol::message::{Unacked, mark_redelivered};

use super::answer::{bytes, number};
use super::binding::Binding;
use super::layout::Layout;
use super::session::{DEAD_LETTERS, Session};
use crate::broker::tag::Tag;
use crate::failpoint::failpoint;

/// The number of index entries that are read at a time.
const PAGE: usize = 1_000;
/// The most pages of one sweep; the next sweep continues there. The pages can be full of messages
/// of Python workers that are older than a lease but rightly held: Python's time-out is longer.
const PAGES: usize = 50;
/// How many bodies are read and moved at a time.
const BATCH: usize = 100;
/// About how many bytes these bodies may have: they must arrive within the time-out of an
/// answer.
const BATCH_BYTES: usize = 4 << 20;

/// The result of a sweep.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// The number of messages that went back to their lists.
    pub(super) restored: usize,
    /// The number of messages that could not be read or had nowhere to go.
    pub(super) dead: usize,
}

/// A lease that has run out: its tag and its score, as Redis returned them.
struct Orphan {
    /// Bytes, because another program's tag need not be UTF-8.
    tag: Vec<u8>,
    score: String,
}

/// The destination of a message.
enum Move {
    Lists {
        lists: Vec<String>,
        queue: String,
        message: Vec<u8>,
    },
    Dead {
        raw: Vec<u8>,
        queue: String,
        id: String,
        cause: String,
    },
    /// The index has an entry for the message, but the hash does not.
    Forget,
}

impl Session {
    /// Returns Redis's time in Unix seconds. Does not repeat the call if it fails.
    pub(super) async fn time(&mut self) -> Result<f64, Failure> {
        let time = self.server_time().await;
        self.noted(time)
    }

    /// Restores messages whose lease has run out at Redis's time `now`.
    ///
    /// A message of our workers is restored if it was not renewed for `lease`, any other message
    /// after `visibility_timeout`. Messages that this very worker `holds` are left alone: only its
    /// renewals are late. The sweep is not repeated if it fails: after an outage the caller must
    /// wait before it judges any worker.
    pub(super) async fn sweep(
        &mut self,
        now: f64,
        lease: Duration,
        visibility_timeout: Duration,
        holds: impl Fn(Tag) -> bool + Send,
    ) -> Result<Swept, Failure> {
        let swept = self.try_sweep(now, lease, visibility_timeout, holds).await;
        self.noted(swept)
    }

    pub(super) fn noted<T>(&mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        match &outcome {
            Ok(_) => self.link.worked(),
            Err(failure) => self.link.failed(failure),
        }
        outcome
    }

    async fn try_sweep(
        &mut self,
        now: f64,
        lease: Duration,
        visibility_timeout: Duration,
        holds: impl Fn(Tag) -> bool + Send,
    ) -> Result<Swept, Failure> {
        let ours = now - lease.as_secs_f64();
        let foreign = now - visibility_timeout.as_secs_f64();
        let mut swept = Swept::default();
        // If earlier entries vanish meanwhile, this offset skips some entries. The sweep after the
        // next one sees them.
        let mut passed = self.passed_over;
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
                    && !self.layout.own(&entry.tag).is_some_and(&holds)
            });
            passed += others.len();
            for batch in orphans.chunks(BATCH) {
                self.rescue(batch, &mut swept).await?;
            }
            if !full {
                // This was the last page: the next sweep begins at the front.
                self.passed_over = 0;
                return Ok(swept);
            }
        }
        self.passed_over = passed;
        Ok(swept)
    }

    /// Gives back messages that are still held under these tags, marked as redelivered. A worker
    /// calls it at its end, when nothing renews the leases any longer.
    pub(super) async fn abandon(&mut self, tags: &[Tag]) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        for chunk in tags.chunks(BATCH) {
            let mut scores = Cmd::new();
            scores.arg("ZMSCORE").arg(&self.layout.index);
            let names: Vec<Vec<u8>> = chunk
                .iter()
                .map(|tag| self.layout.tag(*tag).into_bytes())
                .collect();
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
        let mut items = items.into_iter();
        let mut page = Vec::with_capacity(items.len() / 2);
        while let (Some(tag), Some(score)) = (items.next(), items.next()) {
            page.push(Orphan {
                tag: bytes(tag).ok_or(Failure::Answer("ZRANGE"))?,
                score: text(score).ok_or(Failure::Answer("ZRANGE"))?,
            });
        }
        Ok(page)
    }

    async fn rescue(&mut self, orphans: &[Orphan], swept: &mut Swept) -> Result<(), Failure> {
        if orphans.is_empty() {
            return Ok(());
        }
        let mut lengths = Pipeline::new();
        for orphan in orphans {
            lengths
                .cmd("HSTRLEN")
                .arg(&self.layout.unacked)
                .arg(&orphan.tag);
        }
        let lengths = self.link.connection().await.pipeline(&lengths).await?;
        let mut rest = orphans;
        for few in split(&lengths) {
            let (some, others) = rest.split_at(few.min(rest.len()));
            rest = others;
            self.rescue_some(some, swept).await?;
        }
        Ok(())
    }

    async fn rescue_some(&mut self, orphans: &[Orphan], swept: &mut Swept) -> Result<(), Failure> {
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
        // If some entries were left alone, it is unknown which. The counts are for the log only.
        let dead = dead.min(moved);
        swept.dead += dead;
        swept.restored += moved - dead;
        Ok(())
    }

    /// Decides where an orphan goes.
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
                .map(Binding::queue)
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
        Ok(Move::Lists {
            lists,
            queue: routing_key,
            message: marked.raw,
        })
    }

    async fn bindings(&mut self, exchange: &str) -> Result<Vec<Binding>, Failure> {
        let mut members = Cmd::new();
        members
            .arg("SMEMBERS")
            .arg(self.layout.keys.binding(exchange));
        match self.link.connection().await.query(&members).await {
            Ok(Value::Array(items) | Value::Set(items)) => Ok(items
                .into_iter()
                .filter_map(|item| Binding::read(&text(item)?, self.layout.keys.separator()))
                .collect()),
            // The key of the bindings is not a set, so the exchange leads nowhere. That must not
            // end the sweep.
            Err(failure) if failure.is_refusal("WRONGTYPE") => Ok(Vec::new()),
            Ok(_) => Err(Failure::Answer("SMEMBERS")),
            Err(failure) => Err(failure),
        }
    }

    async fn restore(&mut self, orphans: &[Orphan], moves: &[Move]) -> Result<usize, Failure> {
        // Lua counts from 1, and the three fixed keys come first.
        let mut places = BTreeMap::new();
        let mut keys = vec![&self.layout.unacked, &self.layout.index, &self.layout.dead];
        for list in moves.iter().flat_map(|m| {
            if let Move::Lists { lists, .. } = m {
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
                Move::Lists {
                    lists,
                    queue,
                    message,
                } => {
                    let places: Vec<String> = lists
                        .iter()
                        .filter_map(|l| places.get(l))
                        .map(usize::to_string)
                        .collect();
                    call.arg(places.join(","))
                        .arg(message)
                        .arg(queue)
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
        failpoint!("sweep");
        let answer = self
            .link
            .connection()
            .await
            .run(&scripts::RESTORE, &call)
            .await?;
        failpoint!("swept");
        number(&answer).ok_or(Failure::Answer("restore"))
    }
}

/// Returns how many of the bodies of these lengths are read at a time: at least one, and not much
/// more than [`BATCH_BYTES`].
fn split(lengths: &[Value]) -> Vec<usize> {
    let mut parts = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for length in lengths {
        let length = number(length).unwrap_or(0);
        if count > 0 && bytes + length > BATCH_BYTES {
            parts.push(count);
            (count, bytes) = (0, 0);
        }
        count += 1;
        bytes += length;
    }
    parts.push(count);
    parts
}

fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

#[cfg(test)]
mod tests {
    use celery_protocol::redis_keys::Keys;
    use celery_testkit::{Redis, RedisOptions};

    use super::*;
    use crate::broker::QueueOrder;
    use crate::broker::redis::claim::Ask;
    use crate::broker::redis::connector::Connector;
    use crate::broker::redis::layout::testing::connector;

    fn broker(redis: &Redis) -> Connector {
        broker_with(redis, Keys::default())
    }

    fn broker_with(redis: &Redis, keys: Keys) -> Connector {
        connector(redis, keys, &["celery"], &QueueOrder::default())
    }

    #[tokio::test]
    async fn a_worker_does_not_rescue_its_own_messages() {
        let redis = RedisOptions::new().start().unwrap();
        redis
            .cli(&["LPUSH", "celery", "{\"a\":1}", "{\"b\":2}"])
            .unwrap();
        let broker = broker(&redis);
        let held = broker
            .session("fetch")
            .claim(Ask::only(10), &[])
            .await
            .messages;
        let late = Duration::ZERO;
        let mut source = broker.session("sweep");
        let now = source.time().await.unwrap();
        let first = |tag| tag == held[0].tag;
        let swept = source.sweep(now, late, late, first).await.unwrap();
        assert_eq!((swept.restored, held.len()), (1, 2));
        assert_eq!(redis.cli(&["HLEN", "unacked"]).unwrap().trim(), "1");
    }

    #[tokio::test]
    async fn entries_that_are_left_alone_do_not_hide_those_behind_them() {
        let redis = RedisOptions::new().start().unwrap();
        let broker = broker(&redis);
        let mut source = broker.session("sweep");
        let now = source.time().await.unwrap();
        // The index has entries of a Python worker, older than a lease but within its time-out.
        // After them comes one entry of a worker of this kind.
        let held = format!(
            "for i = 1, {} do redis.call('ZADD', 'unacked_index', {}, i) end",
            PAGE * PAGES,
            now - 500.0
        );
        redis.cli(&["EVAL", &held, "0"]).unwrap();
        let ours = "rs:other:1:0001";
        let since = (now - 400.0).to_string();
        redis.cli(&["ZADD", "unacked_index", &since, ours]).unwrap();
        let entry = r#"[{"headers":{}},"","celery"]"#;
        redis.cli(&["HSET", "unacked", ours, entry]).unwrap();
        let (lease, timeout) = (Duration::from_secs(30), Duration::from_hours(1));
        let mut restored = Vec::new();
        for _ in 0..3 {
            let swept = source.sweep(now, lease, timeout, |_| false).await.unwrap();
            restored.push(swept.restored);
        }
        assert_eq!(restored, [0, 1, 0]);
        assert_eq!(source.passed_over, PAGE * PAGES);
    }

    #[tokio::test]
    async fn a_restored_message_goes_to_the_list_of_its_step() {
        let redis = RedisOptions::new().start().unwrap();
        for (steps, separator, priority, list) in [
            ("0,3,6,9", "\u{6}\u{16}", 5, "q\u{6}\u{16}3"),
            ("0,1,2,3,4,5,6,7,8,9", ":", 5, "q:5"),
            ("0,9", ":", 8, "q"),
            ("0,9", "::", 9, "q::9"),
        ] {
            redis.cli(&["FLUSHALL"]).unwrap();
            let (steps, separator) = (steps.parse().unwrap(), separator.parse().unwrap());
            let keys = Keys::default().with_priorities(steps, separator);
            // One message was sent to the queue itself, the other through an exchange that is bound
            // to it.
            let bound = keys.binding_member("key", "", "q");
            redis.cli(&["SADD", "_kombu.binding.ex", &bound]).unwrap();
            for (tag, place) in [("one", r#""","q""#), ("two", r#""ex","key""#)] {
                let properties = format!(r#"{{"priority":{priority},"delivery_info":{{}}}}"#);
                let message = format!(r#"{{"headers":{{}},"properties":{properties}}}"#);
                let entry = format!("[{message},{place}]");
                redis.cli(&["HSET", "unacked", tag, &entry]).unwrap();
                redis.cli(&["ZADD", "unacked_index", "1", tag]).unwrap();
            }
            let mut source = broker_with(&redis, keys).session("sweep");
            let now = source.time().await.unwrap();
            let late = Duration::from_secs(1);
            let swept = source.sweep(now, late, late, |_| false).await.unwrap();
            assert_eq!((swept.restored, swept.dead), (2, 0), "{list:?}");
            assert_eq!(redis.cli(&["LLEN", list]).unwrap().trim(), "2", "{list:?}");
        }
    }

    #[test]
    fn large_bodies_are_read_in_parts() {
        let lengths = |sizes: &[i64]| sizes.iter().map(|n| Value::Int(*n)).collect::<Vec<_>>();
        let mib = 1 << 20;
        assert_eq!(split(&lengths(&[1, 2, 3])), [3]);
        assert_eq!(split(&lengths(&[9 * mib, 1, 3 * mib, 2 * mib])), [1, 2, 1]);
    }
}
