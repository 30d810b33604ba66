//! Finds what can be reported of a message that is not valid JSON.
//!
//! The caller that waits for the task must learn of the failure, and the message's id is often
//! readable before or beside the broken part. The search reads the text up to the first byte that
//! cannot be JSON.

use std::ops::Range;

use super::DecodeError;
use crate::json::{Members, normalise};
use crate::names;

/// Adds the id, the task's name and the delivery tag to an error, as far as they can be found.
pub(super) fn add_to(error: DecodeError, raw: &[u8]) -> DecodeError {
    let headers = member(raw, "headers");
    let properties = member(raw, "properties");
    DecodeError {
        id: text(headers, "id").filter(|id| names::check_task_id(id).is_ok()),
        task: text(headers, "task").filter(|name| names::check_task_name(name).is_ok()),
        delivery_tag: text(properties, "delivery_tag").filter(|tag| !tag.is_empty()),
        ..error
    }
}

/// Returns the text of a member; the last one before the broken part.
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
