//! Celery's form of every canvas, from the properties of its object.

pub(crate) use celery_protocol::canvas::Part;
use ext_php_rs::types::{ZendObject, Zval};

use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::value;

pub(crate) const NAME: &str = "Celery\\Canvas";
pub(crate) const SIGNATURE: &str = "Celery\\Signature";
pub(crate) const CHAIN: &str = "Celery\\Chain";
pub(crate) const GROUP: &str = "Celery\\Group";
pub(crate) const CHORD: &str = "Celery\\Chord";

/// The slots of the properties. Those of the children follow.
pub(crate) const ID: usize = 0;
pub(crate) const IMMUTABLE: usize = 1;
pub(crate) const OPTIONS: usize = 2;
/// The first slot of a child.
const OWN: usize = 3;

/// The slots of a signature's own properties.
pub(crate) const TASK: usize = OWN;
pub(crate) const ARGS: usize = OWN + 1;
pub(crate) const KWARGS: usize = OWN + 2;

/// The slot of the steps of a chain and of the members of a group.
pub(crate) const TASKS: usize = OWN;

/// The slots of a chord's own properties.
pub(crate) const HEADER: usize = OWN;
pub(crate) const BODY: usize = OWN + 1;

/// Celery's form of a canvas, without its options.
pub(crate) struct Form {
    pub(crate) task: Zval,
    /// A list.
    pub(crate) args: Zval,
    /// An array with names as keys.
    pub(crate) kwargs: Zval,
    pub(crate) subtask_type: Option<&'static str>,
}

/// Returns the kind of a canvas.
pub(crate) fn part(object: &ZendObject) -> Part {
    match object.get_class_entry().name() {
        Some(CHAIN) => Part::Chain,
        Some(GROUP) => Part::Group,
        Some(CHORD) => Part::Chord,
        _ => Part::Task,
    }
}

/// Returns Celery's form of a canvas.
pub(crate) fn form(object: &ZendObject) -> Result<Form, Thrown> {
    let composite = |kind: &'static str, members: Vec<(&str, Zval)>| {
        let members = members
            .into_iter()
            .map(|(name, value)| (value::string(name.as_bytes()), value));
        Ok(Form {
            task: value::string(format!("celery.{kind}").as_bytes()),
            args: value::list([])?,
            kwargs: value::map(members)?,
            subtask_type: Some(kind),
        })
    };
    let tasks = || vec![("tasks", object::get(object, TASKS))];
    match part(object) {
        Part::Task => Ok(Form {
            task: object::get(object, TASK),
            args: object::get(object, ARGS),
            kwargs: object::get(object, KWARGS),
            subtask_type: None,
        }),
        Part::Chain => composite("chain", tasks()),
        Part::Group => composite("group", tasks()),
        Part::Chord => {
            let header = object::get(object, HEADER);
            let members = header.object().map(|group| object::get(group, TASKS));
            composite(
                "chord",
                vec![
                    // Keyword arguments for the header: its tasks have them already.
                    ("kwargs", object::new("stdClass")?),
                    ("header", members.unwrap_or_else(Zval::null)),
                    ("body", object::get(object, BODY)),
                ],
            )
        }
    }
}
