//! The program on RabbitMQ: kills, outages, refusals.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "on_rabbitmq/dead.rs"]
mod dead;
#[path = "on_rabbitmq/replies.rs"]
mod replies;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use celery_client::amqp::aio::{Confirm, ConnectOptions, Connection, Publication};
use celery_client::amqp::{AmqpEndpoint, Queue};
use celery_protocol::message::{AmqpMessage, EncodeOptions, Task};
use celery_testkit::{
    Process, RabbitMq, RabbitMqOptions, Redis, RedisOptions, VirtualHost, wait_for,
};
use serde_json::value::RawValue;

const PATIENCE: Duration = Duration::from_mins(2);

/// The channels of the tests.
const POSTS: u16 = 1;
const LOOKS: u16 = 2;

/// Returns the path of the example worker, which cargo builds beside the tests.
fn playground() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_celery-worker")).parent();
    folder.unwrap().join("examples/playground")
}

/// Returns the command of a worker whose unique task is not unique, which needs Redis.
fn command(broker: &str) -> Command {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let settings = format!("{folder}/on_rabbitmq.{}.toml", std::process::id());
    std::fs::write(&settings, "[annotations.'proj.alone']\nunique = 0\n").unwrap();
    let mut command = Command::new(playground());
    command.args(["--config", &settings, "--broker", broker]);
    command
}

fn worker(rabbitmq: &VirtualHost, redis: &Redis) -> Process {
    let mut command = command(&rabbitmq.url());
    command.args(["-c", "4"]);
    command.args(["--result-backend", &redis.url()]);
    Process::spawn("playground", &mut command).unwrap()
}

fn task(id: &str, name: &str, args: &str) -> AmqpMessage {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let task = Task::new(id, name, raw(args), raw("{}"));
    task.encode_amqp(&EncodeOptions::new("celery", id)).unwrap()
}

/// Posts messages to the queue `celery`, which is created if it is missing.
async fn post(url: &str, messages: &[AmqpMessage]) {
    let endpoint = AmqpEndpoint::from_url(url).unwrap();
    let mut options = ConnectOptions::new("test");
    options.connect_timeout = PATIENCE;
    let mut connection = Connection::open(&endpoint, &options).await.unwrap();
    connection.open_confirming(POSTS).await.unwrap();
    let queue = Queue::durable("celery");
    connection.find_queue(LOOKS, &queue).await.unwrap().unwrap();
    let publications: Vec<Publication<'_>> = messages
        .iter()
        .map(|message| Publication {
            routing_key: "celery",
            properties: message.properties().unwrap(),
            body: &message.body,
            ..Publication::default()
        })
        .collect();
    let mut answers = vec![None; messages.len()];
    let posted = connection.publish_all(POSTS, &publications, &mut answers);
    posted.await.unwrap();
    assert_eq!(answers, vec![Some(Confirm::Taken); messages.len()]);
    connection.close().await.unwrap();
}

