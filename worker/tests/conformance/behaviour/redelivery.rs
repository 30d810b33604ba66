//! Messages whose worker is gone, and messages that end their workers.

use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

use celery_worker::delivery::{Delivery, Outcome};

use crate::broker::{Broker, DeadLetter};
use crate::rig::{Rig, json, post, succeeded, task, tasks};

pub async fn messages_of_a_dead_worker_are_delivered_to_another<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    B::rescue_after(&mut options, Duration::from_millis(500));
    let mut dying = Rig::start(options.clone());
    post(&mut broker, "celery", &[task("a")]).await;
    let lost = dying.next().await;
    // As after a kill of the process, nothing is given back.
    drop(dying);
    drop(lost);
    let mut rig = Rig::start(options);
    let delivery = rig.next().await;
    assert_eq!(
        (delivery.task.id.as_str(), delivery.task.redelivered),
        ("a", true)
    );
    rig.settler.finish(delivery, succeeded("2"));
    broker.until_clean().await;
    assert_eq!(broker.result("a").await["result"], 2);
}

pub async fn a_success_that_is_delivered_again_is_not_run_again_if_asked<B: Broker>() {
    for deduplicates in [true, false] {
        let mut broker = B::start().await;
        let mut options = broker.options();
        B::rescue_after(&mut options, Duration::from_millis(500));
        options.deduplicate_successful_tasks = deduplicates;
        let mut dying = Rig::start(options.clone());
        post(&mut broker, "celery", &[task("a")]).await;
        assert_eq!(dying.finish(1).await, ["a"]);
        broker.until_status("a", "SUCCESS").await;
        // The stored result has no children, so the callback has not been published.
        let mut copy = task("a");
        copy.embed.callbacks = Some(json(r#"[{"task":"proj.echo","options":{"task_id":"b"}}]"#));
        post(&mut broker, "celery", &[copy]).await;
        let lost = dying.next().await;
        drop(dying);
        drop(lost);
        let mut rig = Rig::start(options);
        let copy = rig.next().await;
        assert!(copy.task.redelivered);
        if deduplicates {
            // A broker may deliver the message once more to count its start.
            rig.settler.begin(copy, pending()).await;
            let mut next = rig.next().await;
            if next.task.id == "a" {
                rig.settler.begin(next, pending()).await;
                next = rig.next().await;
            }
            assert_eq!((&*next.task.id, next.task.args.get()), ("b", "[5]"));
            rig.settler.finish(next, succeeded("6"));
        } else {
            let copy = rig.begin(copy).await;
            rig.settler.finish(copy, succeeded("7"));
            assert_eq!(rig.finish(1).await, ["b"]);
        }
        broker.until_clean().await;
        assert_eq!(broker.result("a").await["result"], 5);
    }
}

pub async fn a_message_that_is_held_for_long_is_not_delivered_to_another<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    B::rescue_after(&mut options, Duration::from_secs(2));
    let (mut one, mut two) = (Rig::start(options.clone()), Rig::start(options));
    post(&mut broker, "celery", &[task("a")]).await;
    let (delivery, settler) = tokio::select! {
        delivery = one.next() => (delivery, one.settler.clone()),
        delivery = two.next() => (delivery, two.settler.clone()),
    };
    // The message is held for three times the lease, and another worker is there that could rescue
    // it.
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(6)) => {}
        _ = one.deliveries.recv() => panic!("delivered twice"),
        _ = two.deliveries.recv() => panic!("delivered twice"),
    }
    settler.finish(delivery, succeeded("1"));
    broker.until_clean().await;
    assert_eq!(broker.result("a").await["result"], 1);
}

/// How often a message may be begun before it is poison. The exact number depends on how the broker
/// counts.
const LEAST_BEGINS: usize = 5;
const MOST_BEGINS: usize = 10;

