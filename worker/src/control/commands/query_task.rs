//! `query_task`: where the tasks with these ids are. Unknown ids are absent.

use std::collections::{BTreeMap, HashSet};

use super::info::Shown;
use super::scheduled::for_each_waiting;
use crate::broker::control::ControlChannel;
use crate::control::answer::{Answer, Budget, answer};
use crate::control::arguments::Arguments;
use crate::control::node::Node;

pub(super) async fn run(
    node: &Node,
    arguments: Arguments<'_>,
    channel: &mut impl ControlChannel,
) -> Answer {
    arguments.required("ids")?;
    let ids: HashSet<&str> = arguments.texts("ids").into_iter().collect();
    let (held, name) = (node.view.in_hand(), &node.config.hostname);
    let (mut found, mut budget) = (BTreeMap::new(), Budget::default());
    for held in &held {
        if ids.contains(&*held.task.id) {
            let state = held.began.map_or("reserved", |_| "active");
            let shown = answer(&(state, Shown::of(held, name, budget.is_tight())))?;
            let shown = budget.spend(shown)?;
            found.insert(held.task.id.clone(), shown);
        }
    }
    if found.len() < ids.len() {
        for_each_waiting(node, channel, |task| {
            if ids.contains(&*task.id) && !found.contains_key(&task.id) {
                let shown = answer(&("scheduled", Shown::waiting(task, name, budget.is_tight())))?;
                let shown = budget.spend(shown)?;
                found.insert(task.id.clone(), shown);
            }
            Ok(())
        })
        .await?;
    }
    answer(&found)
}
