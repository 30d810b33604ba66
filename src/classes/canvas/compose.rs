//! Puts canvases one after another, by the rules of `celery_protocol::canvas::then`.

use celery_protocol::canvas::{self, CanvasError, Composable};
use ext_php_rs::types::Zval;

use super::change;
use super::form::{BODY, CHAIN, Part};
use super::parts::option;
use super::tree;
use crate::ffi::object;
use crate::ffi::throw::Thrown;

/// A canvas, as the rules see it.
struct Item(Zval);

impl Clone for Item {
    fn clone(&self) -> Self {
        Item(self.0.shallow_clone())
    }
}

/// The reason why canvases were not put together.
struct Refused(Thrown);

impl From<CanvasError> for Refused {
    fn from(error: CanvasError) -> Self {
        Refused(Thrown::celery(format!(
            "These canvases cannot follow each other: {error}."
        )))
    }
}

impl From<Thrown> for Refused {
    fn from(thrown: Thrown) -> Self {
        Refused(thrown)
    }
}

impl Composable for Item {
    type Error = Refused;

    fn part(&self) -> Part {
        tree::part(&self.0)
    }

    fn tasks(&self) -> Result<Vec<Self>, Refused> {
        Ok(tree::tasks(&self.0).into_iter().map(Item).collect())
    }

    fn unchained(&self) -> Result<Vec<Self>, Refused> {
        let callbacks = |name| {
            let list = self.0.object().and_then(|object| option(object, name));
            list.as_ref().map(tree::elements).unwrap_or_default()
        };
        let (links, errbacks) = (callbacks("link"), callbacks("link_error"));
        let mut steps = tree::tasks(&self.0);
        if let Some(last) = steps.last_mut()
            && !links.is_empty()
        {
            *last = tree::copied(last, |copy| change::link(copy, &links))?;
        }
        if !errbacks.is_empty() {
            for step in &mut steps {
                *step = tree::copied(step, |copy| change::link_error(copy, &errbacks))?;
            }
        }
        Ok(steps.into_iter().map(Item).collect())
    }

    fn with_tasks(&self, steps: Vec<Self>) -> Result<Self, Refused> {
        let steps = steps.into_iter().map(|step| step.0).collect();
        Ok(Item(tree::with_tasks(&self.0, steps)?))
    }

    fn body(&self) -> Result<Self, Refused> {
        Ok(Item(tree::property(&self.0, BODY)))
    }

    fn with_body(&self, body: Self) -> Result<Self, Refused> {
        Ok(Item(tree::with_body(&self.0, body.0)?))
    }

    fn chain(steps: Vec<Self>) -> Result<Self, Refused> {
        let steps = steps.into_iter().map(|step| step.0).collect();
        Ok(Item(tree::of_tasks(CHAIN, steps)?))
    }

    fn chord(group: Self, body: Self) -> Result<Self, Refused> {
        Ok(Item(tree::chord(group.0, body.0)?))
    }
}

/// Returns what calls these canvases one after another. It is bound to their client.
pub(crate) fn then(first: Zval, next: Vec<Zval>) -> Result<Zval, Thrown> {
    let mut members = vec![first.shallow_clone()];
    let mut whole = Item(first);
    for next in next {
        members.push(next.shallow_clone());
        whole = canvas::then(whole, Item(next)).map_err(|Refused(thrown)| thrown)?;
    }
    let mut whole = match whole.0.object() {
        Some(object) => object::copy(object)?,
        None => whole.0,
    };
    if let Some(object) = whole.object_mut() {
        tree::bind(object, &mut members)?;
    }
    Ok(whole)
}

/// Returns the steps of a chain of these canvases.
pub(crate) fn chain(tasks: Vec<Zval>) -> Result<Vec<Zval>, Thrown> {
    let items = tasks.iter().map(|task| Item(task.shallow_clone()));
    let steps = canvas::chain(items.collect()).map_err(|Refused(thrown)| thrown)?;
    if steps.is_empty() {
        // As in Celery, a chain of empty groups is called as one of them.
        return Ok(tasks);
    }
    Ok(steps.into_iter().map(|step| step.0).collect())
}