/// Begins the message until that is refused.
pub async fn a_message_that_comes_back_too_often_is_a_dead_letter<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    // Each return must free the place of the message.
    options.held = 1;
    let mut rig = Rig::start(options);
    post(&mut broker, "celery", &[task("a")]).await;
    let mut begun = 0;
    loop {
        let delivery = rig.next().await;
        assert_eq!(delivery.task.redelivered, begun > 0);
        let Some(delivery) = begin(&mut broker, &mut rig, delivery).await else {
            break;
        };
        begun += 1;
        assert!(begun <= MOST_BEGINS, "begun {begun} times");
        rig.settler.finish(delivery, Outcome::Interrupted);
    }
    assert!(begun >= LEAST_BEGINS, "begun {begun} times only");
    is_poison(&mut broker).await;
}

pub async fn a_message_that_kills_its_workers_is_a_dead_letter<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    B::rescue_after(&mut options, Duration::from_millis(500));
    post(&mut broker, "celery", &[task("a")]).await;
    let mut deaths = 0;
    loop {
        let mut rig = Rig::start(options.clone());
        let delivery = rig.next().await;
        let Some(begun) = begin(&mut broker, &mut rig, delivery).await else {
            is_poison(&mut broker).await;
            break;
        };
        deaths += 1;
        assert!(deaths <= MOST_BEGINS, "{deaths} deaths");
        drop(rig);
        drop(begun);
    }
    assert!(deaths >= LEAST_BEGINS, "{deaths} deaths only");
}

/// Begins a delivery as [`Rig::begin`] does. Returns `None` if its message becomes a dead letter.
async fn begin<B: Broker>(broker: &mut B, rig: &mut Rig, delivery: Delivery) -> Option<Delivery> {
    if let Some(begun) = rig.settler.begin(delivery, pending()).await {
        return Some(begun);
    }
    let again = tokio::select! {
        again = rig.next() => again,
        () = broker.until_dead(1) => return None,
    };
    rig.settler.begin(again, pending()).await
}

/// Asserts that the message is the only dead letter, and that the stored result says why, for a
/// client that waits.
async fn is_poison<B: Broker>(broker: &mut B) {
    broker.until_dead(1).await;
    broker.until_clean().await;
    let letter = DeadLetter::of("a", "proj.add", "poison");
    assert_eq!(broker.dead().await, [letter]);
    assert_eq!(
        broker.result("a").await["result"]["exc_type"],
        "WorkerLostError"
    );
}

pub async fn a_message_that_waited_beside_one_that_kills_is_not_counted<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    B::rescue_after(&mut options, Duration::from_millis(500));
    let mut rig = Rig::start(options.clone());
    post(&mut broker, "celery", &[task("waits")]).await;
    for _ in 0..8 {
        // The message is delivered and not begun, and its worker dies.
        let waits = rig.next().await;
        rig = Rig::start(options.clone());
        drop(waits);
    }
    let delivery = rig.next().await;
    let delivery = rig.begin(delivery).await;
    rig.settler.finish(delivery, succeeded("1"));
    broker.until_clean().await;
    assert_eq!(broker.result("waits").await["status"], "SUCCESS");
}

pub async fn a_delivery_that_is_dropped_goes_back_as_if_it_had_begun<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    drop(rig.next().await);
    let delivery = rig.next().await;
    assert!(delivery.task.redelivered);
    rig.settler.finish(delivery, succeeded("1"));
    broker.until_clean().await;
}

pub async fn two_workers_share_the_work_and_each_task_is_done_once<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    options.held = 5;
    let (mut one, mut two) = (Rig::start(options.clone()), Rig::start(options));
    one.consumer.connected().await;
    two.consumer.connected().await;
    post(&mut broker, "celery", &tasks(200)).await;
    let (mut done, mut shares) = (BTreeSet::new(), [0, 0]);
    while done.len() < 200 {
        let (worker, delivery) = tokio::select! {
            delivery = one.next() => (0, delivery),
            delivery = two.next() => (1, delivery),
        };
        assert!(done.insert(delivery.task.id.clone()), "{delivery:?} again");
        shares[worker] += 1;
        let settler = [&one.settler, &two.settler][worker];
        settler.finish(delivery, succeeded("5"));
    }
    broker.until_clean().await;
    assert!(shares[0] > 0 && shares[1] > 0, "{shares:?}");
}
