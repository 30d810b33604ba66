//! Python's Celery at the other end.
//!
//! Without Celery 5.7 in `.venv`, the test prints why and passes.

use std::path::Path;
use std::process::Command;

use celery_client::amqp::blocking::{Flow, Queue};
use celery_protocol::result::{ResultDoc, State};
use celery_testkit::Process;

use super::*;

const APP: &str = r#"
import os, sys
from celery import Celery
app = Celery("proj", broker=os.environ["AMQP_URL"], backend="rpc://")

@app.task(name="proj.add")
def add(x, y):
    return x + y

if sys.argv[1:] == ["send"]:
    headers = {"n": 5, "f": 1.5, "none": None, "l": [1, "a"], "big": 1 << 40}
    app.send_task("proj.add", (1, 2), {"k": "héllo"}, queue="rust", countdown=60, headers=headers)
"#;

fn python(node: &VirtualHost, folder: &Path, arguments: &[&str]) -> Option<Command> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/celery-5.7/bin/python");
    if !program.exists() {
        println!("skipped: Celery 5.7 is not in .venv (make setup)");
        return None;
    }
    std::fs::write(folder.join("proj.py"), APP).unwrap();
    let mut command = Command::new(program);
    command.current_dir(folder).args(arguments);
    command.env("AMQP_URL", node.url());
    Some(command)
}

#[test]
fn a_python_worker_runs_posts_and_replies() {
    let node = node();
    let folder = tempfile::tempdir().unwrap();
    let worker = [
        "-m", "celery", "-A", "proj", "worker", "--pool", "solo", "-c", "1",
    ];
    let Some(mut worker) = python(&node, folder.path(), &worker) else {
        return;
    };
    let mut client = client(&node.url());
    // The queue for replies is that of Python's own client.
    let mut replies = Queue::durable("replies");
    replies.auto_delete = true;
    replies.arguments.set("x-expires", &86_400_000).unwrap();
    within(LONG, |wait| client.declare_queue(&replies, wait)).unwrap();

    // Two posts come before the worker, and create the queue that it declares.
    let reply_to = |mut post: Post| {
        post.message.reply_to = Some("replies".to_owned());
        post
    };
    let posts = ["one", "two"].map(|id| reply_to(post("celery", id)));
    let outcomes = within(LONG, |wait| client.publish_batch(&posts, wait));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let worker = Process::spawn_group("celery", &mut worker).unwrap();

    let mut results = Vec::new();
    let received = within(Duration::from_secs(90), |wait| {
        client.receive("replies", wait, |reply| {
            let properties = reply.content.properties().unwrap();
            let id = properties.correlation_id.unwrap().text().into_owned();
            let result = ResultDoc::decode(&reply.content.body).unwrap();
            assert_eq!(result.status, State::Success);
            results.push((id, result.result.get().to_owned()));
            if results.len() == 2 {
                Flow::Stop
            } else {
                Flow::More
            }
        })
    });
    received.unwrap_or_else(|error| panic!("{error}\n{}", worker.log()));
    results.sort();
    let five = "5".to_owned();
    assert_eq!(
        results,
        [("one".to_owned(), five.clone()), ("two".to_owned(), five)]
    );

    // A post to the queue that the worker has declared.
    let third = reply_to(post("celery", "three"));
    within(LONG, |wait| client.declare_queue(&replies, wait)).unwrap();
    within(LONG, |wait| client.publish(&third, wait)).unwrap();
    let received = within(LONG, |wait| client.receive("replies", wait, |_| Flow::Stop));
    received.unwrap_or_else(|error| panic!("{error}\n{}", worker.log()));
    assert!(
        !node.log().contains("PRECONDITION_FAILED"),
        "{}",
        node.log()
    );
}

#[test]
fn a_post_of_python_is_read() {
    let node = shared();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut send) = python(&node, folder.path(), &["proj.py", "send"]) else {
        return;
    };
    assert!(send.status().unwrap().success());
    let mut client = client(&node.url());
    let delivery = within(LONG, |wait| client.get("rust", wait))
        .unwrap()
        .unwrap();
    let task = task(&delivery);
    assert_eq!((&*task.name, task.args.get()), ("proj.add", "[1, 2]"));
    assert!(task.kwargs.get().contains("héllo") || task.kwargs.get().contains("\\u00e9"));
    assert!(task.eta.is_some());
    let header = |name: &str| task.headers.get(name).unwrap().get();
    assert_eq!(
        (header("n"), header("f"), header("none")),
        ("5", "1.5", "null")
    );
    assert_eq!(
        (header("l"), header("big")),
        (r#"[1,"a"]"#, "1099511627776")
    );
}
