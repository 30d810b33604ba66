//! The effect of each outcome on the message and on the result.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celery_protocol::time::Timestamp;
use celery_worker::consumer::Results;
use celery_worker::delivery::Outcome;
use serde_json::Value;

use crate::broker::{Backend, Broker, DeadLetter, until};
use crate::rig::{Rig, boom, failed, json, post, rejected, succeeded, task, tasks};

pub async fn a_success_is_stored_and_acknowledged<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    assert_eq!(
        (&*delivery.queue, delivery.task.args.get()),
        ("celery", "[2,3]")
    );
    rig.settler.finish(delivery, succeeded("5"));
    broker.until_clean().await;
    let stored = broker.result("a").await;
    assert_eq!(
        (&stored["status"], &stored["result"]),
        (&"SUCCESS".into(), &5.into())
    );
    assert!(stored["date_done"].as_str().unwrap().ends_with("+00:00"));
}

pub async fn nothing_is_acknowledged_before_its_verdict<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &tasks(3)).await;
    let mut held = vec![rig.next().await, rig.next().await, rig.next().await];
    for unacknowledged in (0..3).rev() {
        broker.until_depth("celery", 0, unacknowledged + 1).await;
        assert_eq!(broker.backend().stored_results().await, 2 - unacknowledged);
        let delivery = held.pop().unwrap();
        let delivery = rig.settler.begin(delivery, pending()).await.unwrap();
        let id = delivery.task.id.clone();
        assert_eq!(broker.result(&id).await, Value::Null);
        rig.settler.finish(delivery, succeeded("5"));
        broker.until_depth("celery", 0, unacknowledged).await;
        assert_eq!(broker.result(&id).await["status"], "SUCCESS");
    }
}

pub async fn without_results_only_the_acknowledgement_remains<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    options.results = Results::Disabled;
    let mut rig = Rig::start(options);
    post(&mut broker, "celery", &tasks(300)).await;
    let ids = rig.finish(300).await;
    assert_eq!(ids, (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
    broker.until_clean().await;
    assert_eq!(broker.backend().stored_results().await, 0);
}

pub async fn ignored_results_are_not_stored_nor_are_their_errors<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let mut asked = task("asked");
    asked.ignore_result = Some(true);
    let mut typed = task("typed");
    typed.name = "silent".into();
    post(&mut broker, "celery", &[asked, typed]).await;
    let first = rig.next().await;
    rig.settler.finish(first, succeeded("5"));
    let second = rig.next().await;
    rig.settler.finish(second, failed());
    broker.until_clean().await;
    assert_eq!(broker.backend().stored_results().await, 0);
}

pub async fn a_failure_is_stored_with_its_exception<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    rig.settler.finish(delivery, failed());
    broker.until_clean().await;
    let stored = broker.result("a").await;
    assert_eq!(stored["status"], "FAILURE");
    assert_eq!(stored["result"]["exc_type"], "ValueError");
    assert_eq!(stored["result"]["exc_message"], serde_json::json!(["boom"]));
    assert_eq!(stored["traceback"], "ValueError: boom\n");
    assert_eq!(broker.dead().await, []);
}

pub async fn a_failure_is_retried_as_its_task_says<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let [again, bug] = ["again", "bug"].map(|id| {
        let mut task = task(id);
        task.name = "stubborn".into();
        task
    });
    post(&mut broker, "celery", &[again]).await;
    for retries in 0..=1 {
        let delivery = rig.next().await;
        assert_eq!(delivery.task.retries, retries);
        rig.settler.finish(delivery, failed());
        let status = ["RETRY", "FAILURE"][usize::try_from(retries).unwrap()];
        broker.until_status("again", status).await;
        let stored = broker.result("again").await;
        assert_eq!(stored["result"]["exc_type"], "ValueError");
        assert_eq!(stored["traceback"], "ValueError: boom\n");
    }
    // An error that another run cannot mend is final.
    let permanent = || Outcome::Raised {
        exception: boom(),
        retryable: false,
    };
    let panicked = || Outcome::Panicked("oh".to_owned());
    let too_long = || Outcome::TimedOut(Duration::from_millis(1500));
    for (outcome, exc_type, args, traceback) in [
        (
            permanent(),
            "ValueError",
            r#"["boom"]"#,
            r#""ValueError: boom\n""#,
        ),
        (
            panicked(),
            "RuntimeError",
            r#"["the task panicked: oh"]"#,
            r#""RuntimeError: the task panicked: oh\n""#,
        ),
        (too_long(), "TimeLimitExceeded", "[1.5]", "null"),
    ] {
        post(&mut broker, "celery", std::slice::from_ref(&bug)).await;
        let delivery = rig.next().await;
        rig.settler.finish(delivery, outcome);
        broker.until_clean().await;
        let stored = broker.result("bug").await;
        assert_eq!(stored["status"], "FAILURE");
        assert_eq!(stored["result"]["exc_type"], exc_type);
        assert_eq!(stored["result"]["exc_message"].to_string(), args);
        assert_eq!(stored["traceback"].to_string(), traceback);
    }
    assert_eq!(broker.dead().await, []);
}

