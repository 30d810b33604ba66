//! Works out what follows a task. After a success: callbacks, the next step of its chain and the
//! count in its chord. After a failure: error callbacks, and the failure of the tasks that will not
//! be run.
//!
//! The messages are steps of the settlement, so that they are published exactly when the task is
//! acknowledged. The rules are those of `celery/canvas.py` and `celery/backends/base.py` of 5.7,
//! including which task is the parent of which.
//!
//! A follow-up that cannot be published goes to the dead letters with the cause `follow-up`:
//! nothing is dropped in silence. Examples are a signature that cannot be read, a chord without a
//! result backend, and more than [`MOST`] bytes.
//!
//! * `call` – calls signatures, as `celery_protocol::canvas` does it.
//! * `fail` – fails the tasks that will not be run.
//! * `send` – plans the calls that a running task makes.
//! * `join` – calls or fails the body of a chord.
//! * `follow_up` – the messages that are published.

mod call;
mod fail;
mod follow_up;
mod join;
mod laravel;
mod send;

use std::sync::Arc;

use celery_protocol::canvas::{Load, list};
use celery_protocol::message::Task;
use celery_protocol::result::{ExceptionDoc, State};
use celery_protocol::time::Timestamp;
use serde_json::value::RawValue;

use self::call::{Follow, not_published};
use self::fail::{Failing, Raised};
pub(crate) use self::follow_up::{FollowUps, MOST};
pub(crate) use self::join::{after_chord, not_counted};
use super::rules::{NO_CHORDS, Rules};
use crate::broker::{Part, ResultStep, Step};
use crate::delivery::Sent;

/// Returns what follows a success: callbacks and the next step of the chain, with the result as
/// their first argument; then the count in the chord.
pub(crate) fn after_success(
    rules: &Rules,
    task: &Arc<Task>,
    result: &RawValue,
    sent: Sent,
    now: Timestamp,
) -> FollowUps {
    let embed = &task.embed;
    let Sent {
        children, added, ..
    } = sent;
    if embed.callbacks.is_none() && embed.chain.is_none() && embed.chord.is_none() {
        let steps = Vec::new();
        return FollowUps { steps, children };
    }
    let mut calling = Follow::new(rules, task, now, Load::new(rules.most));
    calling.ups.children = children;
    let given = result.to_owned().into();
    if let Some(callbacks) = &embed.callbacks {
        calling.callbacks(&list(callbacks), &given);
    }
    if let Some(chain) = &embed.chain
        && let Some((next, rest)) = list(chain).split_last()
    {
        calling.next(next, rest, &given);
    }
    let mut follow = calling.ups;
    let children = follow.children.clone();
    let counted = own_part(task, State::Success, result.to_owned(), children, added);
    follow.steps.extend(count_own(rules, counted));
    follow
}

/// Returns what follows a failure: the count in the chord, the failure of each remaining step of
/// the chain, and error callbacks with the id of the failed task.
pub(crate) fn after_failure(
    rules: &Rules,
    task: &Arc<Task>,
    (exception, traceback): (&ExceptionDoc, Option<&str>),
    sent: &Sent,
    now: Timestamp,
) -> Vec<Step> {
    let embed = &task.embed;
    if embed.errbacks.is_none() && embed.chain.is_none() && embed.chord.is_none() {
        return Vec::new();
    }
    let mut failing = Failing::new(rules, task, now, sent.children.clone());
    let result = exception.to_json();
    let own = own_part(
        task,
        State::Failure,
        result,
        sent.children.clone(),
        sent.added,
    );
    failing.steps.extend(count_own(rules, own));
    let raised = Raised {
        exception,
        traceback,
    };
    if let Some(chain) = &embed.chain {
        failing.chain(&list(chain), raised);
    }
    if let Some(errbacks) = &embed.errbacks {
        failing.errbacks(&list(errbacks), &task.id, task.root());
    }
    failing.steps
}

/// Returns the count in the chord for a task that was revoked.
pub(crate) fn after_revoke(
    rules: &Rules,
    task: &Arc<Task>,
    exception: &ExceptionDoc,
    sent: &Sent,
) -> Option<Step> {
    let (result, children) = (exception.to_json(), sent.children.clone());
    let own = own_part(task, State::Revoked, result, children, sent.added);
    count_own(rules, own)
}

/// Returns the step that adds members to the chord of a task that goes on.
pub(crate) fn added(rules: &Rules, task: &Arc<Task>, sent: &Sent) -> Vec<Step> {
    if sent.added == 0 {
        return Vec::new();
    }
    let null = RawValue::NULL.to_owned();
    let own = own_part(task, State::Retry, null, Vec::new(), sent.added);
    let own = own.map(|part| Part {
        has_ended: false,
        ..part
    });
    count_own(rules, own).into_iter().collect()
}

