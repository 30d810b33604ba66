//! `celery-worker dead` on RabbitMQ.

use super::*;

/// Runs the subcommand. Returns its exit code and its lines, first those of standard output.
fn dead(rabbitmq: &VirtualHost, words: &[&str]) -> (Option<i32>, Vec<String>) {
    let mut command = command(&rabbitmq.url());
    let output = command.arg("dead").args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().map(str::to_owned);
    (output.status.code(), lines.collect())
}

/// Returns the places of the letters, and the rest of their lines.
fn listed(rabbitmq: &VirtualHost) -> (Vec<String>, Vec<String>) {
    let (code, lines) = dead(rabbitmq, &["list"]);
    assert_eq!(code, Some(0), "{lines:?}");
    let parts = lines.iter().map(|line| line.split_once("  ").unwrap());
    parts
        .map(|(place, rest)| (place.to_owned(), rest.to_owned()))
        .unzip()
}

/// RabbitMQ may change the order of messages that return.
fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn ready(rabbitmq: &VirtualHost, queue: &str) -> Option<u64> {
    rabbitmq.ready_messages(queue).unwrap()
}

#[tokio::test]
async fn dead_letters_are_listed_put_back_and_deleted() {
    let rabbitmq = RabbitMq::shared().unwrap();
    assert_eq!(dead(&rabbitmq, &["list"]), (Some(0), Vec::new()));
    for kind in ["classic", "quorum"] {
        let ids = ["a", "b", "c"];
        let tasks = ids.map(|id| task(id, "no.such", r#"["x"]"#));
        post(&rabbitmq.url(), &tasks).await;
        let mut worker = command(&rabbitmq.url());
        let worker = worker.args(["--create-queues", kind]);
        let mut worker = Process::spawn("playground", worker).unwrap();
        wait_for(PATIENCE, "the letters", || {
            ready(&rabbitmq, "celery.dead") == Some(3)
        })
        .unwrap_or_else(|error| panic!("{error}: {}", worker.log()));
        worker.terminate();
        worker.wait(PATIENCE).unwrap();

        let (places, lines) = listed(&rabbitmq);
        let line = |id: &str| format!("celery  {id}  no.such  not-registered");
        assert_eq!(lines, ids.map(line), "{kind}");
        // To look at letters changes nothing.
        assert_eq!(sorted(listed(&rabbitmq).0), sorted(places.clone()));
        let (code, shown) = dead(&rabbitmq, &["show", &places[1]]);
        assert_eq!(code, Some(0), "{shown:?}");
        let has = |text: &str| shown.iter().any(|line| line.contains(text));
        assert!(has("id: b") && has("cause: not-registered"), "{shown:?}");
        assert!(has(r#"raw: [["x"]"#) && has("headers: {"), "{shown:?}");
        assert!(has("no.such") && !has("rs-queue"), "{shown:?}");

        let (code, lines) = dead(&rabbitmq, &["replay", &places[1], "unknown"]);
        assert_eq!(code, Some(1));
        let told = "celery-worker: no such dead letter: unknown";
        assert_eq!(lines, ["1 put back", told]);
        let counts = ["celery", "celery.dead"].map(|queue| ready(&rabbitmq, queue));
        assert_eq!(counts, [Some(1), Some(2)], "{kind}");
        assert_eq!(sorted(listed(&rabbitmq).1), [line("a"), line("c")]);

        let (code, lines) = dead(&rabbitmq, &["purge", &places[0]]);
        assert_eq!((code, lines), (Some(0), vec!["1 deleted".to_owned()]));
        let (code, lines) = dead(&rabbitmq, &["replay", "--all"]);
        assert_eq!((code, lines), (Some(0), vec!["1 put back".to_owned()]));
        assert_eq!(ready(&rabbitmq, "celery.dead"), Some(0));

        // What was put back is a message like any other.
        let mut worker = Process::spawn("playground", &mut command(&rabbitmq.url())).unwrap();
        wait_for(PATIENCE, "two letters", || {
            ready(&rabbitmq, "celery.dead") == Some(2)
        })
        .unwrap();
        worker.terminate();
        worker.wait(PATIENCE).unwrap();
        assert_eq!(sorted(listed(&rabbitmq).1), [line("b"), line("c")]);

        // Without its queue, a letter stays.
        let delete = |queue: &str| {
            let queue = rabbitmq.resource("queue", queue);
            let delete = format!(
                "{{ok, Q}} = rabbit_amqqueue:lookup({queue}), \
                 rabbit_amqqueue:delete(Q, false, false, <<\"test\">>), ok"
            );
            rabbitmq.eval(&delete).unwrap();
        };
        delete("celery");
        let (code, lines) = dead(&rabbitmq, &["replay", "--all"]);
        assert_eq!(code, Some(1));
        let told = lines
            .iter()
            .filter(|it| it.contains("its queue does not exist"));
        assert_eq!(told.count(), 2, "{lines:?}");
        let (code, lines) = dead(&rabbitmq, &["purge", "--all"]);
        assert_eq!((code, lines), (Some(0), vec!["2 deleted".to_owned()]));
        delete("celery.dead");
    }
}
