//! Several queues, and a queue that is named twice.

use std::collections::BTreeSet;
use std::time::Duration;

use celery_worker::consumer::QueueOrder;

use crate::broker::Broker;
use crate::rig::{Rig, post, succeeded, task, tasks};

pub async fn no_queue_is_starved_by_a_full_one<B: Broker>() {
    for order in [
        QueueOrder::RoundRobin,
        QueueOrder::Sorted,
        QueueOrder::Priority,
        QueueOrder::Weighted([("full".to_owned(), 10)].into()),
    ] {
        let mut broker = B::start().await;
        post(&mut broker, "full", &tasks(100)).await;
        post(&mut broker, "other", &[task("a")]).await;
        let mut options = broker.options();
        options.queues = vec!["full".into(), "other".into()];
        options.queue_order = order;
        options.held = 1;
        let mut rig = Rig::start(options);
        let mut before = 0;
        loop {
            let delivery = rig.next().await;
            let other = &*delivery.queue == "other";
            rig.settler.finish(delivery, succeeded("5"));
            if other {
                break;
            }
            before += 1;
        }
        assert!(before < 50, "{before} of 100 came first");
    }
}

pub async fn a_queue_named_twice_is_consumed_once<B: Broker>() {
    is_bounded::<B>(&["a", "a"], &["a"]).await;
}

pub async fn waiting_messages_are_deleted_at_the_start_if_asked<B: Broker>() {
    let mut broker = B::start().await;
    let mut old = tasks(20);
    old[7].properties.priority = Some(B::LAST_PRIORITY);
    post(&mut broker, "celery", &old).await;
    post(&mut broker, "second", &[task("old")]).await;
    post(&mut broker, "other", &[task("kept")]).await;
    let mut options = broker.options();
    options.queues = vec!["celery".into(), "second".into()];
    options.purge = true;
    let mut rig = Rig::start(options);
    broker.until_depth("celery", 0, 0).await;
    broker.until_depth("second", 0, 0).await;
    post(&mut broker, "celery", &[task("new")]).await;
    assert_eq!(rig.finish(1).await, ["new"]);
    broker.until_depth("other", 1, 0).await;
}

pub async fn the_number_held_from_all_queues_is_limited<B: Broker>() {
    is_bounded::<B>(&["a", "b"], &["a", "b"]).await;
}

/// Consumes `named` with room for four messages, of which there are twelve in each of `queues`.
async fn is_bounded<B: Broker>(named: &[&str], queues: &[&str]) {
    let mut broker = B::start().await;
    let mut all = 0;
    for queue in queues {
        let tasks: Vec<_> = (0..12).map(|n| task(&format!("{queue}{n}"))).collect();
        post(&mut broker, queue, &tasks).await;
        all += tasks.len();
    }
    let mut options = broker.options();
    options.queues = named.iter().map(|queue| (*queue).to_owned()).collect();
    options.held = 4;
    let mut rig = Rig::start(options);
    let mut done = BTreeSet::new();
    let mut held = Vec::new();
    while done.len() < all {
        while held.len() < 4.min(all - done.len()) {
            held.push(rig.next().await);
        }
        // This is time enough for a fifth message to arrive.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(rig.deliveries.try_recv().is_err());
        for delivery in held.drain(..) {
            assert!(done.insert(delivery.task.id.clone()), "{delivery:?} again");
            rig.settler.finish(delivery, succeeded("5"));
        }
    }
    for queue in queues {
        broker.until_depth(queue, 0, 0).await;
    }
}
