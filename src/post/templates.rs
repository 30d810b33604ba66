//! The envelopes of this process's usual posts, by task name and queue.
//!
//! A name or a queue is checked when its template is made, and not again for each post. The number
//! of templates is limited, because names may come from users.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use celery_protocol::message::{Call, Scratch, Template};

use crate::process::Sender;

/// More than a script usually posts to. Each template takes about a kilobyte.
const MOST: usize = 32;

/// The template of one task type on its way to one queue.
struct Known {
    name: String,
    queue: Arc<str>,
    template: Template,
}

/// The templates with one sender. A forked child is another sender.
struct Templates {
    sender: Rc<Sender>,
    /// The oldest first.
    known: Vec<Known>,
    scratch: Scratch,
}

/// The largest memory to keep for the next message.
const LARGEST: usize = 256 << 10;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static TEMPLATES: RefCell<Option<Templates>> = const { RefCell::new(None) };
}

/// Encodes a task that has only a name and arguments. Returns its message, and its queue.
///
/// Returns `None` if the task has no template, or cannot be encoded. The encoder of all tasks then
/// encodes it, or says why it cannot.
pub(super) fn encode(
    name: &str,
    queue: &str,
    sender: &Rc<Sender>,
    call: &Call<'_>,
) -> Option<(Vec<u8>, Arc<str>)> {
    TEMPLATES.with_borrow_mut(|slot| {
        slot.take_if(|templates| !Rc::ptr_eq(&templates.sender, sender));
        let Templates { known, scratch, .. } = slot.get_or_insert_with(|| Templates {
            sender: Rc::clone(sender),
            known: Vec::new(),
            scratch: Scratch::default(),
        });
        let same = |known: &Known| known.name == name && *known.queue == *queue;
        let found = if let Some(index) = known.iter().rposition(same) {
            &known[index]
        } else {
            let template = Template::new(name, &sender.options(queue, "")).ok()??;
            if known.len() >= MOST {
                known.remove(0);
            }
            known.push(Known {
                name: name.to_owned(),
                queue: queue.into(),
                template,
            });
            known.last()?
        };
        let mut message = SPARE.take();
        found.template.fill(&mut message, call, scratch).ok()?;
        Some((message, Arc::clone(&found.queue)))
    })
}

/// Keeps the memory of a message for the next one.
pub(super) fn reuse(memory: Vec<u8>) {
    if memory.capacity() <= LARGEST {
        SPARE.set(memory);
    }
}
