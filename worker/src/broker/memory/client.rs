//! The parts of a worker that uses a server in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_protocol::message::{DecodeOptions, EncodeError, EncodeOptions, Task};
use celery_protocol::result::ResultDoc;
use celery_protocol::serializer::Serializer;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::server::Server;
use super::state::State;
use crate::broker::backend::Backend;
use crate::broker::contract::{Broker, Connectivity};
use crate::broker::held::Envelope;
use crate::broker::inbound::{self, Batch};
use crate::broker::ledger::Ledger;
use crate::broker::options::{Results, Subscription};
use crate::broker::outbound::{self, Begin, Begun};
use crate::broker::queues::Queues;
use crate::broker::redis::{Session, Store};
use crate::broker::settlement::{Chord, Complete, Document, Join, Part, Settled, Settlement};
use crate::broker::tag::Tag;
use crate::monitor::Pulse;

/// A worker of a server in memory.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Arc<Connection>,
    queues: Arc<Queues>,
    /// The server of the results, if it is another one.
    results: Option<Store>,
}

/// The connection that all parts of a worker share. When the last part is dropped, the messages
/// that the worker holds go back.
#[derive(Debug)]
struct Connection {
    server: Server,
    worker: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.change(|state| state.leave(self.worker));
    }
}

impl Client {
    pub(crate) fn new(server: &Server, subscription: &Subscription<'_>) -> Self {
        Client {
            connection: Arc::new(Connection {
                worker: server.change(State::join),
                server: server.clone(),
            }),
            queues: Arc::clone(subscription.queues),
            results: match subscription.results {
                Results::Server(server) => Some(Store::new(server, subscription)),
                Results::Broker | Results::Replies | Results::Disabled => None,
            },
        }
    }
}

impl Broker for Client {
    type Message = Envelope;
    type Inbound = Inbound;
    type Outbound = Outbound;
    type Elsewhere = Session;

    fn encode(task: &Task, options: &EncodeOptions<'_>) -> Result<Vec<u8>, EncodeError> {
        task.encode_redis(options)
    }

    fn decode(message: &[u8], _queue: &str) -> Option<Task> {
        Task::decode_redis_with(message, &DecodeOptions::default().accept(&Serializer::ALL)).ok()
    }

    fn lease(&self) -> Option<Duration> {
        None
    }

    fn health(&self) -> Arc<dyn Connectivity> {
        Arc::new(self.connection.server.clone())
    }

    fn health_elsewhere(&self) -> Option<Arc<dyn Connectivity>> {
        self.results.as_ref().map(Store::health)
    }

    fn inbound(&self, ledger: &Arc<Ledger>, _: &Arc<Pulse>) -> Inbound {
        Inbound {
            connection: Arc::clone(&self.connection),
            queues: Arc::clone(&self.queues),
            ledger: Arc::clone(ledger),
            cuts: 0,
        }
    }

    fn outbound(&self, _: &'static str, _: &Arc<Pulse>) -> Outbound {
        Outbound(Arc::clone(&self.connection))
    }

    fn elsewhere(&self, pulse: &Arc<Pulse>) -> Option<Session> {
        let results = self.results.as_ref()?;
        Some(results.session(pulse))
    }

    fn give_back(&self, mut tags: Vec<Tag>) -> BoxFuture<'static, usize> {
        let server = self.connection.server.clone();
        async move {
            tags.sort_unstable();
            server.change(|state| state.give_back(&tags))
        }
        .boxed()
    }
}

/// The part that brings messages.
pub(crate) struct Inbound {
    connection: Arc<Connection>,
    queues: Arc<Queues>,
    ledger: Arc<Ledger>,
    /// The value of `cuts` at the last call.
    cuts: u64,
}

impl inbound::Inbound for Inbound {
    type Message = Envelope;

    async fn due(&mut self, room: impl Fn() -> usize + Send + Sync) -> usize {
        let server = &self.connection.server;
        loop {
            let next = server.state().release_due();
            let sleep = next.unwrap_or_else(|| Instant::now() + Duration::from_mins(1));
            let news = server.until(|state| {
                let room = room();
                let is_due = state.answers()
                    && (state.cuts != self.cuts
                        || self.ledger.acks_waiting() > 0
                        || (room > 0 && state.has_any(&self.queues.names())));
                (is_due || state.next_due() != next).then_some(is_due.then_some(room))
            });
            tokio::select! {
                room = news => if let Some(room) = room {
                    return room;
                },
                () = self.queues.changed.notified() => {}
                () = tokio::time::sleep_until(sleep.into()) => {}
            }
        }
    }

