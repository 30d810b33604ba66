//! Calls to a broker: posting a task or a batch, posting without waiting, and revoking.

use std::time::Duration;

use celery_client::blocking::Deadline;
use celery_client::redis::blocking::{Publish, Revoke};
use celery_client::{ClientError, Endpoint, PublishError};
use celery_protocol::control::Request;

use crate::classes::retry_policy::RetryPolicy;
use crate::connection::Connection;
use crate::ffi::interrupt;
use crate::ffi::throw::{self, Kind, Thrown};
use crate::pool::Limits;
use crate::post::{self, Message};
use crate::replies::{self, Wanted};
use crate::{errors, pipeline, pool, settings};

/// How a post is carried out.
pub(crate) struct How {
    pub(crate) mode: settings::Publish,
    /// The time for everything, repetitions included.
    pub(crate) timeout: Duration,
    pub(crate) limits: Limits,
    /// How often a post that did not reach the broker is repeated.
    pub(crate) retry: Option<RetryPolicy>,
    /// The exception of a post that was not confirmed.
    pub(crate) failure: Kind,
}

impl How {
    /// Returns what php.ini says.
    fn configured() -> Result<Self, Thrown> {
        let settings = settings::current();
        Ok(How {
            mode: settings.publish.clone().map_err(Thrown::celery)?,
            timeout: settings.post_timeout,
            limits: Limits::default(),
            retry: None,
            failure: Kind::Publish,
        })
    }

    /// Refuses what the broker cannot do.
    fn check(&self, broker: &Connection) -> Result<(), Thrown> {
        if !broker.is_rabbitmq() {
            return Ok(());
        }
        let settings = settings::current();
        let queue_type = settings.create_missing.clone();
        queue_type.map_err(Thrown::celery)?;
        match self.mode {
            settings::Publish::Confirmed | settings::Publish::Pipelined => Ok(()),
            settings::Publish::Once => Err(not_on_rabbitmq(
                "publishing a task once (celery.publish=once)",
                "RabbitMQ cannot find out that it has a task already. Use confirmed.",
            )),
        }
    }
}

fn not_on_rabbitmq(what: &str, instead: &str) -> Thrown {
    errors::not_sent(format!("{what} is not supported with RabbitMQ. {instead}"))
}

/// Posts a message and waits for the broker's answer, as php.ini says.
pub(crate) fn publish(
    broker: &Connection,
    message: &Message,
    wanted: &Wanted,
) -> Result<(), Thrown> {
    nothing_pending()?;
    publish_as(broker, message, wanted, &How::configured()?)
}

/// Posts a message and waits for the broker's answer. The queues for the replies that are wanted
/// exist before.
pub(crate) fn publish_as(
    broker: &Connection,
    message: &Message,
    wanted: &Wanted,
    how: &How,
) -> Result<(), Thrown> {
    nothing_pending()?;
    how.check(broker)?;
    let deadline = Deadline::after(how.timeout);
    let attempt = || {
        prepare_replies(broker, wanted, how, deadline)?;
        publish_now(broker, message, how, deadline)
    };
    let was_not_reached =
        |outcome: &Result<(), ClientError>| outcome.as_ref().is_err_and(errors::was_not_reached);
    repeated(how.retry, deadline, attempt, was_not_reached)?
        .map_err(|error| errors::publish(how.failure, message.task_id(), broker, error))
}

/// Makes sure that the queues for replies exist.
fn prepare_replies(
    broker: &Connection,
    wanted: &Wanted,
    how: &How,
    deadline: Deadline,
) -> Result<(), ClientError> {
    match &broker.endpoint {
        Endpoint::Redis(_) => Ok(()),
        Endpoint::Amqp(endpoint) => {
            let source = replies::Source {
                connection: broker,
                endpoint,
                limits: how.limits,
            };
            replies::prepare(source, wanted, deadline)
        }
    }
}

