//! The order in which queues are served, turn by turn.

use celery_worker::consumer::QueueOrder;

use super::Redis;
use crate::broker::Broker;
use crate::rig::{Rig, post, succeeded, task};

/// Posts `count` tasks to each queue and finishes them one at a time, with room for one. Returns
/// the queues in the order served.
async fn served(queues: &[&str], order: QueueOrder, count: usize) -> String {
    let mut broker = Redis::start().await;
    for queue in queues {
        let tasks: Vec<_> = (0..count).map(|n| task(&format!("{queue}{n}"))).collect();
        post(&mut broker, queue, &tasks).await;
    }
    let mut options = broker.options();
    options.queues = queues.iter().map(|queue| (*queue).to_owned()).collect();
    options.queue_order = order;
    options.held = 1;
    let mut rig = Rig::start(options);
    let mut served = String::new();
    for _ in 0..queues.len() * count {
        let delivery = rig.next().await;
        served.push_str(&delivery.queue);
        rig.settler.finish(delivery, succeeded("5"));
    }
    served
}

#[tokio::test]
async fn queues_take_turns_although_all_are_full() {
    let served = served(&["a", "b"], QueueOrder::RoundRobin, 15).await;
    assert_eq!(served, "ab".repeat(15));
}

#[tokio::test]
async fn a_queue_that_comes_first_lets_the_others_through_now_and_then() {
    let served = served(&["b", "a"], QueueOrder::Priority, 20).await;
    assert_eq!(&served[..20], "bbbbbbbbbabbbbbbbbba");
}

#[tokio::test]
async fn weights_are_shares_of_the_work() {
    let weights = [("a".to_owned(), 3)].into();
    let served = served(&["a", "b"], QueueOrder::Weighted(weights), 12).await;
    assert_eq!(&served[..12], "aabaaabaaaba");
}
