//! Puts canvases one after another, as the operator `|` and the constructor of `chain` do in
//! `celery/canvas.py` of 5.7.
//!
//! What follows a group becomes the body of a chord. What follows a chord follows its body. A group
//! with one member counts as that member. The rules are generic, because a client keeps canvases
//! in a form of its own, in which arguments need not be JSON yet.

use super::error::{CanvasError, DEPTH};

/// The kind of a canvas, without its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One task.
    Task,
    /// Steps that are called one after another.
    Chain,
    /// Members that are called at once.
    Group,
    /// A group whose results a body gets.
    Chord,
}

/// A canvas that can be put together with others.
pub trait Composable: Sized + Clone {
    /// The reason why canvases cannot be put together.
    type Error: From<CanvasError>;

    /// Returns the kind.
    fn part(&self) -> Part;

    /// Returns the steps of a chain or the members of a group, as they are.
    ///
    /// # Errors
    /// The error of the form.
    fn tasks(&self) -> Result<Vec<Self>, Self::Error>;

    /// Returns the steps of a chain. The last one gets the callbacks of the chain, and each gets
    /// its error callbacks (`unchain_tasks` of Celery).
    ///
    /// # Errors
    /// The error of the form.
    fn unchained(&self) -> Result<Vec<Self>, Self::Error>;

    /// Returns a chain with other steps and the same options.
    ///
    /// # Errors
    /// The error of the form.
    fn with_tasks(&self, steps: Vec<Self>) -> Result<Self, Self::Error>;

    /// Returns the body of a chord.
    ///
    /// # Errors
    /// The error of the form.
    fn body(&self) -> Result<Self, Self::Error>;

    /// Returns a chord with another body and the same options.
    ///
    /// # Errors
    /// The error of the form.
    fn with_body(&self, body: Self) -> Result<Self, Self::Error>;

    /// Makes a chain of these steps.
    ///
    /// # Errors
    /// The error of the form.
    fn chain(steps: Vec<Self>) -> Result<Self, Self::Error>;

    /// Makes a chord of a group and a body.
    ///
    /// # Errors
    /// The error of the form.
    fn chord(group: Self, body: Self) -> Result<Self, Self::Error>;
}

/// Returns what calls `next` after `first`.
///
/// # Errors
/// [`CanvasError::TooDeep`] if bodies are nested too deep, or the error of the form.
pub fn then<C: Composable>(first: C, next: C) -> Result<C, C::Error> {
    or(first, next, 0)
}

/// Returns the steps of a chain of these canvases. What becomes a single group or chord is the only
/// step.
///
/// # Errors
/// [`CanvasError::TooDeep`] if bodies are nested too deep, or the error of the form.
pub fn chain<C: Composable>(tasks: Vec<C>) -> Result<Vec<C>, C::Error> {
    let mut steps = Vec::with_capacity(tasks.len());
    let mut tasks = tasks.into_iter();
    while let Some(task) = tasks.next() {
        if let Some(mut whole) = merge(&mut steps, task, 0)? {
            for task in tasks {
                whole = or(whole, task, 0)?;
            }
            return match whole.part() {
                Part::Chain => whole.tasks(),
                _ => Ok(vec![whole]),
            };
        }
    }
    Ok(steps)
}

/// Adds a canvas to the steps of a chain. Returns what replaces the chain if the result is none: a
/// group that is the first step.
fn merge<C: Composable>(steps: &mut Vec<C>, next: C, depth: usize) -> Result<Option<C>, C::Error> {
    check(depth)?;
    match next.part() {
        Part::Group => {
            let members = next.tasks()?;
            match <[C; 1]>::try_from(members) {
                Ok([only]) if only.part() == Part::Group => place_group(steps, only, depth),
                Ok([only]) => merge(steps, only, depth + 1),
                Err(members) if members.is_empty() => Ok(None),
                Err(_) => place_group(steps, next, depth),
            }
        }
        Part::Chain => {
            let mut inner = next.unchained()?.into_iter();
            while let Some(task) = inner.next() {
                if let Some(mut whole) = merge(steps, task, depth + 1)? {
                    for task in inner {
                        whole = or(whole, task, depth + 1)?;
                    }
                    return Ok(Some(whole));
                }
            }
            Ok(None)
        }
        kind => {
            match steps.pop() {
                Some(last) if last.part() == Part::Group => steps.push(C::chord(last, next)?),
                Some(last) if last.part() == Part::Chord && kind != Part::Chord => {
                    steps.push(follow_body(&last, next, depth)?);
                }
                last => {
                    steps.extend(last);
                    steps.push(next);
                }
            }
            Ok(None)
        }
    }
}

