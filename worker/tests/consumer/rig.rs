//! A consumer on a private Redis, and a hand to look into that Redis.

use std::sync::Arc;
use std::time::Duration;

use celery_client::Endpoint;
use celery_client::aio::{Cmd, ConnectOptions, Connection, Value};
use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{Redis, RedisOptions};
use celery_worker::Shutdown;
use celery_worker::consumer::{Consumer, ConsumerOptions};
use celery_worker::delivery::{Delivery, Settler, TaskNames, Verdict};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

/// Everything here happens within this or has failed. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Knows every task but those called `unknown`, and has a bug about those called `bug`, and a later one about `bug later`.
struct Names;

impl TaskNames for Names {
    fn knows(&self, name: &str) -> bool {
        assert!(name != "bug", "as the test wants it");
        name != "unknown"
    }

    fn ignores_result(&self, name: &str) -> bool {
        assert!(name != "bug later", "as the test wants it");
        name == "silent"
    }
}

pub fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// A task to be sent, `proj.add(2, 3)`.
pub fn task(id: &str) -> Task {
    Task::new(id, "proj.add", json("[2,3]"), json("{}"))
}

/// A message for a queue; its delivery tag is made of the id.
pub fn message(task: &Task, queue: &str) -> Vec<u8> {
    task.encode_redis(&EncodeOptions::new(queue, &format!("tag-{}", task.id)))
        .unwrap()
}

pub struct Broker {
    pub redis: Redis,
    pub endpoint: Endpoint,
    connection: Option<Connection>,
}

impl Broker {
    pub async fn start(options: RedisOptions) -> Broker {
        let redis = options.start().unwrap();
        let endpoint = Endpoint::from_url(&redis.url()).unwrap();
        Broker {
            redis,
            endpoint,
            connection: None,
        }
    }

    pub fn options(&self) -> ConsumerOptions {
        ConsumerOptions::new(self.endpoint.clone(), "celery@test")
    }

    /// The same over another way to the server, or as another user of it.
    pub fn options_by(&self, url: &str) -> ConsumerOptions {
        ConsumerOptions::new(Endpoint::from_url(url).unwrap(), "celery@test")
    }

    /// As a user of these rights: its rights are all it has.
    pub async fn options_as(&mut self, rights: &[&str]) -> ConsumerOptions {
        let user = [&["ACL", "SETUSER", "limited", "on", ">secret"], rights].concat();
        self.ask(&user).await;
        let url = format!("redis://limited:secret@127.0.0.1:{}/0", self.redis.port());
        self.options_by(&url)
    }

    pub fn consume(&self, options: ConsumerOptions) -> Rig {
        let shutdown = Shutdown::new();
        let (consumer, deliveries, settler) = Consumer::start(options, Arc::new(Names), &shutdown);
        Rig {
            consumer,
            deliveries,
            settler,
            shutdown,
        }
    }

    /// A command, and its answer as text; tried again if the server was away.
    pub async fn ask<A: AsRef<[u8]>>(&mut self, words: &[A]) -> String {
        let mut cmd = Cmd::new();
        for word in words {
            cmd.arg(word.as_ref());
        }
        for _ in 0..100 {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => {
                    match Connection::open(&self.endpoint, &ConnectOptions::new("test")).await {
                        Ok(connection) => connection,
                        Err(_) => {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                            continue;
                        }
                    }
                }
            };
            if let Ok(answer) = connection.query(&cmd).await {
                self.connection = Some(connection);
                return text(&answer);
            }
        }
        panic!("no answer from Redis");
    }

    pub async fn push(&mut self, queue: &str, messages: &[Vec<u8>]) {
        let mut words: Vec<&[u8]> = vec![b"LPUSH", queue.as_bytes()];
        words.extend(messages.iter().map(Vec::as_slice));
        self.ask(&words).await;
    }

    pub async fn result(&mut self, id: &str) -> serde_json::Value {
        let key = format!("celery-task-meta-{id}");
        serde_json::from_str(&self.ask(&["GET", &key]).await).unwrap_or_default()
    }

    /// Waits until a command answers this.
    pub async fn until(&mut self, words: &[&str], wanted: &str) {
        self.until_like(words, |answer| answer == wanted).await;
    }

    pub async fn until_like(&mut self, words: &[&str], wanted: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let waiting = async {
            loop {
                last = self.ask(words).await;
                if wanted(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, waiting).await.is_err() {
            panic!("{words:?} still answers {last}");
        }
    }

    /// Waits until nothing is held and the queue `celery` is empty.
    pub async fn until_clean(&mut self) {
        self.until(&["EXISTS", "unacked", "unacked_index", "celery"], "0")
            .await;
    }
}

pub fn text(value: &Value) -> String {
    match value {
        Value::Nil => "-".into(),
        Value::Int(n) => n.to_string(),
        Value::Okay => "OK".into(),
        Value::SimpleString(text) => text.clone(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}

pub struct Rig {
    pub consumer: Consumer,
    pub deliveries: mpsc::Receiver<Delivery>,
    pub settler: Settler,
    pub shutdown: Shutdown,
}

impl Rig {
    pub async fn next(&mut self) -> Delivery {
        tokio::time::timeout(DEADLINE, self.deliveries.recv())
            .await
            .expect("no delivery came")
            .expect("the deliveries have ended")
    }

    /// The ids of the next deliveries, all of which succeed.
    pub async fn finish(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let delivery = self.next().await;
            ids.push(delivery.task.id.clone());
            self.settler.finish(delivery, Verdict::Success(json("5")));
        }
        ids
    }
}
