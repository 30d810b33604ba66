//! Chords among the tasks of a world.

use std::time::Instant;

use celery_protocol::message::{EncodeOptions, Task};
use celery_protocol::redis_keys::{ChordPart, Keys};
use serde_json::value::RawValue;

use super::{Kind, World};

impl World {
    /// Sends chords whose headers have `size` members of this kind. Their bodies are of
    /// [`Kind::Effect`].
    pub fn post_chords(&mut self, kind: Kind, count: u32, size: u32) {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        if self.open.is_empty() {
            self.progress = Instant::now();
        }
        for _ in 0..count {
            let (body, number) = self.next_id(Kind::Effect);
            let (name, args) = Kind::Effect.name_and_args(number);
            let queue = Kind::Effect.queue();
            let signature = raw(&format!(
                r#"{{"task":"{name}","args":{args},"kwargs":{{}},
                "options":{{"task_id":"{body}","queue":"{queue}"}},
                "subtask_type":null,"immutable":true}}"#
            ));
            let group = format!("group-{body}");
            let begin = "redis.call('SELECT', ARGV[1]) redis.call('SET', KEYS[1], ARGV[2])";
            let mut command = redis::cmd("EVAL");
            command.arg(begin).arg(1);
            command.arg(Keys::new(self.prefix).chord(&group, ChordPart::Size));
            command.arg(self.results_db).arg(size);
            let () = self.try_ask(&command).unwrap();
            let mut push = redis::cmd("LPUSH");
            push.arg(Keys::new(self.prefix).queue(kind.queue(), 0));
            let mut members = Vec::new();
            for index in 0..size {
                let (id, number) = self.next_id(kind);
                let (name, args) = kind.name_and_args(number);
                let mut member = Task::new(&id, name, raw(&args), raw("{}"));
                member.group = Some(group.clone());
                member.group_index = Some(index.into());
                member.embed.chord = Some(signature.clone());
                let tag = format!("tag-{id}");
                let options = EncodeOptions::new(kind.queue(), &tag);
                push.arg(member.encode_redis(&options).unwrap());
                members.push(id);
            }
            self.sends(Kind::Effect, std::slice::from_ref(&body));
            self.sends(kind, &members);
            self.bodies.insert(body, members);
            let _length: u64 = self.try_ask(&push).unwrap();
        }
    }

    /// Returns the keys of chords that have not ended, and the claims on bodies that were not
    /// called.
    pub fn open_chords(&mut self) -> Vec<String> {
        let script = "redis.call('SELECT', ARGV[1]) local open = {} \
            for _, key in ipairs(redis.call('KEYS', '*group-*')) do \
            if redis.call('TYPE', key).ok ~= 'string' or redis.call('GET', key) ~= 'done' then \
            open[#open + 1] = key end end return open";
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(0).arg(self.results_db);
        self.try_ask(&command).unwrap()
    }
}