/// Returns a task as a member of its chord, if it is a member of one.
fn own_part(
    task: &Arc<Task>,
    state: State,
    result: Box<RawValue>,
    children: Vec<Box<RawValue>>,
    added: usize,
) -> Option<Part> {
    let body = task.embed.chord.as_deref()?;
    Some(Part {
        group: task.group.clone().unwrap_or_default(),
        index: task.group_index,
        id: task.id.clone(),
        state,
        result,
        body: body.to_owned(),
        task: Arc::clone(task),
        children,
        added,
        has_ended: true,
    })
}

/// Returns the step that counts a member of a chord.
fn count_own(rules: &Rules, part: Option<Part>) -> Option<Step> {
    let part = part?;
    if rules.keeps_results() && part.task.group.is_some() {
        return Some(Step::Result(ResultStep::Count(Box::new(part))));
    }
    let why = if rules.replies {
        NO_CHORDS
    } else {
        "a chord needs a group and a result backend"
    };
    Some(not_published(rules, &part.task, &part.body, why))
}

#[cfg(test)]
mod testing {
    use std::sync::Arc;

    use super::{Rules, Task};
    use crate::delivery::TaskNames;

    /// The limit of [`rules`].
    pub(super) const MIB: usize = 1 << 20;

    struct Names;

    impl TaskNames for Names {
        fn knows(&self, _: &str) -> bool {
            true
        }
    }

