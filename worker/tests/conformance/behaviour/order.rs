//! The order of messages with the same priority.

use crate::broker::Broker;
use crate::rig::{Rig, post, task};

pub async fn messages_of_one_priority_keep_their_order<B: Broker>() {
    let mut broker = B::start().await;
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let mut task = task(&format!("{n:02}"));
            task.properties.priority = Some(B::LAST_PRIORITY);
            task
        })
        .collect();
    post(&mut broker, "celery", &tasks).await;
    let mut rig = Rig::start(broker.options());
    let wanted: Vec<_> = (0..20).map(|n| format!("{n:02}")).collect();
    assert_eq!(rig.finish(20).await, wanted);
    broker.until_clean().await;
}
