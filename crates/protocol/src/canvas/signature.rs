//! Signatures: how they are read from JSON, changed and written again.

use std::sync::Arc;

use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::error::{CanvasError, DEPTH};
use super::options::{Options, Raws, Value, json};
use crate::fields::Fields;

/// A signature. As in Celery, a chain or a group that was read keeps no arguments.
///
/// ```
/// use celery_protocol::RawValue;
/// use celery_protocol::canvas::{Kind, Signature, json};
///
/// let text = r#"{"task": "app.add", "args": [2], "kwargs": {}, "options": {"queue": "sums"}}"#;
/// let text = RawValue::from_string(text.to_owned())?;
/// let mut add = Signature::read(&text)?;
/// add.prepend(&[json(&40)?]);
/// assert!(matches!(add.kind, Kind::Task { .. }));
/// assert_eq!((add.args[0].get(), add.args[1].get()), ("40", "2"));
/// assert_eq!(add.options.text("queue").as_deref(), Some("sums"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Signature {
    /// The name of the task; `celery.chain`, `celery.group` or `celery.chord` for a composite.
    pub task: String,
    /// The positional arguments.
    pub args: Vec<Value>,
    /// The options of the call.
    pub options: Options,
    /// Whether the signature takes no further arguments.
    pub immutable: bool,
    /// The kind, with the parts of a composite.
    pub kind: Kind,
}

/// The kind of a signature.
#[derive(Clone, Debug)]
pub enum Kind {
    /// One task.
    Task {
        /// The keyword arguments.
        kwargs: Value,
        /// The mark of `celery.map` and the like.
        subtask_type: Option<String>,
    },
    /// Steps that are called one after another.
    Chain(Vec<Signature>),
    /// Members that are called at once.
    Group(Vec<Signature>),
    /// A group whose results a body gets.
    Chord(Box<Chord>),
}

/// A header, and the body that gets its results.
#[derive(Clone, Debug)]
pub struct Chord {
    /// The members of the header.
    pub header: Vec<Signature>,
    /// The options of the header's group, once it has an id. As in Celery, a chord that was read
    /// has none.
    pub group: Option<Options>,
    /// The signature that gets the results.
    pub body: Signature,
    /// Keyword arguments for every task of the header.
    pub kwargs: Option<Value>,
}

/// A signature as JSON. As in Celery, unknown members are ignored.
#[derive(Deserialize)]
struct Written<'a> {
    task: String,
    #[serde(borrow, default)]
    args: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    kwargs: Option<&'a RawValue>,
    #[serde(default)]
    options: Options,
    #[serde(default)]
    subtask_type: Option<String>,
    #[serde(default)]
    immutable: Option<bool>,
}

/// The keyword arguments of a `celery.chain` or `celery.group` signature.
#[derive(Deserialize)]
struct Tasks<'a> {
    #[serde(borrow)]
    tasks: Vec<&'a RawValue>,
}

/// The keyword arguments of a `celery.chord` signature.
#[derive(Deserialize)]
struct WrittenChord<'a> {
    #[serde(borrow)]
    header: &'a RawValue,
    #[serde(borrow)]
    body: &'a RawValue,
    #[serde(borrow, default)]
    kwargs: Option<&'a RawValue>,
}

impl Signature {
    /// Reads a signature.
    ///
    /// # Errors
    /// [`CanvasError`] if the text is not a signature that can be called.
    pub fn read(text: &RawValue) -> Result<Self, CanvasError> {
        Self::read_at(text, 0)
    }

    fn read_at(text: &RawValue, depth: usize) -> Result<Self, CanvasError> {
        if depth > DEPTH {
            return Err(CanvasError::TooDeep);
        }
        let written: Written<'_> = parsed(text.get())?;
        let kwargs = written.kwargs.map_or("{}", RawValue::get);
        let members = |kwargs| {
            let Tasks { tasks } = parsed(kwargs)?;
            let members = tasks.into_iter().map(|task| Self::read_at(task, depth + 1));
            members.collect::<Result<Vec<_>, CanvasError>>()
        };
        let own = written.args.unwrap_or_default();
        let mut args = own.into_iter().map(|arg| arg.to_owned().into()).collect();
        let mut immutable = written.immutable.unwrap_or_default();
        let kind = match written.subtask_type.as_deref() {
            Some("chain") => Kind::Chain(members(kwargs)?),
            Some("group") => Kind::Group(members(kwargs)?),
            Some("chord") => Kind::Chord(Box::new(Chord::read_at(kwargs, depth + 1)?)),
            Some("chunks") => return chunks(kwargs),
            _ => Kind::Task {
                kwargs: owned(written.kwargs)?,
                subtask_type: written.subtask_type.clone(),
            },
        };
        match written.subtask_type.as_deref() {
            Some("chain" | "group") => (args, immutable) = (Vec::new(), false),
            Some("xmap" | "xstarmap") => (args, immutable) = (Vec::new(), true),
            _ => {}
        }
        Ok(Signature {
            task: written.task,
            args,
            options: written.options,
            immutable,
            kind,
        })
    }