fn succeeded(redis: &Redis) -> usize {
    let keys = redis.cli(&["--raw", "KEYS", "celery-task-meta-*"]).unwrap();
    let keys: Vec<&str> = keys.split_whitespace().collect();
    if keys.is_empty() {
        return 0;
    }
    let documents = redis.cli(&[&["--raw", "MGET"], &*keys].concat()).unwrap();
    documents.matches(r#""status":"SUCCESS""#).count()
        + documents.matches(r#""status": "SUCCESS""#).count()
}

fn wait_until_succeeded(redis: &Redis, count: usize, workers: &[&Process]) {
    let waited = wait_for(PATIENCE, &format!("{count} results"), || {
        succeeded(redis) >= count
    });
    if let Err(error) = waited {
        let logs: Vec<String> = workers.iter().map(|worker| worker.log()).collect();
        panic!(
            "{error}: there are {}; {}",
            succeeded(redis),
            logs.join("\n---\n")
        );
    }
}

#[tokio::test]
async fn kills_of_workers_and_of_the_server_lose_nothing() {
    const TASKS: usize = 600;
    let mut rabbitmq = RabbitMqOptions::new().start().unwrap();
    let redis = RedisOptions::new().start().unwrap();
    let tasks: Vec<AmqpMessage> = (0..TASKS)
        .map(|n| task(&format!("t{n}"), "proj.sleep", "[0.05]"))
        .collect();
    post(&rabbitmq.url(), &tasks).await;

    let (mut one, mut two) = (worker(&rabbitmq, &redis), worker(&rabbitmq, &redis));
    wait_until_succeeded(&redis, 60, &[&one, &two]);
    one.kill9();
    wait_until_succeeded(&redis, 120, &[&two]);
    one = worker(&rabbitmq, &redis);
    rabbitmq.close_connections().unwrap();
    wait_until_succeeded(&redis, 240, &[&one, &two]);
    rabbitmq.kill9();
    rabbitmq.restart().unwrap();
    two.kill9();
    wait_until_succeeded(&redis, 360, &[&one]);
    rabbitmq.stop();
    rabbitmq.restart().unwrap();
    two = worker(&rabbitmq, &redis);
    wait_until_succeeded(&redis, TASKS, &[&one, &two]);

    for mut worker in [one, two] {
        worker.terminate();
        let status = worker.wait(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(0), "{}", worker.log());
    }
    wait_for(PATIENCE, "an empty queue", || {
        matches!(rabbitmq.ready_messages("celery"), Ok(Some(0)))
    })
    .unwrap();
    let dead = rabbitmq.ready_messages("celery.dead").unwrap();
    assert_eq!(dead, None);
}

#[tokio::test]
async fn what_needs_redis_is_refused_by_name() {
    let rabbitmq = RabbitMq::shared().unwrap();
    let url = rabbitmq.url();
    let run = |url: &str, more: &[&str]| {
        let output = command(url).args(more).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains("guest:guest"), "{text}");
        (output.status.code(), text)
    };
    for (more, word) in [
        (&["--beat"][..], "beat"),
        (&["--key-prefix", "shop:"], "key_prefix"),
        (&["-Q", "celery.dead"], "dead letters"),
        (
            &["dead", "replay", "--held"],
            "dead replay --held needs a broker on Redis",
        ),
        (&["top", "--once"], "top needs a broker on Redis"),
        (&["beat"], "beat needs a broker on Redis"),
    ] {
        let (code, text) = run(&url, more);
        assert_eq!(code, Some(78), "{more:?}: {text}");
        let words = word.replace('_', "-");
        assert!(
            text.contains(word) || text.contains(&words),
            "{more:?}: {text}"
        );
    }
    // A wrong password and a missing virtual host end the start, and the check finds both.
    for wrong in [
        url.replace("guest:guest", "guest:wrong"),
        format!("{url}none"),
    ] {
        for more in [&[][..], &["check"]] {
            let (code, text) = run(&wrong, more);
            assert_eq!(code, Some(78), "{wrong} {more:?}: {text}");
        }
    }
    let unique = Command::new(playground())
        .args(["--broker", &url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&unique.stderr).into_owned();
    assert_eq!(unique.status.code(), Some(78), "{text}");
    assert!(
        text.contains("a unique task needs a broker on Redis"),
        "{text}"
    );
    let (code, text) = run(&url, &["check"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("connected") && !text.contains("remote control"),
        "{text}"
    );
    let (code, text) = run(&url, &["check", "--create-queues", "none"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("queue celery: it does not exist"), "{text}");
}

#[tokio::test]
async fn missing_queues_are_created_as_asked_and_existing_ones_stay() {
    let rabbitmq = RabbitMq::shared().unwrap();
    let kind = |queue: &str| {
        let answer = rabbitmq.eval(&format!(
            "case rabbit_amqqueue:lookup({}) of \
             {{ok, Q}} -> amqqueue:get_type(Q); _ -> none end",
            rabbitmq.resource("queue", queue)
        ));
        answer.unwrap()
    };
    let start =
        |more: &[&str]| Process::spawn("playground", command(&rabbitmq.url()).args(more)).unwrap();
    let mut refused = start(&["--create-queues", "none"]);
    let told = refused.wait_for_line(PATIENCE, "missing queues are not created");
    assert!(told.unwrap().contains("celery"));
    assert_eq!(kind("celery"), "none");
    let mut classic = start(&[]);
    classic.wait_for_line(PATIENCE, "ready.").unwrap();
    assert_eq!(kind("celery"), "rabbit_classic_queue");
    // The queue that another worker has created is consumed as soon as it is there.
    wait_for(PATIENCE, "two consumers", || {
        let state = rabbitmq.eval(&format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup({}), {{ok, _, N}} = rabbit_amqqueue:stat(Q), N",
            rabbitmq.resource("queue", "celery")
        ));
        state.is_ok_and(|consumers| consumers == "2")
    })
    .unwrap();
    let mut quorum = start(&["--create-queues", "quorum", "-Q", "celery,fast"]);
    quorum.wait_for_line(PATIENCE, "ready.").unwrap();
    assert_eq!(kind("celery"), "rabbit_classic_queue");
    assert_eq!(kind("fast"), "rabbit_quorum_queue");
}
