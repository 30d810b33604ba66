//! The settings of a broker on RabbitMQ, and those that it does not have.

use std::sync::Arc;

use celery_client::Endpoint;
use celery_client::amqp::QueueType;
use celery_client::redis::RedisEndpoint;

use super::checked::{Checked, quoted};
use super::declaration::{Config, SETTINGS};
use super::setting::Setting;
use super::value::ConfigError;
use crate::broker::Results;

/// The longest name of a queue: AMQP counts its bytes in one.
const LONGEST_NAME: usize = 255;
/// The first letters of names that RabbitMQ keeps for itself.
const RESERVED: &str = "amq.";
/// Why a broker on Redis has no result backend `rpc://`.
const NO_REPLIES: &str =
    "rpc:// means replies over RabbitMQ, and the broker is a Redis, which keeps results itself";
/// The queue of dead letters.
const DEAD: &str = "celery.dead";

/// The type of the queues that the worker creates. `None`: it creates none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CreateQueues(pub(crate) Option<QueueType>);

impl Checked for CreateQueues {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        match given.as_str() {
            "classic" => Ok(CreateQueues(Some(QueueType::Classic))),
            "quorum" => Ok(CreateQueues(Some(QueueType::Quorum))),
            "none" => Ok(CreateQueues(None)),
            other => Err(format!("{other:?} is not one of classic, quorum, none")),
        }
    }

    fn written(&self) -> Option<String> {
        let name = match self.0 {
            Some(QueueType::Classic) => "classic",
            Some(QueueType::Quorum) => "quorum",
            None => "none",
        };
        Some(quoted(name))
    }
}

impl Config {
    /// Returns the broker if it is a Redis.
    pub(crate) fn redis(&self) -> Option<&Arc<RedisEndpoint>> {
        match &self.broker {
            Endpoint::Redis(redis) => Some(redis),
            Endpoint::Amqp(_) => None,
        }
    }

    /// Returns the broker, which must be a Redis.
    ///
    /// # Errors
    /// [`ConfigError`] that names what needs one.
    pub(crate) fn redis_for(&self, what: &str) -> Result<&Arc<RedisEndpoint>, ConfigError> {
        let redis = self.redis();
        redis.ok_or_else(|| ConfigError::new(&SETTINGS.broker, needs_redis(what)))
    }

    /// Refuses the settings that need a broker on Redis, if it is a RabbitMQ, and replies without
    /// RabbitMQ. Without a result backend, RabbitMQ stores no results.
    pub(super) fn complete_rabbitmq(&mut self) -> Result<(), ConfigError> {
        if self.redis().is_some() {
            return match self.result_backend {
                Results::Replies => Err(ConfigError::new(&SETTINGS.result_backend, NO_REPLIES)),
                _ => Ok(()),
            };
        }
        let given: [(&Setting, bool); 6] = [
            (&SETTINGS.key_prefix, self.key_prefix.is_some()),
            (&SETTINGS.priority_steps, self.priority_steps.is_some()),
            (&SETTINGS.sep, self.sep.is_some()),
            (&SETTINGS.eta_task_limit, self.eta_task_limit.is_some()),
            (&SETTINGS.beat, self.beat),
            (&SETTINGS.fair_queues, self.fair_queues.is_some()),
        ];
        if let Some((setting, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            return Err(ConfigError::new(setting, needs_redis("it")));
        }
        if self.result_backend == Results::Broker {
            self.result_backend = Results::Disabled;
        }
        Ok(())
    }
}

/// Refuses names that queues on RabbitMQ cannot have, or that have another use.
pub(super) fn check_rabbitmq_names(queues: &[String]) -> Result<(), String> {
    for queue in queues {
        if queue.len() > LONGEST_NAME {
            return Err(format!("a name is longer than {LONGEST_NAME} bytes"));
        }
        if queue.starts_with(RESERVED) {
            return Err(format!(
                "{queue:?} begins with {RESERVED}, which RabbitMQ keeps"
            ));
        }
        if queue == DEAD {
            return Err(format!("{queue:?} is the queue of dead letters"));
        }
    }
    Ok(())
}

fn needs_redis(what: &str) -> String {
    format!("{what} needs a broker on Redis; this one is RabbitMQ")
}