    /// Makes a group of these signatures.
    pub fn group(members: Vec<Signature>) -> Self {
        Signature {
            task: "celery.group".to_owned(),
            args: Vec::new(),
            options: Options::default(),
            immutable: false,
            kind: Kind::Group(members),
        }
    }

    /// Makes a chord of a group and the step that follows it in a chain.
    pub fn chord(header: Vec<Signature>, body: Signature, options: Options) -> Self {
        Signature {
            task: "celery.chord".to_owned(),
            args: Vec::new(),
            options,
            immutable: false,
            kind: Kind::Chord(Box::new(Chord {
                header,
                group: None,
                body,
                kwargs: None,
            })),
        }
    }

    /// Returns the only member of a group with one member; otherwise the signature itself.
    #[must_use]
    pub fn unrolled(mut self) -> Self {
        match &mut self.kind {
            Kind::Group(members) if members.len() == 1 => members.pop().unwrap_or(self),
            _ => self,
        }
    }

    /// Returns `true` for a group without members.
    pub fn is_empty_group(&self) -> bool {
        matches!(&self.kind, Kind::Group(members) if members.is_empty())
    }

    /// Returns `true` for a chain without steps, which a group ignores.
    pub fn is_empty_chain(&self) -> bool {
        matches!(&self.kind, Kind::Chain(steps) if steps.is_empty())
    }

    /// Puts arguments before its own, unless it is immutable.
    pub fn prepend(&mut self, given: &[Value]) {
        if !self.immutable && !given.is_empty() {
            self.args.splice(0..0, given.iter().cloned());
        }
    }

    /// Adds keyword arguments, unless it is immutable. A chain, a group and a chord take none.
    ///
    /// # Errors
    /// [`CanvasError::Json`] if the arguments are not an object.
    pub fn add_kwargs(&mut self, more: Option<&Value>) -> Result<(), CanvasError> {
        let (Some(more), false, Kind::Task { kwargs, .. }) = (more, self.immutable, &mut self.kind)
        else {
            return Ok(());
        };
        let mut all: Fields = parsed(kwargs.get())?;
        let more: Fields = parsed(more.get())?;
        for (name, value) in more.iter() {
            all.insert(name, value.to_owned());
        }
        *kwargs = json(&all)?;
        Ok(())
    }

    /// Returns for how many members it counts in a header: a chain counts as its last step, a chord
    /// as its body.
    pub fn leaves(&self) -> usize {
        match &self.kind {
            Kind::Task { .. } => 1,
            Kind::Group(members) => members.iter().map(Signature::leaves).sum(),
            Kind::Chain(steps) => {
                let counts = steps.iter().rev().map(Signature::leaves);
                counts.into_iter().find(|count| *count > 0).unwrap_or(0)
            }
            Kind::Chord(chord) => chord.body.leaves(),
        }
    }

    /// Returns the signature as JSON.
    ///
    /// # Errors
    /// [`CanvasError::Json`] if the signature has no JSON form.
    pub fn json(&self) -> Result<Value, CanvasError> {
        json(self)
    }
}

