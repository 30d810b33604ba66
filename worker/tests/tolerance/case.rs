//! A message that is not as Celery writes it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// A message in which one member is changed or missing.
pub struct Case {
    /// `1` and `2` are Celery's protocols. `3` is the mixture: the headers of 2, the body of 1.
    protocol: u8,
    /// The member's path.
    path: String,
    /// The value of the member; `None` removes the member.
    value: Option<Value>,
    /// The value as text, as the line has it.
    shown: String,
    /// Why the answer here differs from Python's.
    pub why: String,
}

impl Case {
    /// Reads a line of `cases.txt`.
    pub fn parse(line: &str) -> Case {
        let (line, why) = line.split_once(" # ").unwrap_or((line, ""));
        let mut words = line.splitn(3, ' ');
        let (protocol, path, shown) = (words.next(), words.next(), words.next());
        let shown = shown.unwrap_or_else(|| panic!("{line}"));
        Case {
            protocol: protocol.unwrap().parse().unwrap(),
            path: path.unwrap().to_owned(),
            value: (shown != "-").then(|| serde_json::from_str(shown).unwrap()),
            shown: shown.to_owned(),
            why: why.to_owned(),
        }
    }

    /// Returns the message for a queue.
    pub fn message(&self, id: &str, queue: &str) -> String {
        let headers = json!({
            "lang": "py", "task": "proj.echo", "id": id, "shadow": null, "eta": null, "expires": null,
            "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": id,
            "parent_id": null, "argsrepr": "()", "kwargsrepr": "{}", "origin": "test",
            "ignore_result": false, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {},
        });
        let old = json!({
            "task": "proj.echo", "id": id, "args": [], "kwargs": {}, "group": null, "retries": 0,
            "eta": null, "expires": null, "utc": true, "callbacks": null, "errbacks": null,
            "timelimit": [null, null], "taskset": null, "chord": null,
        });
        let mut envelope = json!({
            "body": "", "content-encoding": "utf-8", "content-type": "application/json",
            "headers": if self.protocol == 1 { json!({}) } else { headers },
            "properties": {
                "correlation_id": id, "reply_to": "r", "delivery_mode": 2,
                "delivery_info": { "exchange": "", "routing_key": queue },
                "priority": 0, "body_encoding": "base64", "delivery_tag": format!("tag-{id}"),
            },
        });
        let mut body =
            json!([[], {}, { "callbacks": null, "errbacks": null, "chain": null, "chord": null }]);
        if self.protocol != 2 {
            body = old;
        }
        let path: Vec<&str> = self.path.split('.').collect();
        match (self.protocol, path.as_slice()) {
            (_, ["body"]) => {}
            (
                _,
                [
                    "headers" | "properties" | "content-type" | "content-encoding",
                    ..,
                ],
            ) => {
                self.set(&mut envelope, &path);
            }
            (2, ["args"]) => body[0] = self.value.clone().unwrap(),
            (2, ["kwargs"]) => body[1] = self.value.clone().unwrap(),
            (2, ["embed"]) => body[2] = self.value.clone().unwrap(),
            (2, ["embed", rest @ ..]) => self.set(&mut body[2], rest),
            (_, path) => self.set(&mut body, path),
        }
        envelope["body"] = STANDARD.encode(body.to_string()).into();
        if self.path == "body" {
            self.set(&mut envelope, &path);
        }
        envelope.to_string()
    }

    fn set(&self, object: &mut Value, path: &[&str]) {
        let (last, way) = path.split_last().unwrap();
        let object = way.iter().fold(object, |object, name| &mut object[*name]);
        let members: &mut Map<String, Value> = object.as_object_mut().unwrap();
        match &self.value {
            Some(value) => members.insert((*last).to_owned(), value.clone()),
            None => members.remove(*last),
        };
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            3 => "1 with the headers of 2".to_owned(),
            protocol => protocol.to_string(),
        };
        write!(f, "{protocol}: `{}` ", self.path)?;
        match self.value {
            Some(_) => write!(f, "is `{}`", self.shown),
            None => f.write_str("is missing"),
        }
    }
}
