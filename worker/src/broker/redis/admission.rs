//! Asks Redis whether calls of limited tasks may begin.
//!
//! A place belongs to a held message: [`ADMIT`](scripts::ADMIT) counts the tags that are in the
//! index of the held messages. So a place is free in the same step in which its message is settled,
//! given back or restored, whichever worker or version does that.

use std::time::Duration;

use celery_client::aio::{Cmd, Pipeline, Value, scripts};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::session::Session;
use crate::broker::admission::{Admission, Answer, Ask, Place};

/// How many seconds a set of places is kept after its last change: a week. Workers renew the sets
/// of running tasks much more often, so only what dead workers have left expires.
const KEPT: u64 = 604_800;

impl Session {
    fn admit_call(&self, calls: &[Ask]) -> Cmd {
        let (layout, mut keys) = (&*self.layout, vec![self.layout.index.clone()]);
        let mut arguments = Vec::with_capacity(5 * calls.len());
        for ask in calls {
            let (task, key) = (&*ask.group.task, ask.group.key.as_deref());
            // Lua counts from 1. The place 0 stands for no limit.
            let mut place = |key: Option<String>| match key {
                Some(key) => {
                    keys.push(key);
                    keys.len()
                }
                None => 0,
            };
            let places = place(ask.most.map(|_| layout.keys.places(task, key)));
            let rate = place(ask.interval.map(|_| layout.keys.rate(task, key)));
            let micros = ask.interval.unwrap_or_default().as_micros();
            arguments.push(layout.tag(ask.tag));
            arguments.push(places.to_string());
            arguments.push(ask.most.unwrap_or_default().to_string());
            arguments.push(rate.to_string());
            arguments.push(micros.to_string());
        }
        let count = keys.len() + 1 + arguments.len();
        let mut call = scripts::call(&scripts::ADMIT, keys.len(), count, 80 * count);
        call.arg(&keys).arg(KEPT).arg(&arguments);
        call
    }

    /// Sends commands whose answers do not matter.
    async fn try_once(&mut self, commands: &Pipeline) {
        match self.link.connection().await.pipeline(commands).await {
            Ok(_) => self.link.worked(),
            Err(refused) if refused.is_lasting() => self.link.worked(),
            Err(failure) => self.link.failed(&failure),
        }
    }
}

impl Admission for Session {
    fn ask<'a>(&'a mut self, calls: &'a [Ask]) -> BoxFuture<'a, Vec<Answer>> {
        async move {
            let call = self.admit_call(calls);
            let read = |value| answers(value, calls.len());
            self.insist(&scripts::ADMIT, &call, read, "admit").await
        }
        .boxed()
    }

    fn tend<'a>(&'a mut self, ended: &'a [Place], held: &'a [Place]) -> BoxFuture<'a, ()> {
        async move {
            let layout = &self.layout;
            let mut commands = Pipeline::new();
            for (tag, group) in ended {
                let key = layout.keys.places(&group.task, group.key.as_deref());
                commands.cmd("ZREM").arg(key).arg(layout.tag(*tag));
            }
            for (_, group) in held {
                let key = layout.keys.places(&group.task, group.key.as_deref());
                commands.cmd("EXPIRE").arg(key).arg(KEPT);
            }
            self.try_once(&commands).await;
        }
        .boxed()
    }
}

/// Reads the answers of the script.
fn answers(value: Value, count: usize) -> Option<Vec<Answer>> {
    let Value::Array(items) = value else {
        return None;
    };
    let answer = |item: &Value| match item {
        Value::Int(0) => Some(Answer::Begins),
        Value::Int(-1) => Some(Answer::Full),
        Value::Int(-2) => Some(Answer::Lost),
        Value::Int(micros) => Some(Answer::Early(Duration::from_micros(
            u64::try_from(*micros).ok()?,
        ))),
        _ => None,
    };
    let answers: Option<Vec<Answer>> = items.iter().map(answer).collect();
    answers.filter(|answers| answers.len() == count)
}
