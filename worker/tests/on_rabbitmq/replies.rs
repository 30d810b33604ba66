//! Results as replies: Celery's result backend `rpc://`.

use celery_protocol::amqp::{Delivery, Method, Reply, Reserved, Short};
use celery_protocol::fields::Fields;
use celery_protocol::result::StoredForm;
use serde_json::{Value, json};

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns a command of the Python that has Celery 5.7, in a folder of the repository. Prints why
/// there is none.
fn python(rabbitmq: &VirtualHost, folder: &str) -> Option<Command> {
    let program = root().join(".venv/celery-5.7/bin/python");
    if !program.exists() {
        println!("skipped: {} is missing (scripts/setup)", program.display());
        return None;
    }
    let mut command = Command::new(std::path::absolute(program).unwrap());
    command
        .current_dir(root().join(folder))
        .env("BROKER_URL", rabbitmq.url())
        // The tasks name a Redis, but their results are replies.
        .env("REDIS_URL", "redis://none")
        .env("RESULT_BACKEND", "rpc://")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

/// Starts a worker that sends its results as replies, and waits until it is ready.
fn replying(rabbitmq: &VirtualHost, more: &[&str]) -> Process {
    let mut command = command(&rabbitmq.url());
    command.args(["--result-backend", "rpc://", "-c", "4"]);
    let mut worker = Process::spawn("playground", command.args(more)).unwrap();
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    worker
}

/// Returns a task that adds 1 and 1.
fn addition(id: &str) -> Task {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    Task::new(id, "proj.add", raw("[1,1]"), raw("{}"))
}

/// Returns the message of a task whose replies go to a queue.
fn answered(task: &Task, reply_to: &str) -> AmqpMessage {
    let options = EncodeOptions::new("celery", &task.id).reply_to(reply_to);
    task.encode_amqp(&options).unwrap()
}

/// Returns a call whose replies go to the queue `replies`.
fn call(id: &str, name: &str, args: &str) -> AmqpMessage {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    answered(&Task::new(id, name, raw(args), raw("{}")), "replies")
}

async fn open(rabbitmq: &VirtualHost) -> Connection {
    let endpoint = AmqpEndpoint::from_url(&rabbitmq.url()).unwrap();
    let mut options = ConnectOptions::new("test");
    options.connect_timeout = PATIENCE;
    Connection::open(&endpoint, &options).await.unwrap()
}

/// Declares a queue for replies.
async fn declare(rabbitmq: &VirtualHost, queue: &str) {
    let mut connection = open(rabbitmq).await;
    let queue = Queue::durable(queue);
    let declared = connection.declare_queue(LOOKS, &queue).await.unwrap();
    declared.unwrap();
    connection.close().await.unwrap();
}

/// Takes all messages out of a queue.
async fn take_all(rabbitmq: &VirtualHost, queue: &str) -> Vec<Delivery> {
    let mut connection = open(rabbitmq).await;
    let get = Method::BasicGet {
        ticket: Reserved::default(),
        queue: Short::new(queue).unwrap(),
        no_ack: true,
    };
    let mut taken = Vec::new();
    while let Reply::Got(delivery, _) = connection.ask_opening(LOOKS, &get).await.unwrap().unwrap()
    {
        taken.push(delivery);
    }
    connection.close().await.unwrap();
    taken
}

fn id_of(reply: &Delivery) -> String {
    let properties = reply.content.properties().unwrap();
    properties.correlation_id.unwrap().text().into_owned()
}

fn status_of(reply: &Delivery) -> String {
    let json = StoredForm::read(&reply.content.body).unwrap();
    let document: Value = serde_json::from_str(&json).unwrap();
    document["status"].as_str().unwrap().to_owned()
}

/// Returns what a reply says, without what is different for each: times and tracebacks.
fn said(reply: &Delivery) -> String {
    let properties = reply.content.properties().unwrap();
    let headers = properties.headers.map(|it| it.to_json().unwrap());
    let body: Fields = serde_json::from_slice(&reply.content.body).unwrap();
    let members: Vec<String> = body
        .iter()
        .map(|(name, value)| match (name, value.get()) {
            ("date_done" | "traceback", value) if value != "null" => format!("{name}: some"),
            (name, value) => format!("{name}: {}", value.replace(' ', "")),
        })
        .collect();
    let properties = celery_protocol::amqp::Properties {
        headers: None,
        ..properties
    };
    format!("{properties:?} {headers:?} {members:?}")
}

fn ready(rabbitmq: &VirtualHost, queue: &str) -> u64 {
    let ready = rabbitmq.ready_messages(queue);
    ready.ok().flatten().unwrap_or(0)
}

#[tokio::test]
async fn replies_are_those_of_a_worker_of_celery() {
    let rabbitmq = RabbitMq::shared().unwrap();
    let Some(mut theirs) = python(&rabbitmq, "php-tests/interop/python") else {
        return;
    };
    theirs.args(["-m", "celery", "-A", "proj", "worker", "-P", "solo"]);
    declare(&rabbitmq, "replies").await;
    let tasks = [
        call("a", "proj.add", "[2,3]"),
        call("b", "proj.fail", r#"["alas"]"#),
        call("c", "proj.custom_state", "[]"),
    ];
    let mut of_each = Vec::new();
    for ours in [true, false] {
        post(&rabbitmq.url(), &tasks).await;
        let mut worker = if ours {
            replying(&rabbitmq, &["-c", "1"])
        } else {
            Process::spawn_group("celery", &mut theirs).unwrap()
        };
        wait_for(PATIENCE, "the replies", || ready(&rabbitmq, "replies") == 4)
            .unwrap_or_else(|error| panic!("{error}: {}", worker.log()));
        worker.terminate();
        worker.wait(PATIENCE).unwrap();
        // Tasks may run in another order than they came.
        let mut replies = take_all(&rabbitmq, "replies").await;
        replies.sort_by_key(id_of);
        let (ids, said): (Vec<_>, Vec<_>) = replies.iter().map(|it| (id_of(it), said(it))).unzip();
        assert_eq!(ids, ["a", "b", "c", "c"]);
        of_each.push(said);
    }
    // The tasks of the two have other progress.
    for said in &mut of_each {
        let progress = said.remove(2);
        assert!(progress.contains("PROGRESS") && progress.contains("date_done: null"));
    }
    assert_eq!(of_each[0], of_each[1]);
}

#[tokio::test]
async fn a_client_of_celery_reads_the_replies_in_each_form() {
    let rabbitmq = RabbitMq::shared().unwrap();
    for form in ["json", "msgpack", "yaml"] {
        let Some(mut client) = python(&rabbitmq, "worker/tests/on_rabbitmq") else {
            return;
        };
        let mut worker = replying(
            &rabbitmq,
            &[
                "--result-serializer",
                form,
                "--result-compression",
                "gzip",
                "--track-started",
            ],
        );
        let warning = worker.wait_for_line(PATIENCE, "result_compression");
        assert!(warning.unwrap().contains("ignored"));
        let output = client.args(["client.py", "celery"]).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{form}: {errors}");
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        let chord = read["chord"].as_str().unwrap();
        assert!(chord.contains("does not support chords"), "{chord}");
        let many: Vec<u32> = (0..100).map(|n| 2 * n).collect();
        let expected = json!({
            "success": ["SUCCESS", 5],
            "failure": ["FAILURE", ["ValueError", "alas"]],
            "unknown": "FAILURE",
            "revoked": "REVOKED",
            "states": ["STARTED", "PROGRESS", "SUCCESS"],
            "retries": ["STARTED", "RETRY", "STARTED", "RETRY", "STARTED", "FAILURE"],
            "many": many,
            "chain": [["SUCCESS", 9], ["SUCCESS", 5]],
            "broken chain": ["FAILURE", ["ValueError", "first"]],
            "chord": chord,
        });
        assert_eq!(read, expected, "{form}: {errors}");
        worker.terminate();
        worker.wait(PATIENCE).unwrap();
    }
}

#[tokio::test]
async fn a_task_without_a_queue_for_replies_ends_like_any_other() {
    let rabbitmq = RabbitMq::shared().unwrap();
    declare(&rabbitmq, "replies").await;
    // RabbitMQ refuses what would not fit into this queue.
    let mut full = Queue::durable("full");
    full.arguments.set("x-max-length", &1).unwrap();
    full.arguments.set("x-overflow", "reject-publish").unwrap();
    let mut connection = open(&rabbitmq).await;
    let declared = connection.declare_queue(LOOKS, &full).await.unwrap();
    declared.unwrap();
    connection.open_confirming(POSTS).await.unwrap();
    let only = Publication {
        routing_key: "full",
        ..Publication::default()
    };
    let filled = connection.publish_all(POSTS, &[only], &mut [None]).await;
    filled.unwrap();
    let mut ignored = addition("ignored");
    ignored.ignore_result = Some(true);
    let tasks = [
        answered(&addition("gone"), "gone"),
        answered(&addition("none"), ""),
        answered(&addition("full"), "full"),
        answered(&ignored, "replies"),
        answered(&addition("read"), "replies"),
    ];
    post(&rabbitmq.url(), &tasks).await;
    let mut worker = replying(&rabbitmq, &["-c", "1"]);
    wait_for(PATIENCE, "the reply", || ready(&rabbitmq, "replies") > 0).unwrap();
    let told = worker.wait_for_line(PATIENCE, "was not sent to the queue full");
    assert!(told.unwrap().contains("does not take"), "{}", worker.log());
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    let read: Vec<String> = take_all(&rabbitmq, "replies")
        .await
        .iter()
        .map(id_of)
        .collect();
    assert_eq!(read, ["read"]);
    assert_eq!(ready(&rabbitmq, "celery"), 0);
    assert_eq!(rabbitmq.ready_messages("celery.dead").unwrap(), None);
}

#[tokio::test]
async fn each_task_has_a_reply_although_workers_are_killed() {
    const TASKS: usize = 300;
    let rabbitmq = RabbitMq::shared().unwrap();
    declare(&rabbitmq, "replies").await;
    let tasks: Vec<AmqpMessage> = (0..TASKS)
        .map(|n| call(&format!("t{n}"), "proj.sleep", "[0.02]"))
        .collect();
    post(&rabbitmq.url(), &tasks).await;
    for part in 1..=4 {
        let mut worker = replying(&rabbitmq, &[]);
        let wanted = u64::try_from(part * TASKS / 5).unwrap();
        wait_for(PATIENCE, "replies", || ready(&rabbitmq, "replies") > wanted).unwrap();
        worker.kill9();
    }
    let mut worker = replying(&rabbitmq, &[]);
    wait_for(PATIENCE, "an empty queue", || {
        matches!(rabbitmq.depth(&["celery"]), Ok((0, 0)))
    })
    .unwrap_or_else(|error| panic!("{error}: {}", worker.log()));
    worker.terminate();
    worker.wait(PATIENCE).unwrap();
    let replies = take_all(&rabbitmq, "replies").await;
    let mut ids: Vec<String> = replies
        .iter()
        .filter(|reply| status_of(reply) == "SUCCESS")
        .map(id_of)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), TASKS);
}

#[tokio::test]
async fn a_canvas_with_a_chord_says_that_replies_have_none() {
    let rabbitmq = RabbitMq::shared().unwrap();
    declare(&rabbitmq, "replies").await;
    let mut first = addition("first");
    let chord = json!([{
        "task": "celery.chord", "args": [], "options": {}, "subtask_type": "chord",
        "kwargs": {
            "kwargs": {},
            "header": [{ "task": "proj.add", "args": [1], "kwargs": {}, "options": {} }],
            "body": { "task": "proj.xsum", "args": [], "kwargs": {}, "options": {} },
        },
    }]);
    first.embed.callbacks = Some(serde_json::value::to_raw_value(&chord).unwrap());
    post(&rabbitmq.url(), &[answered(&first, "replies")]).await;
    let mut worker = replying(&rabbitmq, &[]);
    let told = worker.wait_for_line(PATIENCE, "result backend does not support chords!");
    assert!(told.unwrap().contains("dead letters"));
    wait_for(PATIENCE, "the reply", || ready(&rabbitmq, "replies") == 1).unwrap();
    wait_for(PATIENCE, "the letter", || {
        ready(&rabbitmq, "celery.dead") == 1
    })
    .unwrap();
}
