//! Queues: declared, looked at, deleted.
//!
//! A queue that may exist is never declared with guessed arguments, because the broker refuses
//! arguments that differ from those of the queue (406). It is looked at first.

use celery_protocol::amqp::{Method, Reply, Reserved, Short, TableBuf};

use super::client::Client;
use super::link::{Link, OTHERS, unexpected_reply};
use super::post::{Home, Post};
use crate::amqp::declaration::{self, NOT_FOUND, PRECONDITION_FAILED};
use crate::amqp::{ACCESS_REFUSED, Queue, QueueState, QueueType};
use crate::blocking::Wait;
use crate::error::ClientError;

/// What a declaration of a queue waits for.
const DECLARED: &str = "the answer to the declaration of a queue";
/// The number of declarations that are sent before an answer is read.
const AT_ONCE: usize = 200;

impl Client {
    /// Declares a queue.
    ///
    /// # Errors
    /// [`ClientError::Broker`] with the code 406 if the queue exists with other arguments.
    pub fn declare_queue(
        &mut self,
        queue: &Queue<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<QueueState, ClientError> {
        self.call(wait, |link, wait| declare(link, queue, wait))
    }

    /// Declares queues in one go. One that exists with other arguments stays as it is.
    ///
    /// # Errors
    /// [`ClientError::Broker`] with the code 403 if the user may not declare one of them.
    pub fn declare_queues(
        &mut self,
        queues: &[Queue<'_>],
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        self.call(wait, |link, wait| {
            queues
                .chunks(AT_ONCE)
                .try_for_each(|some| declare_some(link, some, wait))
        })
    }

    /// Removes all messages of a queue. Returns their number, or `None` if the queue does not exist.
    ///
    /// # Errors
    /// Any [`ClientError`] that prevents an answer.
    pub fn purge_queue(
        &mut self,
        name: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<u32>, ClientError> {
        self.call(wait, |link, wait| {
            let purge = Method::QueuePurge {
                ticket: Reserved::default(),
                queue: short(name)?,
                no_wait: false,
            };
            match link.ask(&purge, wait, "the answer to the purge of a queue")? {
                Ok(Reply::Removed(messages)) => Ok(Some(messages)),
                Ok(other) => Err(unexpected_reply(&other)),
                Err(close) if close.code == NOT_FOUND => Ok(None),
                Err(close) => Err(ClientError::Broker(close)),
            }
        })
    }

    /// Returns the state of a queue, or `None` if it does not exist.
    ///
    /// # Errors
    /// Any [`ClientError`] that prevents an answer.
    pub fn queue_state(
        &mut self,
        name: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<QueueState>, ClientError> {
        self.call(wait, |link, wait| look(link, name, wait))
    }

    /// Deletes a queue with its messages. Returns the number of messages that were ready; it is 0
    /// for a queue that does not exist.
    ///
    /// # Errors
    /// Any [`ClientError`] that prevents an answer.
    pub fn delete_queue(&mut self, name: &str, wait: &mut Wait<'_>) -> Result<u32, ClientError> {
        self.call(wait, |link, wait| {
            let delete = Method::QueueDelete {
                ticket: Reserved::default(),
                queue: short(name)?,
                if_unused: false,
                if_empty: false,
                no_wait: false,
            };
            match link.ask(&delete, wait, "the answer to the deletion of a queue")? {
                Ok(Reply::Removed(messages)) => Ok(messages),
                Ok(other) => Err(unexpected_reply(&other)),
                Err(close) => Err(ClientError::Broker(close)),
            }
        })
    }

    /// Creates what a returned post has missed, as Celery does: a direct exchange, and a queue bound
    /// by its name. A queue that exists already stays as it is.
    pub(super) fn create_missing(
        &mut self,
        home: Home<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        let kind = self.options.create_missing;
        self.call(wait, |link, wait| create(link, home, kind, wait))
    }

    /// Looks for the named exchanges of posts, and creates those that are missing if the post says
    /// how. A connection asks once for each exchange. A post to an exchange that does not exist
    /// would close the channel, and leave the outcome of the posts before it unknown.
    pub(super) fn find_exchanges(
        &self,
        link: &mut Link,
        posts: &[&Post],
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        let Some(kind) = self.options.create_missing else {
            return Ok(());
        };
        for post in posts.iter().filter(|post| !post.exchange.is_empty()) {
            let Some(home) = post.home() else { continue };
            if link.exchanges.contains(home.exchange) {
                continue;
            }
            if !exchange_exists(link, home.exchange, wait)? {
                create(link, home, Some(kind), wait)?;
            }
            link.exchanges.insert(home.exchange.to_owned());
        }
        Ok(())
    }
}

fn short(name: &str) -> Result<Short<'_>, ClientError> {
    Short::new(name).map_err(ClientError::Unsendable)
}

/// Creates a queue, its exchange and the binding, as far as they are missing.
fn create(
    link: &mut Link,
    home: Home<'_>,
    kind: Option<QueueType>,
    wait: &mut Wait<'_>,
) -> Result<(), ClientError> {
    let mut exists = look(link, home.queue, wait)?.is_some();
    if !exists {
        let mut queue = Queue::durable(home.queue);
        queue.set_type(kind.unwrap_or(QueueType::Classic));
        exists = match declare(link, &queue, wait) {
            Ok(_) => false,
            // Another program was faster, and declared it otherwise.
            Err(ClientError::Broker(close)) if close.code == PRECONDITION_FAILED => true,
            Err(error) => return Err(error),
        };
    }
    // A post without an exchange needs no binding, and another program's queue stays as it is.
    if exists && home.exchange == home.queue {
        return Ok(());
    }
    bind_as_celery(link, home, wait)
}

/// Returns `true` if an exchange of this name exists, whatever its kind.
fn exchange_exists(link: &mut Link, name: &str, wait: &mut Wait<'_>) -> Result<bool, ClientError> {
    let look = declaration::exchange(name, true).map_err(ClientError::Unsendable)?;
    match link.ask(&look, wait, "the answer to the look at an exchange")? {
        Ok(Reply::Done) => Ok(true),
        Ok(other) => Err(unexpected_reply(&other)),
        Err(close) if close.code == NOT_FOUND => Ok(false),
        Err(close) => Err(ClientError::Broker(close)),
    }
}

/// Declares queues without waiting between them.
fn declare_some(
    link: &mut Link,
    queues: &[Queue<'_>],
    wait: &mut Wait<'_>,
) -> Result<(), ClientError> {
    link.open_others()?;
    for queue in queues {
        let arguments = TableBuf::from_fields(&queue.arguments).map_err(ClientError::Unsendable)?;
        let declare = declaration::queue(queue, &arguments);
        let packed = declare.and_then(|declare| link.session.request(OTHERS, &declare));
        packed.map_err(ClientError::Unsendable)?;
    }
    for (done, _) in queues.iter().enumerate() {
        match link.wait_for_reply(OTHERS, wait, DECLARED)? {
            Ok(Reply::Queue { .. }) => {}
            Ok(other) => return Err(unexpected_reply(&other)),
            // The channel has ended, and with it all declarations that follow.
            Err(close) if close.code == PRECONDITION_FAILED => {
                return declare_some(link, queues.get(done + 1..).unwrap_or_default(), wait);
            }
            Err(close) => return Err(ClientError::Broker(close)),
        }
    }
    Ok(())
}

fn declare(
    link: &mut Link,
    queue: &Queue<'_>,
    wait: &mut Wait<'_>,
) -> Result<QueueState, ClientError> {
    let arguments = TableBuf::from_fields(&queue.arguments).map_err(ClientError::Unsendable)?;
    let declare = declaration::queue(queue, &arguments).map_err(ClientError::Unsendable)?;
    match link.ask(&declare, wait, DECLARED)? {
        Ok(reply) => state(reply),
        Err(close) => Err(ClientError::Broker(close)),
    }
}

pub(super) fn look(
    link: &mut Link,
    name: &str,
    wait: &mut Wait<'_>,
) -> Result<Option<QueueState>, ClientError> {
    let look = declaration::look_at_queue(name).map_err(ClientError::Unsendable)?;
    match link.ask(&look, wait, "the answer to the look at a queue")? {
        Ok(reply) => state(reply).map(Some),
        Err(close) if close.code == NOT_FOUND => Ok(None),
        Err(close) => Err(ClientError::Broker(close)),
    }
}

fn state(reply: Reply) -> Result<QueueState, ClientError> {
    declaration::state(reply).map_err(|other| unexpected_reply(&other))
}

/// Binds a queue to its exchange, which it declares unless one of this name exists.
fn bind_as_celery(link: &mut Link, home: Home<'_>, wait: &mut Wait<'_>) -> Result<(), ClientError> {
    let exchange = declaration::exchange(home.exchange, false).map_err(ClientError::Unsendable)?;
    let binding = declaration::binding(home.queue, home.exchange, home.queue);
    let binding = binding.map_err(ClientError::Unsendable)?;
    let exists = home.exchange != home.queue && exchange_exists(link, home.exchange, wait)?;
    let exchange = Some(exchange).filter(|_| !exists);
    for request in exchange.iter().chain([&binding]) {
        match link.ask(request, wait, "the answer to the binding of a queue")? {
            Ok(Reply::Done) => {}
            Ok(other) => return Err(unexpected_reply(&other)),
            // The user may write to the queue, and not read it. It exists now, and gets what is
            // published to the exchange without a name in any case.
            Err(close) if close.code == ACCESS_REFUSED && home.exchange == home.queue => {}
            Err(close) => return Err(ClientError::Broker(close)),
        }
    }
    Ok(())
}