/// Posts a message once, by the driver of its broker.
fn publish_now(
    broker: &Connection,
    message: &Message,
    how: &How,
    deadline: Deadline,
) -> Result<(), ClientError> {
    match (&broker.endpoint, message) {
        (Endpoint::Redis(endpoint), Message::Redis(message)) => match confirmed(how.mode) {
            None => pipeline::post(endpoint, how.limits, deadline, |client, wait| {
                client.publish_later(message, wait)
            })
            .map_err(Into::into),
            Some(mode) => pool::with_limits(endpoint, how.limits, deadline, |client, wait| {
                client.publish(message, mode, wait).map_err(Into::into)
            }),
        },
        (Endpoint::Amqp(endpoint), Message::Amqp(message)) => match confirmed(how.mode) {
            None => pipeline::post(endpoint, how.limits, deadline, |client, wait| {
                client.publish_later(&message.post, wait)
            })
            .map_err(Into::into),
            Some(_) => pool::with_limits(endpoint, how.limits, deadline, |client, wait| {
                client.publish(&message.post, wait).map_err(Into::into)
            }),
        },
        _ => Err(other_broker()),
    }
}

/// Posts messages once, by the driver of their broker.
fn publish_all_now(
    broker: &Connection,
    messages: &[Message],
    how: &How,
    deadline: Deadline,
) -> Result<Vec<Result<(), PublishError>>, ClientError> {
    match &broker.endpoint {
        Endpoint::Redis(endpoint) => {
            let posts: Option<Vec<&post::OnRedis>> =
                messages.iter().map(Message::on_redis).collect();
            let posts = posts.ok_or_else(other_broker)?;
            let mode = confirmed(how.mode).unwrap_or(Publish::Confirmed);
            pool::with_limits(endpoint, how.limits, deadline, |client, wait| {
                Ok(client.publish_batch(&posts, mode, wait))
            })
        }
        Endpoint::Amqp(endpoint) => {
            let posts: Option<Vec<_>> = messages.iter().map(Message::on_rabbitmq).collect();
            let posts = posts.ok_or_else(other_broker)?;
            pool::with_limits(endpoint, how.limits, deadline, |client, wait| {
                Ok(client.publish_batch(&posts, wait))
            })
        }
    }
}

/// Returns the error of a message that was written for another kind of broker. Each message is
/// written for the broker that it is then posted to.
fn other_broker() -> ClientError {
    ClientError::Protocol("the message was written for another kind of broker".to_owned())
}

/// Tries until the broker is reached, as the policy allows. `was_not_reached` says whether a try was
/// in vain because of the network: a post that was written is not repeated here. An error means that
/// PHP code has thrown.
fn repeated<T>(
    retry: Option<RetryPolicy>,
    deadline: Deadline,
    mut attempt: impl FnMut() -> T,
    was_not_reached: impl Fn(&T) -> bool,
) -> Result<T, Thrown> {
    let mut repetition = 0;
    loop {
        let outcome = attempt();
        let Some(policy) = retry else {
            return Ok(outcome);
        };
        let pause = policy.pause(repetition);
        let may_repeat = policy
            .max_retries
            .is_none_or(|most| u64::from(repetition) < most);
        if throw::is_pending()
            || !may_repeat
            || !was_not_reached(&outcome)
            || deadline.remaining() <= pause
        {
            return Ok(outcome);
        }
        interrupt::pause(pause).map_err(|interrupt::Raised| Thrown::Pending)?;
        repetition += 1;
    }
}

/// Posts messages to a broker in one round trip, as php.ini says.
///
/// `reserve` holds the PHP memory that an exception with the ids of all tasks needs. It is dropped
/// before such an exception is made. After success it is returned.
pub(crate) fn publish_batch<R>(
    broker: &Connection,
    messages: &[Message],
    wanted: &Wanted,
    reserve: R,
) -> Result<R, Thrown> {
    nothing_pending()?;
    let how = How::configured()?;
    let failures = failures_of_batch(broker, messages, wanted, &how)?;
    nothing_pending()?;
    if failures.is_empty() {
        return Ok(reserve);
    }
    drop(reserve);
    Err(errors::of_batch(
        how.failure,
        broker,
        failures,
        messages.len(),
    ))
}

