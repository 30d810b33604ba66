//! What a client does to send a canvas.

use super::calling::{Call, Caller, Calling, NewChord, Outgoing, Place};
use super::error::CanvasError;
use super::load::Load;
use super::options::{Options, Value};
use super::outcome::{Outcome, Outcomes};
use super::signature::Signature;
use crate::message::Carried;
use crate::time::Timestamp;

/// The messages of a canvas, the chords that begin before them, and the results to come.
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan<M = Vec<u8>> {
    /// The chords. Each must have begun before a message is sent: a member that ends before would
    /// not be counted.
    pub chords: Vec<NewChord>,
    /// The messages, in the order in which Celery sends them.
    pub messages: Vec<Outgoing<M>>,
    /// The results that the tasks will have.
    pub outcomes: Outcomes,
    /// The result of the whole: of a chain the last task's, of a chord the body's.
    pub result: Outcome,
}

impl<M: Carried> Plan<M> {
    /// Returns the plan for a call of a canvas with further arguments and options. At most `most`
    /// bytes are sent, unless it is a single message.
    ///
    /// # Errors
    /// [`CanvasError`] if a part of the canvas cannot be sent.
    pub fn new(
        caller: &dyn Caller<M>,
        canvas: Signature,
        (args, kwargs, options): (&[Value], Option<&Value>, Options),
        now: Timestamp,
        most: usize,
    ) -> Result<Self, CanvasError> {
        let mut calling = Calling::new(caller, now, Load::new(most));
        let result = calling.apply(canvas, args, kwargs, options)?;
        let (mut chords, mut messages) = (Vec::new(), Vec::new());
        for call in calling.calls {
            match call {
                Call::Begin(chord) => chords.push(chord),
                Call::Publish(message) => messages.push(message),
            }
        }
        Ok(Plan {
            chords,
            messages,
            outcomes: calling.outcomes,
            result,
        })
    }
}

/// Gives a canvas and the tasks in it their ids, so that they are known before it is sent. Returns
/// the results to come, and that of the whole among them.
///
/// # Errors
/// [`CanvasError`] if a part of the canvas cannot be called.
pub fn freeze(
    caller: &dyn Caller,
    canvas: &mut Signature,
) -> Result<(Outcomes, Outcome), CanvasError> {
    // No message is made, so neither the time nor the limit counts.
    let mut calling = Calling::new(caller, Timestamp::from_unix(0, 0), Load::new(usize::MAX));
    let result = calling.freeze(canvas, Place::default())?;
    Ok((calling.outcomes, result))
}