    async fn take(&mut self, room: usize) -> Batch<Envelope> {
        let acks = self.ledger.take_acks(usize::MAX);
        let Connection { server, worker } = &*self.connection;
        let answer = server.call(|state| {
            self.cuts = state.cuts;
            let lost = state.acknowledge(&acks);
            // Everything that was held before a cut is lost.
            let leases = state.lost(&self.ledger.leases());
            (
                lost,
                leases,
                state.take(*worker, &self.queues.names(), room),
            )
        });
        let (lost, leases, (messages, dead)) = answer.await;
        let lost = self.ledger.lose(&lost);
        self.ledger.acknowledged(&acks);
        self.ledger.lose(&leases);
        Batch {
            messages,
            lost,
            dead,
        }
    }

    async fn purge(&mut self) -> usize {
        let server = &self.connection.server;
        server.call(|state| state.purge(&self.queues.names())).await
    }
}

/// The part with which a role carries out verdicts.
pub(crate) struct Outbound(Arc<Connection>);

impl outbound::Outbound for Outbound {
    type Message = Envelope;

    async fn ready(&mut self) {
        self.0.server.up().await;
    }

    async fn settle(&mut self, batch: &[Settlement]) -> Settled {
        let settled = self.0.server.call(|state| {
            let settled = batch.iter().map(|settlement| state.settle(settlement));
            settled.collect::<Vec<bool>>()
        });
        let settled = settled.await.into_iter().enumerate();
        let lost = settled.filter_map(|(place, done)| (!done).then_some(place));
        Settled {
            lost: lost.collect(),
            ..Settled::default()
        }
    }

    async fn begin(&mut self, begun: &[Begun<'_>]) -> Vec<Begin> {
        let answers = self.0.server.call(|state| {
            let begun = begun.iter().map(|it| state.begin(it));
            begun.collect()
        });
        answers.await
    }

    async fn forget_begun(&mut self, _: &[String]) {
        // The count is kept with the message.
    }

    async fn renew(&mut self, tags: &[Tag]) -> Vec<Tag> {
        self.0.server.call(|state| state.lost(tags)).await
    }

    async fn park(&mut self, messages: &[(Tag, i64)]) -> Vec<Tag> {
        self.0.server.call(|state| state.park(messages)).await
    }

    async fn fetch_parked(&mut self, tags: &[Tag]) -> Vec<Option<(Arc<str>, Envelope)>> {
        self.0.server.call(|state| state.held(tags)).await
    }
}

impl Backend for Outbound {
    async fn store(&mut self, documents: &[Document]) {
        let stored = |state: &mut State| {
            for document in documents {
                state.store(document);
            }
        };
        self.0.server.call(stored).await;
    }

    async fn read(&mut self, ids: &[String]) -> Vec<Option<ResultDoc>> {
        let read = |state: &mut State| {
            let documents = ids.iter().map(|id| state.results.get(id));
            let documents = documents.map(|stored| ResultDoc::decode(stored?).ok());
            documents.collect()
        };
        self.0.server.call(read).await
    }

    async fn count(&mut self, parts: &[Part]) -> Vec<Result<Option<Complete>, String>> {
        let counted = self.0.server.call(|state| {
            let counted = parts.iter().map(|part| Ok(state.chords.count(part)));
            counted.collect()
        });
        counted.await
    }

    async fn chords(&mut self, begin: &[Chord], end: &[Join]) {
        let changed = self.0.server.call(|state| {
            for chord in begin {
                let saved = chord.saved.clone();
                state.chords.begin(&chord.group, chord.size, saved);
            }
            for join in end {
                state.chords.end(join);
            }
        });
        changed.await;
    }
}

impl Connectivity for Server {
    fn is_up(&self) -> bool {
        !self.state().is_down
    }

    fn reconnects(&self) -> u64 {
        self.state().cuts
    }

    fn up(&self) -> BoxFuture<'_, ()> {
        let up = self.until(|state| (!state.is_down).then_some(()));
        up.boxed()
    }
}
