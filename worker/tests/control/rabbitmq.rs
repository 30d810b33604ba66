//! What only RabbitMQ can do to remote control and events: close connections and channels, withdraw
//! rights, give a name to one worker alone, and stop to read.

use celery_protocol::amqp::{Properties, Short};
use celery_testkit::{Process, wait_for};
use serde_json::{Value, json};

use super::broker::{Broker, OnRabbitMq, table};
use super::world::{
    Asking, OURS, PATIENCE, in_an_hour, playground, playground_named, post, post_with, python,
    start,
};

/// Returns the patterns of the worker's user in `docs/guides/rabbitmq.md`: what it may configure,
/// write and read.
fn documented_rights() -> [&'static str; 3] {
    let documentation = include_str!("../../../docs/guides/rabbitmq.md");
    let (_, rule) = documentation
        .split_once("rabbitmqctl set_permissions")
        .unwrap();
    let (rule, _) = rule.split_once("```").unwrap();
    let words = rule.split('\'').skip(1).step_by(2);
    words.collect::<Vec<&str>>().try_into().unwrap()
}

/// Starts a worker of the user of this address.
fn start_as(broker: &OnRabbitMq, address: &str, options: &[&str], line: &str) -> Process {
    let mut command = playground(broker, options);
    command.env("CELERY_BROKER_URL", address);
    let mut worker = Process::spawn("playground", &mut command).unwrap();
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    worker.wait_for_line(PATIENCE, line).unwrap();
    worker
}

