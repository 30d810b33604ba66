//! Signatures as JSON: what is understood of them, and how they are changed.

use celery_protocol::fields::Fields;
use celery_protocol::message::Task;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

/// Signatures inside each other beyond this depth are not followed: nobody writes them.
pub(super) const DEPTH: usize = 64;

/// A signature, as far as it is understood here. Members that are not are ignored, as Celery does.
#[derive(Debug, Deserialize)]
pub(super) struct Signature<'a> {
    pub(super) task: String,
    #[serde(borrow, default)]
    pub(super) args: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) kwargs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) options: Options<'a>,
    #[serde(default)]
    pub(super) subtask_type: Option<String>,
    #[serde(default)]
    pub(super) immutable: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Options<'a> {
    pub(super) task_id: Option<String>,
    pub(super) queue: Option<String>,
    pub(super) routing_key: Option<String>,
    pub(super) priority: Option<u8>,
    pub(super) countdown: Option<f64>,
    #[serde(borrow)]
    pub(super) eta: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) expires: Option<&'a RawValue>,
    pub(super) reply_to: Option<String>,
    pub(super) root_id: Option<String>,
    pub(super) group_id: Option<String>,
    pub(super) group_index: Option<i64>,
    pub(super) time_limit: Option<f64>,
    pub(super) soft_time_limit: Option<f64>,
    pub(super) ignore_result: Option<bool>,
    pub(super) shadow: Option<String>,
    pub(super) headers: Option<Fields>,
    #[serde(borrow)]
    pub(super) link: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) link_error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) chord: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) chain: Option<&'a RawValue>,
}

/// The kwargs of a `celery.chain` or `celery.group` signature.
#[derive(Deserialize)]
pub(super) struct Tasks<'a> {
    #[serde(borrow)]
    pub(super) tasks: Vec<&'a RawValue>,
}

/// The kwargs of a `celery.chord` signature.
#[derive(Deserialize)]
pub(super) struct Chord<'a> {
    #[serde(borrow)]
    pub(super) header: &'a RawValue,
    #[serde(borrow)]
    pub(super) body: &'a RawValue,
}

/// What a signature is a member of.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) group: Option<String>,
    pub(super) index: Option<i64>,
    /// The body of the chord, if the group is its header.
    pub(super) chord: Option<Box<RawValue>>,
}

impl Place {
    /// This place, or the one that the options tell of.
    pub(super) fn or(self, options: &Options<'_>) -> Place {
        Place {
            group: self.group.or_else(|| options.group_id.clone()),
            index: self.index.or(options.group_index),
            chord: self.chord.or_else(|| options.chord.map(RawValue::to_owned)),
        }
    }

    /// As options of a signature.
    pub(super) fn options(&self) -> Result<Vec<(&'static str, Box<RawValue>)>, String> {
        let mut options = Vec::new();
        if let Some(group) = &self.group {
            options.push(("group_id", raw(group)?));
        }
        if let Some(index) = self.index {
            options.push(("group_index", raw(&index)?));
        }
        if let Some(chord) = &self.chord {
            options.push(("chord", chord.clone()));
        }
        Ok(options)
    }
}

/// The members of a header, those of groups among them in the groups' places.
pub(super) fn unrolled<'s>(
    text: &'s RawValue,
    members: &mut Vec<&'s RawValue>,
    depth: usize,
) -> Result<(), String> {
    let signature: Signature<'s> = read(text)?;
    match signature.subtask_type.as_deref() {
        _ if depth > DEPTH => Err("groups in groups without end".to_owned()),
        Some("group") => {
            for member in read_kwargs::<Tasks<'s>>(&signature)?.tasks {
                unrolled(member, members, depth + 1)?;
            }
            Ok(())
        }
        _ => {
            members.push(text);
            Ok(())
        }
    }
}

/// How often a member of a header is counted: a chain by its last step, a chord by its body.
pub(super) fn leaves(text: &RawValue, depth: usize) -> Result<usize, String> {
    if depth > DEPTH {
        return Err("signatures in signatures without end".to_owned());
    }
    let signature: Signature<'_> = read(text)?;
    match signature.subtask_type.as_deref() {
        Some("group") => {
            let members: Tasks<'_> = read_kwargs(&signature)?;
            let counts = members.tasks.iter().map(|member| leaves(member, depth + 1));
            counts.sum()
        }
        Some("chain") => {
            let steps: Tasks<'_> = read_kwargs(&signature)?;
            for step in steps.tasks.iter().rev() {
                let count = leaves(step, depth + 1)?;
                if count > 0 {
                    return Ok(count);
                }
            }
            Ok(0)
        }
        Some("chord") => leaves(read_kwargs::<Chord<'_>>(&signature)?.body, depth + 1),
        _ => Ok(1),
    }
}

pub(super) fn read<'s, T: Deserialize<'s>>(text: &'s RawValue) -> Result<T, String> {
    serde_json::from_str(text.get()).map_err(|error| error.to_string())
}

pub(super) fn read_kwargs<'s, T: Deserialize<'s>>(signature: &Signature<'s>) -> Result<T, String> {
    let kwargs = signature.kwargs.map_or("{}", RawValue::get);
    serde_json::from_str(kwargs).map_err(|error| error.to_string())
}

/// The signature with these options set.
pub(super) fn with_options(
    text: &RawValue,
    set: Vec<(&'static str, Box<RawValue>)>,
) -> Result<Box<RawValue>, String> {
    let mut signature: Fields = read(text)?;
    let mut options: Fields = match signature.get("options") {
        Some(options) => read::<Option<Fields>>(options)?.unwrap_or_default(),
        None => Fields::new(),
    };
    for (name, value) in set {
        options.insert(name, value);
    }
    signature.insert("options", raw(&options)?);
    raw(&signature)
}

/// The stamps of a signature stand among its options, by the names that `stamped_headers` lists.
pub(super) fn stamp(task: &mut Task, text: &RawValue) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Stamped {
        options: Option<Fields>,
    }
    let Some(options) = read::<Stamped>(text)?.options else {
        return Ok(());
    };
    let Some(names) = options.get("stamped_headers") else {
        return Ok(());
    };
    let names = read::<Option<Vec<String>>>(names)?.unwrap_or_default();
    for name in &names {
        // A name that is repeated very often must not copy its stamp each time.
        if task.stamps.get(name).is_none()
            && let Some(value) = options.get(name)
        {
            task.stamps.insert(name.as_str(), value.to_owned());
        }
    }
    task.stamped_headers = Some(names);
    Ok(())
}

pub(super) fn raw<T: serde::Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, String> {
    to_raw_value(value).map_err(|error| error.to_string())
}

pub(super) fn kwargs(signature: &Signature<'_>) -> Result<Box<RawValue>, String> {
    match signature.kwargs {
        Some(kwargs) => Ok(kwargs.to_owned()),
        None => RawValue::from_string("{}".to_owned()).map_err(|error| error.to_string()),
    }
}

/// A list of signatures; one alone counts as a list of one, as in Celery.
pub(super) fn list(signatures: Option<&RawValue>) -> Vec<&RawValue> {
    match signatures {
        None => Vec::new(),
        Some(text) if text.get() == "null" => Vec::new(),
        Some(text) => serde_json::from_str(text.get()).unwrap_or_else(|_| vec![text]),
    }
}

pub(super) fn as_list(signatures: &RawValue) -> Result<Box<RawValue>, String> {
    raw(&list(Some(signatures)))
}