/// Posts messages to a broker in one round trip. Returns the failures of those that were not
/// confirmed.
pub(crate) fn failures_of_batch(
    broker: &Connection,
    messages: &[Message],
    wanted: &Wanted,
    how: &How,
) -> Result<Vec<PublishError>, Thrown> {
    nothing_pending()?;
    how.check(broker)?;
    let deadline = Deadline::after(how.timeout);
    let attempt = || {
        prepare_replies(broker, wanted, how, deadline)?;
        let outcomes = publish_all_now(broker, messages, how, deadline)?;
        Ok(outcomes.into_iter().filter_map(Result::err).collect())
    };
    let was_not_reached = |outcome: &Result<Vec<PublishError>, ClientError>| match outcome {
        Ok(failures) => {
            !failures.is_empty()
                && failures.len() == messages.len()
                && failures.iter().all(errors::post_was_not_reached)
        }
        Err(error) => errors::was_not_reached(error),
    };
    repeated(how.retry, deadline, attempt, was_not_reached)?
        .map_err(|error| errors::command("post the tasks", broker, error))
}

/// Ends the call if PHP code has thrown, or if a fatal error has been deferred.
///
/// Each call checks this before it sends anything. Otherwise the fatal error would end the script,
/// and the caller would not know what was sent.
fn nothing_pending() -> Result<(), Thrown> {
    if throw::is_pending() {
        Err(Thrown::Pending)
    } else {
        Ok(())
    }
}

/// Reads the answers of pipelined posts, within `celery.post_timeout`.
pub(crate) fn flush(broker: &Connection) -> Result<(), Thrown> {
    let deadline = Deadline::after(settings::current().post_timeout);
    let failures = match &broker.endpoint {
        Endpoint::Redis(endpoint) => pipeline::flush(endpoint, deadline),
        Endpoint::Amqp(endpoint) => pipeline::flush(endpoint, deadline),
    };
    nothing_pending()?;
    if failures.is_empty() {
        Ok(())
    } else {
        Err(errors::unconfirmed(Kind::Publish, broker, failures))
    }
}

/// Returns how to wait for an answer, or `None` if the post is pipelined.
fn confirmed(mode: settings::Publish) -> Option<Publish> {
    match mode {
        settings::Publish::Confirmed => Some(Publish::Confirmed),
        settings::Publish::Once => Some(Publish::Once),
        settings::Publish::Pipelined => None,
    }
}

/// Asks all workers to skip a task.
pub(crate) fn revoke(broker: &Connection, task_id: &str) -> Result<(), Thrown> {
    let time = settings::current().command_timeout;
    let limits = Limits::default();
    revoke_all(broker, limits, &[task_id], false, "SIGTERM", time)
}

/// Asks all workers to skip tasks, and to end those that run if `terminate` is set.
pub(crate) fn revoke_all(
    broker: &Connection,
    limits: Limits,
    task_ids: &[&str],
    terminate: bool,
    signal: &str,
    time: Duration,
) -> Result<(), Thrown> {
    let deadline = Deadline::after(time);
    let sent = match &broker.endpoint {
        // On Redis, a revocation is repeated if its answer is lost.
        Endpoint::Redis(endpoint) => {
            let revoke = Revoke {
                task_ids,
                terminate,
                signal,
            };
            pool::with_limits(endpoint, limits, deadline, |client, wait| {
                client.revoke(&revoke, wait).map(drop)
            })
        }
        Endpoint::Amqp(endpoint) => {
            pool::with_limits(endpoint, limits, deadline, |client, wait| {
                let request = Request::revoke(task_ids, terminate, signal);
                client.broadcast(&request, wait).map(drop)
            })
        }
    };
    sent.map_err(|error| errors::command("revoke the task", broker, error))
}
