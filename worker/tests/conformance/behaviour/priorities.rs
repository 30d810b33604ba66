//! The order of the messages of a queue.

use std::time::Duration;

use celery_protocol::message::Task;
use celery_worker::Phase;
use celery_worker::consumer::Left;
use celery_worker::delivery::Outcome;

use crate::broker::Broker;
use crate::rig::{DEADLINE, Rig, post, rejected, task};

/// Returns a task that comes last and one that comes first, posted in this order.
fn pair<B: Broker>() -> [Task; 2] {
    [("patient", B::LAST_PRIORITY), ("urgent", B::FIRST_PRIORITY)].map(|(id, priority)| {
        let mut task = task(id);
        task.properties.priority = Some(priority);
        task
    })
}

pub async fn urgent_messages_come_first<B: Broker>() {
    let mut broker = B::start().await;
    post(&mut broker, "celery", &pair::<B>()).await;
    let mut options = broker.options();
    options.held = 1;
    let mut rig = Rig::start(options);
    assert_eq!(rig.finish(2).await, ["urgent", "patient"]);
    broker.until_clean().await;
}

pub async fn a_message_that_goes_back_keeps_its_priority<B: Broker>() {
    keeps_its_priority::<B>(|| Outcome::NotStarted).await;
    keeps_its_priority::<B>(|| Outcome::Interrupted).await;
    keeps_its_priority::<B>(|| rejected(true)).await;
}

pub async fn a_retry_keeps_its_priority<B: Broker>() {
    keeps_its_priority::<B>(|| Outcome::Retry {
        countdown: Duration::ZERO,
        reason: None,
        max_retries: None,
        arguments: None,
    })
    .await;
}

/// Asserts that a message keeps its priority when it goes back. A worker that stops reports this
/// outcome for the first message of a pair; then the other message is posted.
async fn keeps_its_priority<B: Broker>(outcome: impl Fn() -> Outcome) {
    for first in [0, 1] {
        let mut broker = B::start().await;
        let mut other = Vec::from(pair::<B>());
        post(&mut broker, "celery", &[other.remove(first)]).await;
        let mut rig = Rig::start(broker.options());
        let delivery = rig.next().await;
        rig.shutdown.advance(Phase::Warm);
        rig.settler.finish(delivery, outcome());
        assert_eq!(rig.consumer.close(DEADLINE).await, Left::default());
        broker.until_depth("celery", 1, 0).await;
        post(&mut broker, "celery", &other).await;
        let mut options = broker.options();
        options.held = 1;
        let mut rig = Rig::start(options);
        assert_eq!(rig.finish(2).await, ["urgent", "patient"]);
        broker.until_clean().await;
    }
}
