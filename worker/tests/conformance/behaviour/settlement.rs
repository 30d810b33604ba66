//! What each verdict does to the message and to the result.

use std::sync::Arc;
use std::time::Duration;

use celery_worker::consumer::Results;
use celery_worker::delivery::Verdict;
use serde_json::Value;

use crate::broker::{Backend, Broker, DeadLetter};
use crate::rig::{Rig, boom, failed, json, post, task, tasks};

pub async fn a_success_is_stored_and_acknowledged<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    assert_eq!(
        (&*delivery.queue, delivery.task.args.get()),
        ("celery", "[2,3]")
    );
    rig.settler.finish(delivery, Verdict::Success(json("5")));
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
        let delivery = rig.settler.begin(delivery).await.unwrap();
        let id = delivery.task.id.clone();
        assert_eq!(broker.result(&id).await, Value::Null);
        rig.settler.finish(delivery, Verdict::Success(json("5")));
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
    rig.settler.finish(first, Verdict::Success(json("5")));
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
    let failure = Verdict::Failure {
        exception: boom(),
        traceback: Some("Traceback: here".to_owned()),
    };
    rig.settler.finish(delivery, failure);
    broker.until_clean().await;
    let stored = broker.result("a").await;
    assert_eq!(stored["status"], "FAILURE");
    assert_eq!(stored["result"]["exc_type"], "ValueError");
    assert_eq!(stored["result"]["exc_message"], serde_json::json!(["boom"]));
    assert_eq!(stored["traceback"], "Traceback: here");
}

pub async fn a_retry_publishes_the_task_again_until_there_were_enough<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    for retries in 0..=2 {
        let delivery = rig.next().await;
        assert_eq!(
            (delivery.task.id.as_str(), delivery.task.retries),
            ("a", retries)
        );
        let retry = Verdict::Retry {
            countdown: Duration::from_millis(50),
            reason: (retries < 2).then(boom),
            traceback: None,
            max_retries: Some(2),
        };
        rig.settler.finish(delivery, retry);
        if retries < 2 {
            broker.until_status("a", "RETRY").await;
        }
    }
    broker.until_clean().await;
    let stored = broker.result("a").await;
    assert_eq!(stored["status"], "FAILURE");
    assert_eq!(stored["result"]["exc_type"], "MaxRetriesExceededError");
    assert_eq!(
        stored["result"]["exc_message"][0],
        "Can't retry proj.add[a] args:(2, 3) kwargs:{}"
    );
    assert_eq!(stored["parent_id"], "a");
}

pub async fn what_was_revoked_is_stored_as_such<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    rig.settler
        .finish(delivery, Verdict::Revoked("terminated".to_owned()));
    broker.until_clean().await;
    let stored = broker.result("a").await;
    assert_eq!(stored["status"], "REVOKED");
    assert_eq!(stored["result"]["exc_type"], "TaskRevokedError");
    assert_eq!(stored["result"]["exc_message"][0], "terminated");
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
    rig.settler.finish(delivery, Verdict::Success(json("5")));
    broker.until_clean().await;
    let stored = rig.settler.store_state(&task, "PROGRESS", progress());
    stored.await.unwrap();
    assert_eq!(broker.result("a").await["status"], "SUCCESS");
}

pub async fn a_success_stays_though_a_copy_fails_later<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    for verdict in [Verdict::Success(json("5")), failed()] {
        post(&mut broker, "celery", &[task("a")]).await;
        let delivery = rig.next().await;
        rig.settler.finish(delivery, verdict);
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
        .finish(delivery, Verdict::Success(json(&format!("{text:?}"))));
    broker.until_clean().await;
    assert!(broker.result("a").await["result"] == text);
}

pub async fn what_is_ignored_is_acknowledged_only<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    rig.settler.finish(delivery, Verdict::Ignore);
    broker.until_clean().await;
    assert_eq!(broker.backend().stored_results().await, 0);
    assert_eq!(broker.dead().await, []);
}

pub async fn what_is_rejected_is_a_dead_letter_or_comes_again<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("dead"), task("again")]).await;
    let delivery = rig.next().await;
    rig.settler
        .finish(delivery, Verdict::Reject { requeue: false });
    let delivery = rig.next().await;
    assert!(!delivery.task.redelivered);
    rig.settler
        .finish(delivery, Verdict::Reject { requeue: true });
    let delivery = rig.next().await;
    assert_eq!(delivery.task.id, "again");
    assert!(delivery.task.redelivered);
    rig.settler.finish(delivery, Verdict::Success(json("5")));
    broker.until_clean().await;
    assert_eq!(
        broker.dead().await,
        [DeadLetter::of("dead", "proj.add", "rejected")]
    );
    assert_eq!(broker.result("dead").await["result"]["exc_type"], "Reject");
    assert_eq!(broker.result("again").await["status"], "SUCCESS");
}

pub async fn what_puts_itself_back_may_do_so_for_ever<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    for times in 0..30 {
        let delivery = rig.next().await;
        assert_eq!(delivery.task.redelivered, times > 0);
        let delivery = rig.settler.begin(delivery).await.unwrap();
        rig.settler
            .finish(delivery, Verdict::Reject { requeue: true });
    }
    let delivery = rig.next().await;
    rig.settler.finish(delivery, Verdict::Success(json("1")));
    broker.until_clean().await;
    assert_eq!(broker.dead().await, []);
}