pub async fn a_retry_publishes_the_task_again_until_its_limit<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let exceeded = "Can't retry proj.add[without] args:(2, 3) kwargs:{}";
    // The reason of the last retry is stored, if it has one.
    for (id, last, exc_type, text, traceback) in [
        (
            "without",
            None,
            "MaxRetriesExceededError",
            exceeded,
            format!("celery.exceptions.MaxRetriesExceededError: {exceeded}\n"),
        ),
        (
            "with",
            Some(boom()),
            "ValueError",
            "boom",
            "ValueError: boom\n".to_owned(),
        ),
    ] {
        post(&mut broker, "celery", &[task(id)]).await;
        for retries in 0..=2 {
            let delivery = rig.next().await;
            assert_eq!(
                (delivery.task.id.as_str(), delivery.task.retries),
                (id, retries)
            );
            let retry = Outcome::Retry {
                countdown: Duration::from_millis(50),
                reason: if retries < 2 {
                    Some(boom())
                } else {
                    last.clone()
                },
                max_retries: Some(2),
                arguments: None,
            };
            rig.settler.finish(delivery, retry);
            if retries < 2 {
                broker.until_status(id, "RETRY").await;
            }
        }
        broker.until_clean().await;
        let stored = broker.result(id).await;
        assert_eq!(stored["status"], "FAILURE");
        assert_eq!(stored["result"]["exc_type"], exc_type);
        assert_eq!(stored["result"]["exc_message"], serde_json::json!([text]));
        assert_eq!(stored["traceback"], traceback);
        assert_eq!(stored["parent_id"], id);
    }
    assert_eq!(broker.dead().await, []);
}

pub async fn a_task_that_expires_before_it_begins_is_revoked<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let mut short = task("a");
    short.expires = Some(from_now(Duration::from_secs(1)));
    post(&mut broker, "celery", &[short]).await;
    let delivery = rig.next().await;
    let expires = delivery.task.expires.unwrap().unix_micros();
    // The task expires while it waits for a slot.
    until("the task to expire", async || {
        let left = expires - from_now(Duration::ZERO).unix_micros();
        (left < 0).then_some(()).ok_or(left)
    })
    .await;
    assert!(rig.settler.begin(delivery, pending()).await.is_none());
    broker.until_clean().await;
    let stored = broker.result("a").await;
    assert_eq!(stored["status"], "REVOKED");
    assert_eq!(stored["result"]["exc_type"], "TaskRevokedError");
    assert_eq!(stored["result"]["exc_message"][0], "expired");
    assert_eq!(broker.dead().await, []);
}

/// Returns the time this long from now.
fn from_now(time: Duration) -> Timestamp {
    let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
    Timestamp::from_unix_micros(i64::try_from(then.as_micros()).unwrap())
}

pub async fn states_are_stored_until_there_is_a_success<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    let (task, progress) = (Arc::clone(&delivery.task), || json(r#"{"done":1}"#));
    let stored = rig.settler.store_state(&task, "PROGRESS", progress());
    stored.await.unwrap();
    let stored = broker.result("a").await;
    assert_eq!(
        (&stored["status"], &stored["result"]["done"]),
        (&"PROGRESS".into(), &1.into())
    );
    rig.settler.finish(delivery, succeeded("5"));
    broker.until_clean().await;
    let stored = rig.settler.store_state(&task, "PROGRESS", progress());
    stored.await.unwrap();
    assert_eq!(broker.result("a").await["status"], "SUCCESS");
}

pub async fn a_success_stays_although_a_copy_fails_later<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    for outcome in [succeeded("5"), failed()] {
        post(&mut broker, "celery", &[task("a")]).await;
        let delivery = rig.next().await;
        rig.settler.finish(delivery, outcome);
        broker.until_clean().await;
        assert_eq!(broker.result("a").await["status"], "SUCCESS");
    }
}

pub async fn a_large_message_may_have_a_large_result<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let text = "x".repeat(1 << 20);
    let mut large = task("a");
    large.args = json(&format!("[{text:?}]"));
    post(&mut broker, "celery", &[large]).await;
    let delivery = rig.next().await;
    let args: Vec<String> = serde_json::from_str(delivery.task.args.get()).unwrap();
    assert!(args == [text.clone()]);
    rig.settler
        .finish(delivery, succeeded(&format!("{text:?}")));
    broker.until_clean().await;
    assert!(broker.result("a").await["result"] == text);
}

pub async fn an_ignored_task_is_only_acknowledged<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    rig.settler.finish(delivery, Outcome::Ignored);
    broker.until_clean().await;
    assert_eq!(broker.backend().stored_results().await, 0);
    assert_eq!(broker.dead().await, []);
}

pub async fn a_rejected_message_is_a_dead_letter_or_comes_again<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("dead"), task("again")]).await;
    let delivery = rig.next().await;
    rig.settler.finish(delivery, rejected(false));
    let delivery = rig.next().await;
    assert!(!delivery.task.redelivered);
    rig.settler.finish(delivery, rejected(true));
    let delivery = rig.next().await;
    assert_eq!(delivery.task.id, "again");
    assert!(delivery.task.redelivered);
    rig.settler.finish(delivery, succeeded("5"));
    broker.until_clean().await;
    assert_eq!(
        broker.dead().await,
        [DeadLetter::of("dead", "proj.add", "rejected")]
    );
    let stored = broker.result("dead").await;
    assert_eq!(stored["status"], "FAILURE");
    assert_eq!(stored["result"]["exc_type"], "Reject");
    assert_eq!(
        stored["result"]["exc_message"],
        serde_json::json!(["no", false])
    );
    assert_eq!(stored["traceback"], Value::Null);
    assert_eq!(broker.result("again").await["status"], "SUCCESS");
}

pub async fn a_task_may_put_itself_back_without_limit<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    for times in 0..30 {
        let delivery = rig.next().await;
        assert_eq!(delivery.task.redelivered, times > 0);
        let delivery = rig.settler.begin(delivery, pending()).await.unwrap();
        rig.settler.finish(delivery, rejected(true));
    }
    let delivery = rig.next().await;
    rig.settler.finish(delivery, succeeded("1"));
    broker.until_clean().await;
    assert_eq!(broker.dead().await, []);
}