/// Adds a group to the steps of a chain. After a chord it follows the body.
fn place_group<C: Composable>(
    steps: &mut Vec<C>,
    group: C,
    depth: usize,
) -> Result<Option<C>, C::Error> {
    match steps.pop() {
        None => return Ok(Some(group)),
        Some(last) if last.part() == Part::Chord => steps.push(follow_body(&last, group, depth)?),
        Some(last) => steps.extend([last, group]),
    }
    Ok(None)
}

/// Returns a chord in which `next` follows the body.
fn follow_body<C: Composable>(chord: &C, next: C, depth: usize) -> Result<C, C::Error> {
    chord.with_body(or(chord.body()?, next, depth + 1)?)
}

/// Returns what calls `next` after `first`. `depth` counts the bodies and chains around them.
fn or<C: Composable>(first: C, next: C, depth: usize) -> Result<C, C::Error> {
    check(depth)?;
    let members = match next.part() {
        Part::Group => next.tasks()?,
        _ => Vec::new(),
    };
    let (is_group, count) = (next.part() == Part::Group, members.len());
    match first.part() {
        Part::Chain | Part::Group if is_group && count == 0 => Ok(first),
        Part::Group => C::chord(first, next),
        kind => match <[C; 1]>::try_from(members) {
            Ok([only]) if kind == Part::Chord => follow_body(&first, only, depth),
            Ok([only]) if kind == Part::Chain && only.part() != Part::Group => {
                or(first, only, depth + 1)
            }
            Ok([only]) => C::chain(vec![first, only]),
            Err(_) => after(first, next, depth),
        },
    }
}

/// Returns what calls `next`, which is not a group with one member, after a task, a chain or a chord.
fn after<C: Composable>(first: C, next: C, depth: usize) -> Result<C, C::Error> {
    match (first.part(), next.part()) {
        (Part::Chain, Part::Group) => {
            let mut steps = first.unchained()?;
            match place_group(&mut steps, next, depth)? {
                Some(group) => Ok(group),
                None => C::chain(steps),
            }
        }
        (Part::Chain, Part::Chain) => {
            let mut whole = first;
            for task in next.unchained()? {
                whole = or(whole, task, depth + 1)?;
            }
            Ok(whole)
        }
        (Part::Chain, kind) => after_chain(&first, next, kind, depth),
        (Part::Chord, Part::Task | Part::Chord) => follow_body(&first, next, depth),
        (_, Part::Chain) => {
            let mut steps = vec![first];
            steps.extend(next.unchained()?);
            C::chain(steps)
        }
        _ => C::chain(vec![first, next]),
    }
}

/// Puts a task or a chord after a chain. If the last step of the chain takes it up, the chain keeps
/// its options; otherwise its callbacks go to its steps.
fn after_chain<C: Composable>(first: &C, next: C, kind: Part, depth: usize) -> Result<C, C::Error> {
    let mut steps = first.tasks()?;
    match steps.pop() {
        Some(group) if group.part() == Part::Group => {
            let chord = C::chord(group, next)?;
            match steps.pop() {
                Some(before) if before.part() == Part::Chord => {
                    steps.push(follow_body(&before, chord, depth)?);
                }
                before => {
                    steps.extend(before);
                    steps.push(chord);
                }
            }
            first.with_tasks(steps)
        }
        Some(chord) if chord.part() == Part::Chord && kind != Part::Chord => {
            steps.push(follow_body(&chord, next, depth)?);
            first.with_tasks(steps)
        }
        _ => {
            let mut steps = first.unchained()?;
            steps.push(next);
            C::chain(steps)
        }
    }
}

fn check(depth: usize) -> Result<(), CanvasError> {
    if depth > DEPTH {
        Err(CanvasError::TooDeep)
    } else {
        Ok(())
    }
}