/// Returns what the subcommand `check` prints for the user of this address.
fn check(broker: &OnRabbitMq, address: &str) -> String {
    let mut command = playground(broker, &["-E"]);
    command.env("CELERY_BROKER_URL", address).arg("check");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

fn succeeds(broker: &OnRabbitMq, worker: &mut Process, id: &str) {
    post(broker, "celery", id, "proj.add", "[1, 2]");
    let line = format!("[{id}] succeeded");
    worker.wait_for_line(PATIENCE, &line).unwrap();
}

fn pong(asking: &mut Asking) {
    assert_eq!(asking.ask(OURS, "ping", json!({})), json!({"ok": "pong"}));
}

#[test]
fn requests_and_events_come_again_after_lost_connections() {
    let broker = OnRabbitMq::begin();
    let mut worker = start(&mut playground(&broker, &["-E"]));
    for round in 0..2 {
        let offset = worker.log_len();
        broker.vhost.close_connections().unwrap();
        worker
            .wait_for_line_after(PATIENCE, "Remote control listens", offset)
            .unwrap();
        let Some(mut asking) = Asking::start(&broker) else {
            return;
        };
        pong(&mut asking);
        succeeds(&broker, &mut worker, &format!("after-{round}"));
        let (sender, events) = std::sync::mpsc::channel();
        broker.listen(sender);
        assert!(events.recv_timeout(PATIENCE).is_ok());
    }
    assert!(!worker.log().contains("Remote control is off"));
    worker.stop();
}

#[test]
fn a_second_worker_of_a_name_serves_its_tasks_and_hears_nothing_until_the_first_is_gone() {
    let broker = OnRabbitMq::begin();
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let mut first = start(&mut playground(&broker, &["-Q", "first"]));
    let mut second = Process::spawn("playground", &mut playground(&broker, &[])).unwrap();
    let told = "Remote control is off: another connection has the queue rust@test.celery.pidbox";
    second.wait_for_line(PATIENCE, told).unwrap();
    succeeds(&broker, &mut second, "served");
    let queues = |asking: &mut Asking| {
        let queues = asking.ask(OURS, "active_queues", json!({}));
        queues[0]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(queues(&mut asking), "first");
    first.kill9();
    second
        .wait_for_line(PATIENCE, "Remote control is on again")
        .unwrap();
    assert_eq!(queues(&mut asking), "celery");
    // The log says it once, however often it was tried.
    assert_eq!(second.log().matches("Remote control is off").count(), 1);
    second.stop();
}

#[test]
fn what_is_not_a_request_is_passed_over() {
    let broker = OnRabbitMq::begin();
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let mut worker = start(&mut playground(&broker, &[]));
    let json_text = Properties {
        content_type: Some(Short::new("application/json").unwrap()),
        content_encoding: Some(Short::new("utf-8").unwrap()),
        ..Properties::default()
    };
    let publish = |properties, body: &[u8]| {
        broker.publish("celery.pidbox", "", properties, body);
    };
    for body in ["", "{", "[]", "{}", "null", "{\"method\": 1}"] {
        publish(json_text, body.as_bytes());
    }
    let pickle = Properties {
        content_type: Some(Short::new("application/x-python-serialize").unwrap()),
        ..json_text
    };
    publish(pickle, b"\x80\x04.");
    let headers = table(r#"{"clock": "late", "expires": [], "deep": {"a": [{}]}}"#);
    let odd = Properties {
        headers: Some(headers.as_table()),
        ..json_text
    };
    publish(
        odd,
        br#"{"method": "ping", "reply_to": {"exchange": "none", "routing_key": "x"}}"#,
    );
    publish(json_text, &vec![b' '; 2 << 20]);
    worker
        .wait_for_line(PATIENCE, "A control request of 2097")
        .unwrap();
    pong(&mut asking);
    assert!(worker.log().contains("Cannot decode a control request"));

    // A message that is too large for the connection ends it, and goes with the queue.
    let offset = worker.log_len();
    publish(json_text, &vec![b' '; 5 << 20]);
    worker
        .wait_for_line_after(PATIENCE, "Remote control listens", offset)
        .unwrap();
    pong(&mut asking);
    succeeds(&broker, &mut worker, "after");
    assert!(worker.exit_status().is_none());
}

#[test]
fn the_documented_rights_are_enough() {
    let broker = OnRabbitMq::begin();
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let address = broker
        .vhost
        .add_user("worker", documented_rights())
        .unwrap();
    let found = check(&broker, &address);
    assert!(
        !found.contains("remote control") && !found.contains("no events"),
        "{found}"
    );
    let options = ["-E", "-c", "1"];
    let mut worker = start_as(&broker, &address, &options, "Remote control listens");
    // Its queue belongs to the worker now, which is as it should be.
    let found = check(&broker, &address);
    assert!(
        !found.contains("remote control") && !found.contains("no events"),
        "{found}"
    );
    let (sender, events) = std::sync::mpsc::channel();
    broker.listen(sender);
    pong(&mut asking);
    succeeds(&broker, &mut worker, "add");
    assert!(events.recv_timeout(PATIENCE).is_ok());
    post_with(&broker, "celery", "later", "proj.add", "[1, 2]", |task| {
        task.eta = Some(in_an_hour());
    });
    let waits = || broker.depth("celery") == (0, 0);
    wait_for(PATIENCE, "the delayed task", waits).unwrap();
    worker.wait_for_line(PATIENCE, "mingle: all alone").unwrap();
    for word in [
        "Remote control is off",
        "Events are lost",
        "refused",
        "cannot keep",
    ] {
        assert!(!worker.log().contains(word), "{word}: {}", worker.log());
    }
    worker.stop();
}

#[test]
fn a_worker_without_rights_serves_its_tasks_until_it_gets_them() {
    const ALL: [&str; 3] = [".*", ".*", ".*"];
    let broker = OnRabbitMq::begin();
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    // Neither the queue for requests, nor the exchange of events, nor the queue of dead letters.
    let others = "^(?!celeryev|celery[.]dead|.*pidbox)";
    let address = broker
        .vhost
        .add_user("limited", [others, others, ".*"])
        .unwrap();
    let told = "Remote control is off: RabbitMQ does not let this worker use the queue";
    let found = check(&broker, &address);
    for text in ["no remote control: 403", "no events: 403"] {
        assert!(found.contains(text), "{text}: {found}");
    }
    let mut worker = start_as(&broker, &address, &["-E"], told);
    worker
        .wait_for_line(PATIENCE, "Events are lost: the broker does not let")
        .unwrap();
    succeeds(&broker, &mut worker, "before");
    assert_eq!(broker.hearers(), 0);
    let (sender, events) = std::sync::mpsc::channel();
    broker.listen(sender);
    // A message that cannot become a dead letter comes again, after a pause.
    post(&broker, "celery", "unknown", "no.such", "[]");
    worker
        .wait_for_line(PATIENCE, "RabbitMQ does not take dead letters")
        .unwrap();
    broker.vhost.permit("limited", ALL).unwrap();
    let is_dead = || broker.depth("celery.dead") == (1, 0) && broker.depth("celery") == (0, 0);
    wait_for(PATIENCE, "the dead letter", is_dead).unwrap();
    worker
        .wait_for_line(PATIENCE, "Remote control is on again")
        .unwrap();
    pong(&mut asking);
    assert!(events.recv_timeout(PATIENCE).is_ok());
    succeeds(&broker, &mut worker, "after");
    for word in [
        "Remote control is off",
        "Events are lost",
        "RabbitMQ does not take dead letters",
    ] {
        assert_eq!(worker.log().matches(word).count(), 1, "{}", worker.log());
    }
    worker.stop();
}

#[test]
fn a_worker_hears_and_sends_again_after_an_alarm() {
    let broker = OnRabbitMq::begin().alone();
    let mut worker = start(&mut playground(&broker, &["-E", "-c", "2"]));
    let node = broker.own.as_ref().unwrap();
    let (sender, events) = std::sync::mpsc::channel();
    broker.listen(sender);
    assert!(events.recv_timeout(PATIENCE).is_ok());
    let letter = table(r#"{"rs-queue": "celery", "rs-id": "letter"}"#);
    let properties = Properties {
        headers: Some(letter.as_table()),
        ..Properties::default()
    };
    broker.publish("", "celery.dead", properties, b"[]");
    node.alarm(true).unwrap();
    // A dead letter cannot be put back meanwhile, and the command says so.
    let mut replay = playground(&broker, &[]);
    let replay = replay.args(["dead", "replay", "--all"]).output().unwrap();
    let text = String::from_utf8_lossy(&replay.stderr);
    assert_eq!(replay.status.code(), Some(1), "{text}");
    for part in ["blocks publishers", "The outcome for the letter"] {
        assert!(text.contains(part), "{text}");
    }
    // Each heartbeat is an event that RabbitMQ does not take.
    let silent = std::time::Duration::from_secs(3);
    wait_for(PATIENCE, "no more events", || {
        events.recv_timeout(silent).is_err()
    })
    .unwrap();
    node.alarm(false).unwrap();
    assert!(events.recv_timeout(PATIENCE).is_ok());
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    pong(&mut asking);
    succeeds(&broker, &mut worker, "after");
    worker.stop();
}

#[test]
fn a_queue_that_cannot_be_consumed_is_refused_and_a_missing_one_is_created() {
    let broker = OnRabbitMq::begin();
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let readable = "^(?!hidden)";
    let creatable = "^(?!foreign)";
    let address = broker
        .vhost
        .add_user("limited", [creatable, ".*", readable])
        .unwrap();
    let worker = start_as(&broker, &address, &[], "Remote control listens");
    post(&broker, "hidden", "waits", "proj.add", "[1, 2]");
    for (arguments, part) in [
        (json!({"queue": "hidden"}), "PermissionError"),
        (json!({"queue": "foreign"}), "PermissionError"),
        (json!({"queue": "amq.own"}), "ValueError"),
        (json!({"queue": "celery.dead"}), "ValueError"),
        (json!({"queue": "x".repeat(256)}), "ValueError"),
        (json!({"queue": ""}), "ValueError"),
        (
            json!({"queue": "other", "exchange": "topics"}),
            "NotImplementedError",
        ),
    ] {
        let answer = asking.ask(OURS, "add_consumer", arguments);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.starts_with(part), "{answer}");
    }
    assert_eq!(broker.depth("hidden"), (1, 0));
    let queues = asking.ask(OURS, "active_queues", json!({}));
    assert_eq!(queues.as_array().unwrap().len(), 1, "{queues}");
    assert_eq!(broker.vhost.ready_messages("fresh").unwrap(), None);
    asking.ask(OURS, "add_consumer", json!({"queue": "fresh"}));
    assert_eq!(broker.vhost.ready_messages("fresh").unwrap(), Some(0));
    // The question took no message and closed no other channel.
    assert!(!worker.log().contains("closed the channel"));
}

#[test]
fn revocations_are_in_the_memory_of_the_workers() {
    let broker = OnRabbitMq::begin();
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let mut first = start(&mut playground(&broker, &["-Q", "first"]));
    asking.ask(OURS, "revoke", json!({"task_id": ["one", "two"]}));
    post(&broker, "second", "one", "proj.echo", "[1]");
    let other = "other@test";
    let mut second = start(&mut playground_named(&broker, other, &["-Q", "second"]));
    // The first task waits until the other worker has said what is revoked.
    second
        .wait_for_line(PATIENCE, "mingle: sync with 1 nodes")
        .unwrap();
    second
        .wait_for_line(PATIENCE, "Discarding revoked task: proj.echo[one]")
        .unwrap();
    let revoked = asking.ask(other, "revoked", json!({}));
    assert_eq!(revoked, json!(["one", "two"]));
    // RabbitMQ keeps a task until its ETA, and the worker discards it then.
    post_with(&broker, "first", "later", "proj.echo", "[1]", |task| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        let then = now + std::time::Duration::from_secs(5);
        let micros = then.as_micros().try_into().unwrap();
        task.eta = Some(celery_protocol::time::Timestamp::from_unix_micros(micros));
    });
    asking.ask(OURS, "revoke", json!({"task_id": "later"}));
    first
        .wait_for_line(PATIENCE, "Discarding revoked task: proj.echo[later]")
        .unwrap();
    first.stop();
    second.stop();
    // Without another worker, nothing is known any more.
    let mut third = start(&mut playground(&broker, &[]));
    third.wait_for_line(PATIENCE, "mingle: all alone").unwrap();
    assert_eq!(asking.ask(OURS, "revoked", json!({})), json!([]));
    third.stop();
}

#[test]
fn the_commands_of_celery_inspect_show_the_worker() {
    let broker = OnRabbitMq::begin();
    let _worker = start(&mut playground(&broker, &["-c", "1"]));
    let inspect = |command: &[&str]| -> Option<Value> {
        let mut celery = python(&broker)?;
        celery.args([
            "-m", "celery", "-A", "proj", "inspect", "--json", "-t", "30",
        ]);
        celery.args(["-d", OURS]).args(command);
        let output = celery.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
        Some(answers[OURS].clone())
    };
    let Some(ping) = inspect(&["ping"]) else {
        return;
    };
    assert_eq!(ping, json!({"ok": "pong"}));
    let stats = inspect(&["stats"]).unwrap();
    assert_eq!(stats["broker"]["transport"], "amqp");
    let report = inspect(&["report"]).unwrap();
    assert!(report["ok"].as_str().unwrap().contains("transport:amqp"));
    let conf = inspect(&["conf"]).unwrap();
    assert!(!conf.to_string().contains("guest:guest"), "{conf}");
    assert_eq!(conf["worker_concurrency"], 1);
}