impl Chord {
    fn read_at(kwargs: &str, depth: usize) -> Result<Self, CanvasError> {
        let written: WrittenChord<'_> = parsed(kwargs)?;
        let read = |text| Signature::read_at(text, depth);
        let header = if written.header.get().starts_with('[') {
            let members: Vec<&RawValue> = parsed(written.header.get())?;
            members.into_iter().map(read).collect::<Result<_, _>>()?
        } else {
            let header = read(written.header)?;
            match header.kind {
                Kind::Group(members) | Kind::Chain(members) => members,
                _ => vec![header],
            }
        };
        Ok(Chord {
            header,
            group: None,
            body: read(written.body)?,
            kwargs: match written.kwargs {
                Some(kwargs) if !matches!(kwargs.get(), "{}" | "null") => {
                    Some(kwargs.to_owned().into())
                }
                _ => None,
            },
        })
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(6))?;
        map.serialize_entry("task", &self.task)?;
        map.serialize_entry("args", &Raws(&self.args))?;
        let subtask_type = match &self.kind {
            Kind::Task {
                kwargs,
                subtask_type,
            } => {
                map.serialize_entry("kwargs", &**kwargs)?;
                subtask_type.as_deref()
            }
            Kind::Chain(tasks) => {
                map.serialize_entry("kwargs", &Members { tasks })?;
                Some("chain")
            }
            Kind::Group(tasks) => {
                map.serialize_entry("kwargs", &Members { tasks })?;
                Some("group")
            }
            Kind::Chord(chord) => {
                map.serialize_entry("kwargs", &**chord)?;
                Some("chord")
            }
        };
        map.serialize_entry("options", &self.options)?;
        map.serialize_entry("subtask_type", &subtask_type)?;
        map.serialize_entry("immutable", &self.immutable)?;
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Members<'a> {
    tasks: &'a [Signature],
}

impl Serialize for Chord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// The group of a header.
        struct Header<'a>(&'a Chord, &'a Options);
        impl Serialize for Header<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(Some(6))?;
                map.serialize_entry("task", "celery.group")?;
                map.serialize_entry("args", &[(); 0])?;
                map.serialize_entry(
                    "kwargs",
                    &Members {
                        tasks: &self.0.header,
                    },
                )?;
                map.serialize_entry("options", self.1)?;
                map.serialize_entry("subtask_type", "group")?;
                map.serialize_entry("immutable", &false)?;
                map.end()
            }
        }
        let mut map = serializer.serialize_map(Some(3))?;
        match &self.group {
            Some(options) => map.serialize_entry("header", &Header(self, options))?,
            None => map.serialize_entry("header", &self.header)?,
        }
        map.serialize_entry("body", &self.body)?;
        match &self.kwargs {
            Some(kwargs) => map.serialize_entry("kwargs", &**kwargs)?,
            None => map.serialize_entry("kwargs", &Options::default())?,
        }
        map.end()
    }
}

/// The most bytes of the signatures that `chunks` stand for.
const MOST_CHUNKS: usize = 64 << 20;

/// The keyword arguments of a `celery.chunks` signature.
#[derive(Deserialize)]
struct WrittenChunks<'a> {
    #[serde(borrow)]
    task: &'a RawValue,
    #[serde(borrow)]
    it: Vec<&'a RawValue>,
    n: usize,
}

/// Reads `chunks` as what they stand for when they are called: a group of `celery.starmap`, each
/// with `n` items. As in Celery, their own options do not count.
fn chunks(kwargs: &str) -> Result<Signature, CanvasError> {
    let WrittenChunks { task, it, n } = parsed(kwargs)?;
    if n == 0 {
        return Err(CanvasError::Chunks);
    }
    let parts = it.chunks(n);
    // Each part has a copy of the task.
    if parts.len().saturating_mul(task.get().len()) > MOST_CHUNKS {
        return Err(CanvasError::TooManyCopies);
    }
    let part = |part: &[&RawValue]| {
        let mut kwargs = Fields::default();
        kwargs.insert("task", task.to_owned());
        kwargs.insert("it", serde_json::value::to_raw_value(part)?);
        Ok(Signature {
            task: "celery.starmap".to_owned(),
            args: Vec::new(),
            options: Options::default(),
            immutable: true,
            kind: Kind::Task {
                kwargs: json(&kwargs)?,
                subtask_type: Some("xstarmap".to_owned()),
            },
        })
    };
    let parts: Result<_, CanvasError> = parts.map(part).collect();
    Ok(Signature::group(parts?))
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, CanvasError> {
    Ok(serde_json::from_str(text)?)
}

fn owned(kwargs: Option<&RawValue>) -> Result<Value, CanvasError> {
    match kwargs {
        Some(kwargs) if kwargs.get() != "null" => Ok(Arc::from(kwargs.to_owned())),
        _ => json(&Options::default()),
    }
}
