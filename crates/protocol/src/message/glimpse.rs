//! What can be told of a message that is not the JSON it should be.
//!
//! Whoever waits for the task is to hear of the failure, and the message's id often stands in front of what is broken
//! or beside it. Nothing is read here but the text up to the first thing that is no JSON at all.

use std::ops::Range;

use super::DecodeError;
use crate::json::{Members, normalise};
use crate::keys;

/// Adds the id, the task's name and the delivery tag to the error of a message, as far as they can be found.
pub(super) fn add_to(error: DecodeError, raw: &[u8]) -> DecodeError {
    let headers = member(raw, "headers");
    let properties = member(raw, "properties");
    DecodeError {
        id: text(headers, "id").filter(|id| keys::check_task_id(id).is_ok()),
        task: text(headers, "task").filter(|name| keys::check_task_name(name).is_ok()),
        delivery_tag: text(properties, "delivery_tag").filter(|tag| !tag.is_empty()),
        ..error
    }
}

/// The text of a member; of the last one in front of the fault.
fn member<'a>(object: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let mut members = Members::new(object).ok()?;
    let mut found: Option<Range<usize>> = None;
    while let Ok(Some((name, place))) = members.next() {
        if *name == *wanted.as_bytes() {
            found = Some(place);
        }
    }
    object.get(found?)
}

fn text(object: Option<&[u8]>, name: &str) -> Option<String> {
    let lossy = String::from_utf8_lossy(member(object?, name)?).into_owned();
    let strict = normalise(lossy.as_bytes()).ok()?;
    serde_json::from_str(&strict).ok()
}
