//! The canvas: signatures of tasks, chains, groups and chords, and what a call of them publishes.
//!
//! A signature describes a call: a task with its arguments and options, or a chain, a group or a
//! chord of signatures. Form and rules are those of `celery/canvas.py` of 5.7. Unknown members are
//! ignored, as in Celery.
//!
//! * `signature`, `options` – the form: how signatures are read from JSON and written again.
//! * `compose` – puts signatures one after another, as Python's `|` does.
//! * `links` – attaches the callbacks of composites; `change` – what a client changes.
//! * `calling` – what a call depends on, and what comes out of it; `load` – its limits.
//! * `freeze`, `outcome` – ids of the tasks still to come, and the results that they will have.
//! * `call`, `chord` – call signatures; `message` – makes the message of a single task.
//! * `plan` – the messages and the results of a canvas that a client sends.

mod call;
mod calling;
mod change;
mod chord;
mod compose;
mod error;
mod freeze;
mod links;
mod load;
mod message;
mod options;
mod outcome;
mod plan;
mod signature;

pub use call::unrolled;
pub use calling::{Call, Caller, Calling, NewChord, Outgoing, Place};
pub use compose::{Composable, Part, chain, then};
pub use error::{CanvasError, DEPTH};
pub use load::Load;
pub use options::{Options, Raws, STAMPED_HEADERS, Value, json, list};
pub use outcome::{Outcome, Outcomes};
pub use plan::{Plan, freeze};
pub use signature::{Chord, Kind, Signature};
