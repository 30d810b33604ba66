//! Attaches callbacks to composites, and takes apart chords whose body is a chain.
//!
//! It follows `link`, `link_error`, `unchain_tasks`, `_unroll_body` and `_add_body_callbacks` in
//! `celery/canvas.py` of 5.7.

use std::collections::VecDeque;

use super::error::{CanvasError, MOST_LINKED};
use super::load::Load;
use super::options::{Options, Value};
use super::signature::{Kind, Signature};

/// Options that a chain uses itself; its first task gets the others.
const OF_THE_CHAIN: [&str; 8] = [
    "chord",
    "group_id",
    "group_index",
    "link",
    "link_error",
    "parent_id",
    "root_id",
    "task_id",
];

/// Adds a callback. A chord gets it at its body. A group gets it at its first member; it then gets
/// no result, because it could not get the results of the other members.
pub(super) fn link(to: &mut Signature, callback: &Value, load: &Load) -> Result<(), CanvasError> {
    match &mut to.kind {
        Kind::Group(members) => match members.first_mut() {
            Some(first) => {
                let mut callback = Signature::read(callback)?;
                set_immutable(&mut callback);
                link(first, &callback.json()?, load)
            }
            None => Err(CanvasError::CallbackOfNothing),
        },
        Kind::Chord(chord) => link(&mut chord.body, callback, load),
        _ => {
            load.copy(callback.get().len())?;
            to.options.append("link", std::slice::from_ref(callback))
        }
    }
}

/// Makes each task of a chain a callback of the one before it, and returns the first. The last one
/// comes first.
pub(super) fn linked(tasks: Vec<Signature>, load: &Load) -> Result<Signature, CanvasError> {
    if tasks.len() > MOST_LINKED {
        return Err(CanvasError::TooManyLinked);
    }
    let mut tasks = tasks.into_iter();
    let mut first = tasks.next().ok_or(CanvasError::NoSteps)?;
    for mut before in tasks {
        link(&mut before, &first.json()?, load)?;
        first = before;
    }
    Ok(first)
}

/// Adds error callbacks: to every member of a group; to a chord's body and the bodies of chords in
/// its header.
pub(super) fn link_errors(
    to: &mut Signature,
    errbacks: &[Value],
    load: &Load,
) -> Result<(), CanvasError> {
    if errbacks.is_empty() {
        return Ok(());
    }
    match &mut to.kind {
        Kind::Group(members) => each_errors(members, errbacks, load),
        Kind::Chord(chord) => {
            let is_chord = |member: &&mut Signature| matches!(member.kind, Kind::Chord(_));
            for member in chord.header.iter_mut().filter(is_chord) {
                link_errors(member, errbacks, load)?;
            }
            link_errors(&mut chord.body, errbacks, load)
        }
        _ => {
            load.copy(errbacks.iter().map(|errback| errback.get().len()).sum())?;
            to.options.append("link_error", errbacks)
        }
    }
}

/// Adds error callbacks to each of these signatures.
fn each_errors(to: &mut [Signature], errbacks: &[Value], load: &Load) -> Result<(), CanvasError> {
    to.iter_mut()
        .try_for_each(|task| link_errors(task, errbacks, load))
}

/// Adds the error callbacks of each chord to the members of its header, too, where they are immutable:
/// Celery's `task_allow_error_cb_on_chord_header`. Chords in the header and the bodies get them anyway.
pub(super) fn errors_to_headers(to: &mut Signature, load: &Load) -> Result<(), CanvasError> {
    let errbacks = to.options.list("link_error");
    match &mut to.kind {
        Kind::Task { .. } => Ok(()),
        Kind::Group(members) | Kind::Chain(members) => {
            let mut members = members.iter_mut();
            members.try_for_each(|member| errors_to_headers(member, load))
        }
        Kind::Chord(chord) => {
            let mut immutable = Vec::with_capacity(errbacks.len());
            for errback in &errbacks {
                let mut errback = Signature::read(errback)?;
                set_immutable(&mut errback);
                immutable.push(errback.json()?);
            }
            for member in &mut chord.header {
                errors_to_headers(member, load)?;
                link_errors(member, &immutable, load)?;
                if matches!(member.kind, Kind::Chord(_)) {
                    link_errors(member, &errbacks, load)?;
                }
            }
            errors_to_headers(&mut chord.body, load)
        }
    }
}

/// Moves the callbacks among a chord's options to its body.
pub(super) fn add_body_callbacks(
    body: &mut Signature,
    options: &mut Options,
    load: &Load,
) -> Result<(), CanvasError> {
    let (callbacks, errbacks) = (options.list("link"), options.list("link_error"));
    options.remove(&["link", "link_error"]);
    for callback in &callbacks {
        if body.is_empty_group() {
            body.options
                .append("link", std::slice::from_ref(callback))?;
        } else {
            link(body, callback, load)?;
        }
    }
    match &body.kind {
        _ if errbacks.is_empty() => Ok(()),
        Kind::Group(_) => errors_of_body(body, &errbacks, true, load),
        _ => body.options.append("link_error", &errbacks),
    }
}