    /// Returns the rules of a worker that knows every task.
    pub(super) fn rules() -> Rules {
        Rules {
            results: true,
            replies: false,
            extended: false,
            form: celery_protocol::result::StoredForm::default(),
            inherit_priority: false,
            deduplicates: false,
            default_priority: None,
            default_queue: "celery".into(),
            routes: crate::consumer::Routes::default(),
            origin: "celery@test".into(),
            reply_to: "r".into(),
            most: MIB,
            names: Arc::new(Names),
            encode: Task::encode_redis,
            decode_sent: None,
            errbacks_on_headers: false,
            traces: crate::trace::Traces::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::testing::{MIB, rules};
    use super::*;
    use crate::delivery::{Caller, Manner};
    use crate::task::testing;

    fn task(change: impl FnOnce(&mut Task)) -> Arc<Task> {
        let mut task = testing::task("proj.add", "[]");
        change(&mut task);
        Arc::new(task)
    }

    fn raw(value: &serde_json::Value) -> Box<RawValue> {
        to_raw_value(value).unwrap()
    }

    /// Counts the messages and the dead letters.
    fn counts(steps: &[Step]) -> (usize, usize) {
        let letters = steps.iter().filter(|step| matches!(step, Step::Note(..)));
        let letters = letters.count();
        let chords = steps
            .iter()
            .filter(|step| matches!(step, Step::Result(ResultStep::Chord(_))));
        (steps.len() - letters - chords.count(), letters)
    }

    /// Returns the priorities of the messages.
    fn priorities(steps: &[Step]) -> Vec<u8> {
        let sent = steps.iter().filter_map(|step| match step {
            Step::Publish(sent) => Some(sent.priority),
            _ => None,
        });
        sent.collect()
    }

    #[test]
    fn the_follow_ups_of_a_task_have_a_limit() {
        let signature = json!({ "task": "proj.echo" });
        let members = |count: usize| vec![signature.clone(); count];
        let group = |count: usize| json!({ "task": "celery.group", "subtask_type": "group", "kwargs": { "tasks": members(count) } });
        let body = json!({ "task": "proj.xsum", "args": ["x".repeat(MIB / 64)] });
        let chord = json!({
            "task": "celery.chord", "subtask_type": "chord",
            "kwargs": { "header": members(100), "body": body },
        });
        let some = raw(&json!("x".repeat(MIB / 64)));
        let much = raw(&json!("x".repeat(MIB)));
        for (callbacks, result, expected) in [
            (json!([group(20)]), &some, (20, 0)),
            // A group is published whole or not at all; the callback beside it is published.
            (json!([group(100), signature.clone()]), &some, (1, 1)),
            (json!([chord, signature.clone()]), &some, (1, 1)),
            // One message may be larger.
            (json!([signature.clone()]), &much, (1, 0)),
            (json!([signature.clone(), signature.clone()]), &much, (1, 1)),
        ] {
            let task = task(|task| task.embed.callbacks = Some(raw(&callbacks)));
            let follow = after_success(
                &rules(),
                &task,
                result,
                Sent::default(),
                crate::clock::now(),
            );
            assert_eq!(counts(&follow.steps), expected);
        }
    }

    #[test]
    fn follow_ups_inherit_the_priority_only_where_the_setting_says_so() {
        let low = json!({ "task": "proj.echo", "options": { "priority": 3 } });
        let pair = json!([low, { "task": "proj.echo" }]);
        // What Celery 5.7 sends. Without a priority of the task, each signature keeps its own.
        for (inherits, of_task, expected) in [
            (false, Some(7), [3, 0]),
            (true, Some(7), [7, 7]),
            (true, Some(0), [0, 0]),
            (true, None, [3, 0]),
        ] {
            let rules = Rules {
                inherit_priority: inherits,
                ..rules()
            };
            for chained in [false, true] {
                let task = task(|task| {
                    task.properties.priority = of_task;
                    let follow = Some(raw(&if chained { json!([low]) } else { pair.clone() }));
                    if chained {
                        task.embed.chain = follow;
                    } else {
                        task.embed.callbacks = follow;
                    }
                });
                let follow = after_success(
                    &rules,
                    &task,
                    &raw(&json!(1)),
                    Sent::default(),
                    crate::clock::now(),
                );
                let sent = priorities(&follow.steps);
                let expected = &expected[..if chained { 1 } else { 2 }];
                assert_eq!(sent, expected, "{inherits} {of_task:?}");
            }
        }
    }

    #[test]
    fn the_default_priority_counts_where_no_other_is_named() {
        let plain = json!({ "task": "proj.echo" });
        let low = json!({ "task": "proj.echo", "options": { "priority": 3 } });
        let hidden = json!({ "task": "proj.echo", "options": { "priority": null } });
        let callbacks = json!([plain, low, hidden]);
        // What Celery 5.7 sends for tasks that the calling worker has registered.
        for (inherits, expected) in [(false, [5, 3, 0]), (true, [7, 7, 7])] {
            let rules = Rules {
                inherit_priority: inherits,
                default_priority: Some(5),
                ..rules()
            };
            let task = task(|task| {
                task.properties.priority = Some(7);
                task.embed.callbacks = Some(raw(&callbacks));
            });
            let (one, now) = (raw(&json!(1)), crate::clock::now());
            let follow = after_success(&rules, &task, &one, Sent::default(), now);
            assert_eq!(priorities(&follow.steps), expected, "{inherits}");
            // A task that calls another one: the default goes before the inherited priority.
            let call = crate::canvas::Signature::new("proj.echo");
            let call = call.into_inner().unwrap();
            let planned = rules.plan_call(&task, call, Manner::Send, 0).unwrap();
            assert_eq!(priorities(&planned.sent.steps), [5]);
        }
    }

    #[test]
    fn composites_without_members_do_not_multiply_the_result() {
        let some = raw(&json!("x".repeat(MIB / 4)));
        let of = |kind: &str, tasks: serde_json::Value| json!({ "task": format!("celery.{kind}"), "subtask_type": kind, "kwargs": { "tasks": tasks } });
        let chord = json!({
            "task": "celery.chord", "subtask_type": "chord",
            "kwargs": { "header": [of("group", json!([]))], "body": of("group", json!([])) },
        });
        let chain = of("chain", json!([of("group", json!([]))]));
        // A group in a group counts as its members; nothing is copied for the inner group.
        for (empty, refused) in [(of("group", json!([])), 0), (chain, 1), (chord, 1)] {
            let few = json!([of("group", json!(vec![&empty; 10])), { "task": "proj.echo" }]);
            let many = json!([of("group", json!(vec![&empty; 1_000])), { "task": "proj.echo" }]);
            for (callbacks, expected) in [(few, (1, 0)), (many, (1, refused))] {
                let task = task(|task| task.embed.callbacks = Some(raw(&callbacks)));
                let follow =
                    after_success(&rules(), &task, &some, Sent::default(), crate::clock::now());
                assert_eq!(counts(&follow.steps), expected, "{empty}");
            }
        }
    }

    #[test]
    fn a_stamp_that_is_named_very_often_is_read_once() {
        let names = vec!["s"; 100_000];
        let signature = json!({
            "task": "proj.echo",
            "options": { "stamped_headers": names, "s": "x".repeat(MIB / 4) },
        });
        let task = task(|task| task.embed.callbacks = Some(raw(&json!([signature]))));
        let result = raw(&json!(1));
        let follow = after_success(
            &rules(),
            &task,
            &result,
            Sent::default(),
            crate::clock::now(),
        );
        assert_eq!(counts(&follow.steps), (1, 0));
    }

    #[test]
    fn the_tasks_that_fail_with_a_task_have_a_limit() {
        let step =
            |id: usize| json!({ "task": "proj.echo", "options": { "task_id": id.to_string() } });
        let steps: Vec<_> = (0..1_000).map(step).collect();
        let task = task(|task| task.embed.chain = Some(raw(&json!(steps))));
        let exception = ExceptionDoc::new("ValueError", "x".repeat(MIB / 64), None);
        let steps = after_failure(
            &rules(),
            &task,
            (&exception, None),
            &Sent::default(),
            crate::clock::now(),
        );
        let (results, letters) = counts(&steps);
        assert!((50..=64).contains(&results), "{results}");
        assert_eq!(letters, 1);
    }
}
