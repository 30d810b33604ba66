//! Sending the plan of a canvas: its chords begin before its messages are posted.

use std::cell::Cell;
use std::sync::Arc;

use celery_client::redis::blocking::Publish;
use celery_protocol::canvas::{Caller, Options, Plan, Signature, json as shared};
use celery_protocol::message::{EncodeError, EncodeOptions, Task};
use celery_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{at_leisure, calls, cli, client, queued, redis};

/// A caller with predictable ids.
#[derive(Default)]
struct Ids(Cell<u32>);

impl Caller for Ids {
    fn new_id(&self) -> String {
        self.0.set(self.0.get() + 1);
        format!("id-{}", self.0.get())
    }

    fn reply_to(&self) -> &'static str {
        "reply"
    }

    fn has_results(&self) -> bool {
        true
    }

    fn queue_of(&self, _: &str) -> Arc<str> {
        "q".into()
    }

    fn encode(&self, task: &Task, queue: &str) -> Result<Vec<u8>, EncodeError> {
        task.encode_redis(&EncodeOptions::new(queue, &self.new_id()))
    }
}

/// Plans a group of chords whose headers have these numbers of tasks.
fn plan(headers: &[usize]) -> Plan {
    let chord = |size: &usize| {
        let header = vec![json!({"task": "member"}); *size];
        let body = json!({"task": "body"});
        json!({"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": header, "body": body}})
    };
    let tasks: Vec<Value> = headers.iter().map(chord).collect();
    let group =
        json!({"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": tasks}});
    let group = Signature::read(&shared(&group).unwrap()).unwrap();
    let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
    Plan::new(
        &Ids::default(),
        group,
        (&[], None, Options::default()),
        now,
        1 << 20,
    )
    .unwrap()
}

#[test]
fn chords_begin_in_one_round_trip_and_can_begin_again() {
    for headers in [&[2][..], &[1, 3], &[5, 5, 5], &[1; 40]] {
        let redis = redis();
        let plan = plan(headers);
        assert_eq!(plan.chords.len(), headers.len());
        let mut client = client(&redis);
        for chord in &plan.chords {
            // The end of an earlier run of the same chord.
            let claim = format!("celery-taskset-meta-{}.c", chord.group);
            cli(&redis, &["SET", &claim, "done"]);
        }
        for _ in 0..2 {
            at_leisure(|wait| client.begin_chords(&plan.chords, wait)).unwrap();
        }
        for (chord, size) in plan.chords.iter().zip(headers) {
            let key = |part: &str| format!("celery-taskset-meta-{}{part}", chord.group);
            assert_eq!(cli(&redis, &["GET", &key(".s")]), size.to_string());
            assert_eq!(cli(&redis, &["EXISTS", &key(".c")]), "0");
            assert_eq!(cli(&redis, &["EXISTS", &key("")]), "0");
            let lives: u32 = cli(&redis, &["TTL", &key(".s")]).parse().unwrap();
            assert!((86_000..=86_400).contains(&lives), "{lives}");
        }
        // Only the first call sends the script itself.
        assert_eq!(calls(&redis, "eval"), 1);
        let posts = &plan.messages;
        let outcomes = at_leisure(|wait| client.publish_batch(posts, Publish::Confirmed, wait));
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(outcomes.len(), headers.iter().sum::<usize>());
        assert_eq!(queued(&redis, "q").len(), outcomes.len());
        assert_eq!(calls(&redis, "lpush"), 1);
    }
}

#[test]
fn a_chord_of_groups_keeps_the_shape_of_its_results() {
    let redis = redis();
    let member = json!({"task": "member"});
    let group = json!({"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [member, member]}});
    let chain = json!({"task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": [member, group]}});
    let chord = json!({"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": [chain], "body": member}});
    let chord = Signature::read(&shared(&chord).unwrap()).unwrap();
    let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
    let given = (&[][..], None, Options::default());
    let plan = Plan::new(&Ids::default(), chord, given, now, 1 << 20).unwrap();
    at_leisure(|wait| client(&redis).begin_chords(&plan.chords, wait)).unwrap();
    let key = format!("celery-taskset-meta-{}", plan.chords[0].group);
    let saved: Value = serde_json::from_str(&cli(&redis, &["GET", &key])).unwrap();
    assert_eq!(saved["result"][0][0], json!(plan.chords[0].group));
    assert_eq!(saved["result"][1][0][1].as_array().unwrap().len(), 2);
}

#[test]
fn chords_do_not_begin_where_they_cannot() {
    let redis = redis();
    let plan = plan(&[1]);
    let none = at_leisure(|wait| client(&redis).begin_chords(&[], wait));
    assert!(none.is_ok());
    assert_eq!(calls(&redis, "evalsha"), 0);
    cli(&redis, &["ACL", "SETUSER", "default", "-eval", "-evalsha"]);
    let refused = at_leisure(|wait| client(&redis).begin_chords(&plan.chords, wait));
    assert!(refused.unwrap_err().to_string().contains("NOPERM"));
}