/// Adds error callbacks to the tasks of a group that is a body. If the group is called as a whole
/// and has error callbacks of its own, the group itself gets them: its own replace those of its
/// members.
fn errors_of_body(
    to: &mut Signature,
    errbacks: &[Value],
    runs_as_group: bool,
    load: &Load,
) -> Result<(), CanvasError> {
    let has_own = to.options.get("link_error").is_some();
    match &mut to.kind {
        Kind::Group(_) if runs_as_group && has_own => to.options.append("link_error", errbacks),
        Kind::Group(members) => {
            let mut members = members.iter_mut();
            members.try_for_each(|member| errors_of_body(member, errbacks, false, load))
        }
        Kind::Chord(chord) => errors_of_body(&mut chord.body, errbacks, true, load),
        _ => link_errors(to, errbacks, load),
    }
}

fn set_immutable(signature: &mut Signature) {
    match &mut signature.kind {
        Kind::Group(members) => members.iter_mut().for_each(set_immutable),
        Kind::Chord(chord) => chord.header.iter_mut().for_each(set_immutable),
        _ => signature.immutable = true,
    }
}

/// Returns the steps of a chain with the callbacks among its options: the last step gets those for
/// success, each step those for errors.
pub(super) fn unchained(
    mut steps: Vec<Signature>,
    options: &Options,
    load: &Load,
) -> Result<Vec<Signature>, CanvasError> {
    if let Some(last) = steps.last_mut() {
        for callback in options.list("link") {
            link(last, &callback, load)?;
        }
    }
    each_errors(&mut steps, &options.list("link_error"), load)?;
    Ok(steps)
}

/// Takes apart the chords in a chain that is a body.
pub(super) fn unroll_chords(
    steps: Vec<Signature>,
    load: &Load,
) -> Result<Vec<Signature>, CanvasError> {
    let mut pending = VecDeque::from(steps);
    let mut unrolled = Vec::with_capacity(pending.len());
    while let Some(step) = pending.pop_front() {
        match unroll_body(step, load)? {
            Unrolled::Steps(steps) => prepend(&mut pending, steps),
            Unrolled::Whole(mut step) => {
                if let Kind::Chain(steps) = &mut step.kind {
                    *steps = unroll_chords(std::mem::take(steps), load)?;
                }
                unrolled.push(step);
            }
        }
    }
    Ok(unrolled)
}

/// Puts steps before the other steps.
pub(super) fn prepend(pending: &mut VecDeque<Signature>, steps: Vec<Signature>) {
    for step in steps.into_iter().rev() {
        pending.push_front(step);
    }
}

/// The result of [`unroll_body`].
pub(super) enum Unrolled {
    /// The chord with the first step of its body, and the other steps.
    Steps(Vec<Signature>),
    /// The signature itself.
    Whole(Signature),
}

/// Takes apart a chord whose body is a chain into the chord with the first step, and the other
/// steps. Otherwise each member of the header would carry all steps. A chain that begins with a
/// group stays whole.
pub(super) fn unroll_body(mut signature: Signature, load: &Load) -> Result<Unrolled, CanvasError> {
    let Kind::Chord(chord) = &mut signature.kind else {
        return Ok(Unrolled::Whole(signature));
    };
    let is_led_by_a_task = match &chord.body.kind {
        Kind::Chain(steps) => steps
            .first()
            .is_some_and(|step| !matches!(step.kind, Kind::Group(_))),
        _ => false,
    };
    let Kind::Chain(steps) = &mut chord.body.kind else {
        return Ok(Unrolled::Whole(signature));
    };
    if !is_led_by_a_task {
        return Ok(Unrolled::Whole(signature));
    }
    let mut options = std::mem::take(&mut chord.body.options);
    let mut steps = unchained(std::mem::take(steps), &options, load)?;
    options.remove(&OF_THE_CHAIN);
    let mut first = steps.remove(0);
    first.options.merge(&options);
    chord.body = first;
    steps.insert(0, signature);
    Ok(Unrolled::Steps(steps))
}

/// Removes the bodies that the members of headers carry. Each member gets its body again when the
/// chord is called. Older clients write such bodies, and nested chords multiply their number.
pub(super) fn strip_header_links(signature: &mut Signature) {
    match &mut signature.kind {
        Kind::Chord(chord) => {
            if let Some(group) = &mut chord.group {
                group.remove(&["chord"]);
            }
            for member in &mut chord.header {
                clear_chord(member);
                strip_header_links(member);
            }
            strip_header_links(&mut chord.body);
        }
        Kind::Group(tasks) | Kind::Chain(tasks) => tasks.iter_mut().for_each(strip_header_links),
        Kind::Task { .. } => {}
    }
}

/// Removes the body from the tasks that end a signature.
fn clear_chord(signature: &mut Signature) {
    signature.options.remove(&["chord"]);
    match &mut signature.kind {
        Kind::Group(members) => members.iter_mut().for_each(clear_chord),
        Kind::Chain(steps) => {
            if let Some(last) = steps.last_mut() {
                clear_chord(last);
            }
        }
        Kind::Chord(chord) => clear_chord(&mut chord.body),
        Kind::Task { .. } => {}
    }
}
