//! Changes signatures as a client does before it sends them: callbacks, stamps, and other
//! signatures after them.

use super::compose::{Composable, Part};
use super::error::{CanvasError, DEPTH};
use super::links;
use super::load::Load;
use super::options::{Options, Raws, STAMPED_HEADERS, Value, json};
use super::signature::{Kind, Signature};

/// The limit on the bytes of callbacks that one change attaches.
const MOST: usize = 64 << 20;

impl Signature {
    /// Adds a callback. A chain gets it among its options, a chord at its body, a group at its
    /// first member; that one gets no result.
    ///
    /// # Errors
    /// [`CanvasError::CallbackOfNothing`] for a group without members.
    pub fn link(&mut self, callback: &Value) -> Result<(), CanvasError> {
        links::link(self, callback, &Load::new(MOST))
    }

    /// Adds an error callback: to a chain's options, to each member of a group, to a chord's body
    /// and to the bodies of chords in its header.
    ///
    /// # Errors
    /// [`CanvasError::Json`] if the callbacks have no JSON form.
    pub fn link_error(&mut self, errback: &Value) -> Result<(), CanvasError> {
        links::link_errors(self, std::slice::from_ref(errback), &Load::new(MOST))
    }

    /// Adds the error callbacks of each chord to the members of its header, too, as Celery does with
    /// `task_allow_error_cb_on_chord_header`.
    ///
    /// # Errors
    /// [`CanvasError::Json`] if a callback is not a signature.
    pub fn errors_to_headers(&mut self) -> Result<(), CanvasError> {
        links::errors_to_headers(self, &Load::new(MOST))
    }

    /// Adds stamps to every task, and to the callbacks of every signature. A stamp that a task has
    /// already is replaced; two lists are joined.
    ///
    /// Unlike Celery without a visitor, it also stamps the bodies of chords.
    ///
    /// # Errors
    /// [`CanvasError::TooDeep`] if callbacks are nested too deep.
    pub fn stamp(&mut self, stamps: &Options) -> Result<(), CanvasError> {
        self.stamp_at(stamps, 0)
    }

    fn stamp_at(&mut self, stamps: &Options, depth: usize) -> Result<(), CanvasError> {
        if depth > DEPTH {
            return Err(CanvasError::TooDeep);
        }
        for name in ["link", "link_error"] {
            let mut callbacks = self.options.list(name);
            for callback in &mut callbacks {
                let mut signature = Signature::read(callback)?;
                signature.stamp_at(stamps, depth + 1)?;
                *callback = signature.json()?;
            }
            if !callbacks.is_empty() {
                self.options.set(name, &Raws(&callbacks))?;
            }
        }
        match &mut self.kind {
            Kind::Task { .. } => stamp_options(&mut self.options, stamps),
            Kind::Chain(tasks) | Kind::Group(tasks) => {
                let mut tasks = tasks.iter_mut();
                tasks.try_for_each(|task| task.stamp_at(stamps, depth + 1))
            }
            Kind::Chord(chord) => {
                let mut header = chord.header.iter_mut();
                header.try_for_each(|task| task.stamp_at(stamps, depth + 1))?;
                chord.body.stamp_at(stamps, depth + 1)
            }
        }
    }
}

/// Adds stamps to the options of a task.
fn stamp_options(options: &mut Options, stamps: &Options) -> Result<(), CanvasError> {
    let mut names = options.stamp_names();
    for (name, value) in stamps.iter() {
        let own = options
            .get(name)
            .filter(|_| names.iter().any(|known| **known == **name));
        let value = match own {
            Some(own) if [own, value].iter().all(|list| list.get().starts_with('[')) => {
                let mut joined = super::options::list(value);
                joined.extend(super::options::list(own));
                json(&Raws(&joined))?
            }
            _ => Value::clone(value),
        };
        options.insert(name, value);
        if !names.iter().any(|known| **known == **name) {
            names.push((**name).to_owned());
        }
    }
    options.set(STAMPED_HEADERS, &names)
}

impl Composable for Signature {
    type Error = CanvasError;

    fn part(&self) -> Part {
        match self.kind {
            Kind::Task { .. } => Part::Task,
            Kind::Chain(_) => Part::Chain,
            Kind::Group(_) => Part::Group,
            Kind::Chord(_) => Part::Chord,
        }
    }

    fn tasks(&self) -> Result<Vec<Self>, CanvasError> {
        match &self.kind {
            Kind::Chain(tasks) | Kind::Group(tasks) => Ok(tasks.clone()),
            _ => Ok(Vec::new()),
        }
    }

    fn unchained(&self) -> Result<Vec<Self>, CanvasError> {
        links::unchained(self.tasks()?, &self.options, &Load::new(MOST))
    }

    fn with_tasks(&self, steps: Vec<Self>) -> Result<Self, CanvasError> {
        Ok(Signature {
            kind: Kind::Chain(steps),
            ..self.clone()
        })
    }

    fn body(&self) -> Result<Self, CanvasError> {
        match &self.kind {
            Kind::Chord(chord) => Ok(chord.body.clone()),
            _ => Err(CanvasError::NotATask),
        }
    }

    fn with_body(&self, body: Self) -> Result<Self, CanvasError> {
        let mut chord = self.clone();
        if let Kind::Chord(chord) = &mut chord.kind {
            chord.body = body;
        }
        Ok(chord)
    }

    fn chain(steps: Vec<Self>) -> Result<Self, CanvasError> {
        Ok(Signature {
            task: "celery.chain".to_owned(),
            kind: Kind::Chain(steps),
            ..Signature::group(Vec::new())
        })
    }

    fn chord(group: Self, body: Self) -> Result<Self, CanvasError> {
        let header = match group.kind {
            Kind::Group(members) => members,
            kind => vec![Signature { kind, ..group }],
        };
        Ok(Signature::chord(header, body, Options::default()))
    }
}
