//! What `top` asks Redis, and what it hears there.
//!
//! Requests and replies take the way of Celery's own clients: a request is published to all
//! workers, and each puts its reply into a list of this program.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celery_client::aio::{
    Cmd, ConnectOptions, Connection, Failure, Pipeline, Push, Value, scripts,
};
use celery_client::redis::RedisEndpoint;
use celery_client::redis::dead_letters::{self, Letter, Replayed};
use celery_client::redis::waiting::{lists_arguments, read_lists};
use celery_protocol::control::{Reply, ReplyTo, Request};
use celery_protocol::events::{self, Received};
use celery_protocol::message::DecodeOptions;
use celery_protocol::names::CONTROL_REPLY_EXCHANGE;
use celery_protocol::redis_keys::Keys;
use celery_protocol::serializer::Serializer;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::super::letters::{letter, replay};
use super::super::redis::{command, items};
use super::fleet::DeadLetter;
use super::retry;
use super::routes::Route;

/// The most messages that wait to be shown. Under a flood of events the screen shows a part of
/// them.
const WAITING: usize = 4096;
/// The largest message of events.
const MOST_BYTES: usize = 1 << 20;
/// The most replies that are read at a time.
const REPLIES: usize = 1000;
/// The most dead letters that are shown.
pub(super) const LETTERS: usize = 100;
/// The seconds that the list of replies lives after the last reply, if this program dies.
const REPLIES_TTL: usize = 60;

/// Two connections: one asks, the other hears events.
pub(super) struct Link {
    endpoint: Arc<RedisEndpoint>,
    keys: Keys,
    database: u32,
    address: ReplyTo,
    connection: Connection,
    /// The connection that hears. Dropping it ends the events.
    events: Option<Connection>,
    heard: mpsc::Receiver<Vec<u8>>,
}

/// What Redis holds at a moment.
pub(super) struct Contents {
    pub(super) queues: Vec<(String, u64)>,
    pub(super) held: u64,
    pub(super) dead: u64,
    pub(super) letters: Vec<DeadLetter>,
}

impl Link {
    /// Connects. Where Redis does not let this user subscribe, no events are heard.
    pub(super) async fn open(endpoint: &Arc<RedisEndpoint>) -> Result<Self, Failure> {
        let options = ConnectOptions::new("celery-worker/top");
        let (keys, database) = (endpoint.keys(), endpoint.database());
        let mut connection = Connection::open(endpoint, &options).await?;
        let (message, heard) = mpsc::channel(WAITING);
        let mut events = Connection::open_listening(endpoint, &options, move |push| {
            if let Push::Message(raw) = push
                && raw.len() <= MOST_BYTES
            {
                // When the screen falls behind, events are lost rather than kept without limit.
                let _ = message.try_send(raw);
            }
        })
        .await?;
        let pattern = keys.event_pattern(database, "");
        let subscribed = match events.query(&command(&["PSUBSCRIBE", &pattern])).await {
            Ok(_) => Some(events),
            Err(refused) if refused.is_lasting() => None,
            Err(failure) => return Err(failure),
        };
        let address = ReplyTo::new(Uuid::new_v4().to_string());
        let mut bind = Cmd::new();
        bind.arg("SADD")
            .arg(keys.binding(CONTROL_REPLY_EXCHANGE))
            .arg(address.binding_member(&keys));
        connection.query(&bind).await?;
        Ok(Link {
            endpoint: endpoint.clone(),
            keys,
            database,
            address,
            connection,
            events: subscribed,
            heard,
        })
    }

    /// Returns `true` if events can be heard.
    pub(super) fn hears(&self) -> bool {
        self.events.as_ref().is_some_and(Connection::hears)
    }

    /// Opens new connections in place of lost ones.
    pub(super) async fn reopen(&mut self) -> Result<(), Failure> {
        *self = Link::open(&self.endpoint).await?;
        Ok(())
    }

    /// Returns the events that have come, without waiting.
    pub(super) fn take_events(&mut self) -> Vec<Received> {
        let mut received = Vec::new();
        for _ in 0..WAITING {
            let Ok(raw) = self.heard.try_recv() else {
                break;
            };
            // Other programs may publish anything there.
            received.extend(events::decode_redis(&raw, &options()).unwrap_or_default());
        }
        received
    }

    /// Asks all workers. Their replies have the command as ticket.
    pub(super) async fn ask(&mut self, method: &str) -> Result<(), Failure> {
        let request = Request::new(method).reply_to(self.address.clone(), method);
        self.send(&request).await
    }

    /// Sends a request to the workers.
    pub(super) async fn send(&mut self, request: &Request) -> Result<(), Failure> {
        let tag = Uuid::new_v4().to_string();
        let mut publish = Cmd::new();
        publish
            .arg("PUBLISH")
            .arg(self.keys.pidbox_channel(self.database))
            .arg(request.encode_redis(&tag));
        self.connection.query(&publish).await?;
        Ok(())
    }

