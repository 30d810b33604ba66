//! Redis: the harness of the suite, and the tests of Redis's own behaviour.

mod bell;
mod chords;
mod forms;
mod layout;
mod refusals;
mod rescue;
mod rights;
mod scripts;
mod turns;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use celery_client::aio::{Cmd, ConnectOptions, Connection, Value};
use celery_client::redis::RedisEndpoint;
use celery_protocol::message::{EncodeOptions, Task};
use celery_protocol::redis_keys::{ChordPart, Keys};
use celery_testkit::RedisOptions;
use celery_worker::consumer::{ClaimMode, ConsumerOptions, Transport};

use crate::broker::{Backend, Broker, DeadLetter, Depth, Reachable, until};
use crate::rig::NEVER;

conformance!(crate::redis::Redis: holds_waiting_messages, has_priorities, is_reached_by_processes);

mod native {
    conformance!(crate::redis::Native: holds_waiting_messages, has_priorities, is_reached_by_processes);
}

mod prefixed {
    conformance!(by subject crate::redis::Prefixed: holds_waiting_messages, has_priorities);
}

/// Counts the ready and the unacknowledged messages at one moment: `KEYS` are the lists of a queue,
/// `unacked`, its index, and the owners of held lists; `ARGV` is the beginning of the names of these
/// lists. A message in a held list is not acknowledged either.
const DEPTH: &str = "local ready = 0
for list = 1, #KEYS - 3 do ready = ready + redis.call('LLEN', KEYS[list]) end
local held = math.max(redis.call('HLEN', KEYS[#KEYS - 2]), redis.call('ZCARD', KEYS[#KEYS - 1]))
for _, owner in ipairs(redis.call('SMEMBERS', KEYS[#KEYS])) do
  held = held + redis.call('LLEN', ARGV[1] .. owner)
end
return {ready, held}";

/// The prefix of all keys of [`Prefixed`].
const PREFIX: &str = "{suite}:";

/// The longest wait for a server that comes back.
const PATIENCE: Duration = Duration::from_secs(30);

/// A consumer that claims by script, until it has seen large messages.
pub type Redis = Harness<false>;
/// A consumer that claims by native commands only.
pub type Native = Harness<true>;
/// A consumer whose keys have a prefix, as in a cluster. The server refuses every other key and
/// channel, so that no command and no script names one without the prefix.
pub type Prefixed = Harness<false, true>;

pub struct Harness<const NATIVE: bool, const PREFIXED: bool = false> {
    server: celery_testkit::Redis,
    pub endpoint: Arc<RedisEndpoint>,
    connection: Option<Connection>,
}

impl<const NATIVE: bool, const PREFIXED: bool> Harness<NATIVE, PREFIXED> {
    fn serve(options: RedisOptions) -> Self {
        let server = options.start().unwrap();
        let endpoint = RedisEndpoint::from_url(&server.url()).unwrap();
        let prefix = if PREFIXED { PREFIX } else { "" };
        let harness = Harness {
            endpoint: endpoint.with_key_prefix(prefix).into(),
            server,
            connection: None,
        };
        harness.limit_keys();
        harness
    }

    /// Lets the server refuse all keys and channels without the prefix, if there is one.
    fn limit_keys(&self) {
        if PREFIXED {
            let (keys, channels) = (format!("~{PREFIX}*"), format!("&{PREFIX}*"));
            let rights = ["resetkeys", &keys, "resetchannels", &channels];
            let limit = [&["ACL", "SETUSER", "default"], &rights[..]].concat();
            self.server.cli(&limit).unwrap();
        }
    }

    fn keys(&self) -> Keys {
        self.endpoint.keys()
    }

    /// Returns the options of a consumer that uses another URL of the server, or another user.
    fn options_by(url: &str) -> ConsumerOptions {
        ConsumerOptions::new(
            Arc::new(RedisEndpoint::from_url(url).unwrap()),
            "celery@test",
        )
    }

    /// Returns the options of a consumer whose user has exactly these rights.
    async fn options_as(&mut self, rights: &[&str]) -> ConsumerOptions {
        let user = [&["ACL", "SETUSER", "limited", "on", ">secret"], rights].concat();
        self.ask(&user).await;
        Self::options_by(&self.limited_url())
    }

    /// Returns the URL with the user whose rights are limited.
    fn limited_url(&self) -> String {
        format!("redis://limited:secret@127.0.0.1:{}/0", self.server.port())
    }

    /// Sends a command until it is answered; an error counts as an answer.
    async fn query<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Value {
        let mut cmd = Cmd::new();
        for word in words {
            cmd.arg(word.as_ref());
        }
        let asking = async {
            loop {
                let connection = match self.connection.take() {
                    Some(connection) => Ok(connection),
                    None => Connection::open(&self.endpoint, &ConnectOptions::new("test")).await,
                };
                if let Ok(mut connection) = connection
                    && let Ok(answer) = connection.query(&cmd).await
                {
                    self.connection = Some(connection);
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let answer = tokio::time::timeout(PATIENCE, asking).await;
        answer.expect("no answer from Redis")
    }

    /// Like [`query`](Self::query), and returns the answer as text.
    async fn ask<A: AsRef<[u8]>>(&mut self, words: &[A]) -> String {
        text(&self.query(words).await)
    }

    /// Waits until a command returns `wanted`.
    async fn until(&mut self, words: &[&str], wanted: &str) {
        until(&format!("{words:?}: {wanted}"), async || {
            let answer = self.ask(words).await;
            (answer == wanted).then_some(()).ok_or(answer)
        })
        .await;
    }
}

impl<const NATIVE: bool, const PREFIXED: bool> Broker for Harness<NATIVE, PREFIXED> {
    type Message = Vec<u8>;
    type Backend = Self;

    const FIRST_PRIORITY: u8 = 0;
    const LAST_PRIORITY: u8 = 9;

    async fn start() -> Self {
        Self::serve(RedisOptions::new())
    }

    async fn start_durable() -> Self {
        Self::serve(RedisOptions::new().aof())
    }

    fn options(&self) -> ConsumerOptions {
        let mut options = ConsumerOptions::new(self.endpoint.clone(), "celery@test");
        if NATIVE {
            redis(&mut options).claim = ClaimMode::Native;
        }
        options
    }

    fn rescue_after(options: &mut ConsumerOptions, time: Duration) {
        redis(options).lease = time;
    }

    fn without_polling(options: &mut ConsumerOptions) {
        redis(options).safety_claim = NEVER;
    }

    fn message(task: &Task, options: &EncodeOptions<'_>) -> Vec<u8> {
        task.encode_redis(options).unwrap()
    }

    fn without_body(id: &str) -> Vec<u8> {
        let headers = serde_json::json!({"id": id, "task": "proj.add"});
        let properties = serde_json::json!({"delivery_tag": "t"});
        let message = serde_json::json!({"headers": headers, "properties": properties});
        message.to_string().into_bytes()
    }

    fn malformed() -> (Vec<Vec<u8>>, Vec<DeadLetter>) {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../crates/protocol/tests/fixtures/malformed/redis");
        let files = std::fs::read_dir(fixtures).unwrap();
        let mut messages: Vec<Vec<u8>> = files
            .map(|file| {
                let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
                let fixture: serde_json::Value = serde_json::from_str(&text).unwrap();
                serde_json::to_vec(&fixture["message"]).unwrap()
            })
            .collect();
        assert_eq!(messages.len(), 17);
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        let others = [
            "",
            "null",
            "[]",
            "{}",
            "{\"a\":\"\n\"}",
            "{\"headers\":[]}",
            &deep,
        ];
        messages.extend(others.map(|text| text.as_bytes().to_vec()));
        messages.push(b"{\"headers\":{\"id\":\"\xff\"}}".to_vec());
        let letters = [
            ("", "", "not-an-object"),
            ("", "", "envelope"),
            ("", "proj.add", "no-id"),
            ("no_task_header", "", "no-task"),
            ("bad_json_body", "proj.add", "body"),
            ("body_not_3_tuple", "proj.add", "body-shape"),
            ("kwargs_not_dict", "proj.add", "arguments"),
            ("invalid_eta", "proj.add", "field"),
            ("unknown_content_type", "proj.add", "content-disallowed"),
        ];
        let letters = letters.map(|(id, task, cause)| DeadLetter::of(id, task, cause));
        (messages, letters.into())
    }

    /// Pushes each message into the list of its priority, as kombu does; consecutive messages of
    /// one list go in one command.
    async fn push(&mut self, queue: &str, messages: &[Vec<u8>]) {
        for batch in messages.chunk_by(|one, next| priority(one) == priority(next)) {
            let list = self.keys().queue(queue, priority(&batch[0]));
            let mut words: Vec<&[u8]> = vec![b"LPUSH", list.as_bytes()];
            words.extend(batch.iter().map(Vec::as_slice));
            self.query(&words).await;
        }
    }

    async fn depth(&mut self, queue: &str) -> Depth {
        let keys = self.keys();
        let mut names = keys.queue_lists(queue);
        names.extend([keys.unacked(), keys.unacked_index(), keys.held_owners()]);
        let mut words = vec!["EVAL".to_owned(), DEPTH.to_owned(), names.len().to_string()];
        words.append(&mut names);
        words.push(keys.held(""));
        let counts = items(self.query(&words).await);
        let count = |place: usize| text(&counts[place]).parse().unwrap();
        Depth {
            ready: count(0),
            unacknowledged: count(1),
        }
    }

    async fn dead(&mut self) -> Vec<DeadLetter> {
        let stream = self.keys().dead();
        let letters = items(self.query(&["XRANGE", &stream, "-", "+"]).await);
        letters
            .into_iter()
            .map(|entry| {
                let fields: Vec<String> = items(items(entry).remove(1)).iter().map(text).collect();
                let mut letter = DeadLetter::default();
                for [name, value] in fields.as_chunks().0 {
                    match name.as_str() {
                        "queue" => letter.queue.clone_from(value),
                        "id" => letter.id.clone_from(value),
                        "task" => letter.task.clone_from(value),
                        "cause" => letter.cause.clone_from(value),
                        _ => {}
                    }
                }
                letter
            })
            .collect()
    }

    fn backend(&mut self) -> &mut Self {
        self
    }

    async fn cut_connections(&mut self) {
        self.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .await;
    }

    async fn crash(&mut self) {
        self.server.kill9();
    }

    async fn restart(&mut self) {
        self.server.restart().unwrap();
        self.limit_keys();
    }

    async fn freeze(&mut self) {
        self.server.pause();
    }

    async fn thaw(&mut self) {
        self.server.resume();
    }
}

impl<const NATIVE: bool> Reachable for Harness<NATIVE> {
    fn url(&self) -> String {
        self.server.url()
    }
}

impl<const NATIVE: bool, const PREFIXED: bool> Backend for Harness<NATIVE, PREFIXED> {
    async fn stored_result(&mut self, id: &str) -> serde_json::Value {
        let key = self.keys().result(id);
        serde_json::from_str(&self.ask(&["GET", &key]).await).unwrap_or_default()
    }

    async fn stored_results(&mut self) -> usize {
        let pattern = self.keys().result("*");
        items(self.query(&["KEYS", &pattern]).await).len()
    }

    async fn begin_chord(&mut self, group: &str, size: usize) {
        let key = |part| self.endpoint.keys().chord(group, part);
        let (size_key, claim) = (key(ChordPart::Size), key(ChordPart::Claim));
        self.ask(&["DEL", &claim]).await;
        self.ask(&["SET", &size_key, &size.to_string()]).await;
    }

    /// A chord that has ended has only the key `.c`, which marks its end.
    async fn open_chords(&mut self) -> usize {
        let pattern = format!("{}*", self.keys().group(""));
        let keys = items(self.query(&["KEYS", &pattern]).await);
        let open: BTreeSet<String> = keys
            .iter()
            .map(text)
            .filter(|key| !matches!(key.rsplit_once('.'), Some((_, "c"))))
            .map(|key| key[..key.len() - 2].to_owned())
            .collect();
        open.len()
    }
}

/// Returns the options of a consumer that only Redis has.
fn redis(options: &mut ConsumerOptions) -> &mut celery_worker::consumer::RedisOptions {
    match &mut options.transport {
        Transport::Redis(redis) => redis,
        other => panic!("{other:?}"),
    }
}

/// Returns the priority of a message; 0 if it has none or is not JSON.
fn priority(message: &[u8]) -> u8 {
    let message: serde_json::Value = serde_json::from_slice(message).unwrap_or_default();
    let priority = message["properties"]["priority"].as_u64().unwrap_or(0);
    priority.try_into().unwrap()
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn text(value: &Value) -> String {
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
