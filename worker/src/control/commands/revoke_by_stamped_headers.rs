//! `revoke_by_stamped_headers`: tasks that must not run because of a stamp, and running ones that
//! end. Kept like the ids of `revoke`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use celery_protocol::repr;
use serde_json::{Map, Value};

use super::revoke::number;
use crate::broker::control::{ControlChannel, Named};
use crate::broker::{stamp_text, stamps};
use crate::control::answer::{Answer, ok, quoted, raised};
use crate::control::arguments::Arguments;
use crate::control::node::Node;

/// The longest stamp that can be revoked.
const LONGEST: usize = 1_024;

pub(super) async fn run(
    node: &Node,
    arguments: Arguments<'_>,
    channel: &mut impl ControlChannel,
) -> Answer {
    let headers = headers(arguments.required("headers")?)?;
    let signal = number(arguments.get("signal"))?;
    let mut revoked = BTreeMap::new();
    for (header, values) in &headers {
        for value in each(values) {
            let text = stamp_text(header, value);
            if text.len() > LONGEST {
                let message = format!("a stamp has more than {LONGEST} bytes");
                return Err(raised("ValueError", &message));
            }
            revoked.insert(text, (header, value));
        }
    }
    node.view
        .revoked_stamps()
        .add(revoked.keys(), Instant::now());
    // Tasks end at once, however long the broker needs to answer.
    let ended = arguments
        .flag("terminate")
        .then(|| terminate(node, &revoked, signal));
    let names: Vec<&str> = revoked.keys().map(String::as_str).collect();
    channel.revoke(Named::Stamps, &names).await;
    let shown = repr::value(&Value::from(headers.clone()).to_string(), repr::MAX_CHARS);
    match ended {
        None => ok(&format!(
            "headers {shown} flagged as revoked, but not terminated"
        )),
        Some(ended) if ended.is_empty() => ok(&format!("headers {shown} were not terminated")),
        Some(ended) => ok(&format!("headers {} revoked", mapping(&ended))),
    }
}

/// Ends the running tasks with one of these stamps. Returns the stamps that were found, by header.
fn terminate<'a>(
    node: &Node,
    revoked: &BTreeMap<String, (&'a String, &'a Value)>,
    signal: i32,
) -> BTreeMap<&'a str, BTreeSet<String>> {
    let held = node.view.in_hand();
    let mut matched: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut ids = Vec::new();
    for task in held.iter().filter(|held| held.began.is_some()) {
        let found = stamps(&task.task).filter_map(|stamp| revoked.get(&stamp));
        for (header, value) in found {
            let value = repr::value(&value.to_string(), repr::MAX_CHARS);
            matched.entry(header).or_default().insert(value);
            ids.push(&*task.task.id);
        }
    }
    if !ids.is_empty() {
        node.view.terminate(&ids, signal);
    }
    matched
}

/// Returns the stamps by header. A list has texts such as `header=stamp`.
fn headers(given: &Value) -> Result<Map<String, Value>, String> {
    match given {
        Value::Object(headers) => Ok(headers.clone()),
        Value::Array(pairs) => {
            let pair = |pair: &Value| {
                let (header, stamp) = pair.as_str()?.split_once('=')?;
                Some((header.to_owned(), Value::from(stamp)))
            };
            let pairs: Option<Map<String, Value>> = pairs.iter().map(pair).collect();
            pairs.ok_or_else(|| raised("IndexError", "list index out of range"))
        }
        _ => Err(raised(
            "AttributeError",
            "headers must be a mapping or a list",
        )),
    }
}

/// Returns the values of a list, or a single value, as `maybe_list` does.
fn each(values: &Value) -> &[Value] {
    match values {
        Value::Array(values) => values,
        value => std::slice::from_ref(value),
    }
}

/// Returns the matched headers and their values, written as Python writes a dict of sets.
fn mapping(matched: &BTreeMap<&str, BTreeSet<String>>) -> String {
    let members = matched.iter().map(|(header, values)| {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        format!("{}: {{{}}}", quoted(header), values.join(", "))
    });
    let members: Vec<String> = members.collect();
    format!("defaultdict(<class 'set'>, {{{}}})", members.join(", "))
}
