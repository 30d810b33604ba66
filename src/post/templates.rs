//! The envelopes of this process's usual posts, by task name and queue.
//!
//! A name or a queue is checked when its template is made, and not again for each post. The number
//! of templates is limited, because names may come from users.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use celery_client::redis::blocking::Frame;
use celery_protocol::message::{Call, Scratch, Template};

use crate::process::Sender;

/// More than a script usually posts to. Each template takes about a kilobyte.
const MOST: usize = 32;

/// The template of one task type on its way to one queue.
pub(crate) struct Known {
    pub(crate) name: Rc<str>,
    pub(crate) queue: Arc<str>,
    template: Template,
}

impl Known {
    /// Returns about the number of bytes that this keeps in memory.
    pub(crate) fn held(&self) -> usize {
        self.name.len() + self.queue.len() + self.template.held()
    }

    /// Returns about the number of bytes that the message of a call has.
    pub(crate) fn size(&self, call: &Call) -> usize {
        self.template.size(call)
    }

    /// Writes the message of a call.
    pub(crate) fn write(&self, call: &Call, frame: Frame<'_>) {
        SCRATCH.with_borrow_mut(|scratch| {
            let message = self.template.message(call, scratch);
            message.write(frame.begin(message.len()));
        });
    }
}

/// The templates with one sender. A forked child is another sender.
struct Templates {
    sender: Rc<Sender>,
    /// The oldest first.
    known: Vec<Rc<Known>>,
}

thread_local! {
    static TEMPLATES: RefCell<Option<Templates>> = const { RefCell::new(None) };
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Returns the template of a task that has only a name and arguments, or `None` if a name cannot be
/// used. The encoder of all tasks says why.
pub(super) fn find(name: &str, queue: &str, sender: &Rc<Sender>) -> Option<Rc<Known>> {
    TEMPLATES.with_borrow_mut(|slot| {
        slot.take_if(|templates| !Rc::ptr_eq(&templates.sender, sender));
        let Templates { known, .. } = slot.get_or_insert_with(|| Templates {
            sender: Rc::clone(sender),
            known: Vec::new(),
        });
        let same = |known: &&Rc<Known>| *known.name == *name && *known.queue == *queue;
        if let Some(found) = known.iter().rev().find(same) {
            return Some(Rc::clone(found));
        }
        let added = Rc::new(Known {
            name: name.into(),
            queue: queue.into(),
            template: Template::new(name, &sender.options(queue, "")).ok()??,
        });
        if known.len() >= MOST {
            known.remove(0);
        }
        known.push(Rc::clone(&added));
        Some(added)
    })
}