    /// Returns the replies that have come, without waiting: the command, the worker, the answer.
    pub(super) async fn replies(
        &mut self,
    ) -> Result<Vec<(String, String, serde_json::Value)>, Failure> {
        let list = self.address.list(&self.keys);
        let mut take = Pipeline::new();
        take.cmd("LPOP").arg(&list).arg(REPLIES);
        take.cmd("EXPIRE").arg(&list).arg(REPLIES_TTL);
        let mut answers = self.connection.pipeline(&take).await?.into_iter();
        let replies = answers.next().map(items).unwrap_or_default();
        let replies = replies.into_iter().filter_map(|raw| {
            let Value::BulkString(raw) = raw else {
                return None;
            };
            let reply = Reply::decode_redis(&raw, &options()).ok()?;
            let answer = serde_json::from_str(reply.answer.get()).ok()?;
            Some((reply.ticket?, reply.node, answer))
        });
        Ok(replies.collect())
    }

    /// Reads the lengths of queues, and the newest dead letters.
    pub(super) async fn contents(&mut self, queues: &[String]) -> Result<Contents, Failure> {
        let mut waiting = Vec::with_capacity(queues.len());
        for queue in queues {
            waiting.push((queue.clone(), self.waiting(queue).await?));
        }
        let mut reads = Pipeline::new();
        reads.cmd("HLEN").arg(self.keys.unacked());
        reads.add_command(dead_letters::count(&self.keys));
        reads.add_command(dead_letters::newest(&self.keys, "+", LETTERS));
        let mut answers = self.connection.pipeline(&reads).await?.into_iter();
        let mut number = || answers.next().as_ref().map_or(0, integer);
        let (held, dead) = (number(), number());
        let letters = answers.next().map(Letter::read_all).unwrap_or_default();
        let letters = letters.into_iter().map(|letter| {
            let field = |name| letter.field(name).into_owned();
            DeadLetter {
                queue: field("queue"),
                id: field("id"),
                task: field("task"),
                cause: field("cause"),
                place: letter.place,
            }
        });
        Ok(Contents {
            queues: waiting,
            held,
            dead,
            letters: letters.collect(),
        })
    }

    /// Returns the number of waiting tasks of a queue and its groups.
    async fn waiting(&mut self, queue: &str) -> Result<u64, Failure> {
        let (own, groups) = (
            self.keys.queue_lists(queue),
            lists_arguments(&self.keys, queue),
        );
        let arguments = own.len() + groups.len();
        let mut call = scripts::call(&scripts::QUEUE_LISTS, own.len(), arguments, 64 * arguments);
        call.arg(&own).arg(&groups);
        let answer = self.connection.run(&scripts::QUEUE_LISTS, &call).await?;
        let lists = read_lists(&answer).ok_or(Failure::Answer("queue_lists"))?;
        Ok(lists.iter().map(|(_, length)| length).sum())
    }

    /// Puts a dead letter back into its queue.
    pub(super) async fn replay(&mut self, place: &str) -> Result<Replayed, Failure> {
        match letter(&mut self.connection, &self.keys, place).await? {
            Some(found) => replay(&mut self.connection, &self.keys, &found).await,
            None => Ok(Replayed::Gone),
        }
    }

    /// Sends a failed task again. Returns its queue, or why it cannot be sent.
    pub(super) async fn retry(
        &mut self,
        id: &str,
        routes: &[&Route],
    ) -> Result<Result<String, String>, Failure> {
        retry::retry(&mut self.connection, &self.keys, id, routes).await
    }

    /// Revokes a task, and ends it where it runs.
    pub(super) async fn revoke(&mut self, id: &str) -> Result<(), Failure> {
        self.send(&Request::revoke(&[id], true, "SIGTERM")).await
    }

    /// Takes back what this program left in Redis for its replies.
    pub(super) async fn close(mut self) {
        let mut leave = Pipeline::new();
        leave
            .cmd("SREM")
            .arg(self.keys.binding(CONTROL_REPLY_EXCHANGE))
            .arg(self.address.binding_member(&self.keys));
        leave.cmd("DEL").arg(self.address.list(&self.keys));
        // If the server has gone, nothing needs to be done: kombu's sweepers remove what this
        // program left.
        let _ =
            tokio::time::timeout(Duration::from_secs(1), self.connection.pipeline(&leave)).await;
    }
}

/// Returns this machine's clock in Unix seconds, as events and answers have it.
pub(super) fn clock() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// Events and replies are JSON, except from workers that are set to send something else.
fn options() -> DecodeOptions<'static> {
    DecodeOptions::default().accept(&[Serializer::Json])
}

fn integer(value: &Value) -> u64 {
    match value {
        Value::Int(number) => u64::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}
