//! Checks settings that depend on each other, and lets each take effect on the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use celery_client::redis::RedisEndpoint;
use celery_protocol::names::check_queue_name;
use celery_protocol::redis_keys::{FAIR, Keys};

use super::checked::strategy_name;
use super::declaration::{Config, SETTINGS, Settings};
use super::log::LogFormat;
use super::node::{direct_queue, host, node_name, of_node};
use super::rabbitmq::check_rabbitmq_names;
use super::setting::Setting;
use super::value::ConfigError;
use crate::beat::{self, Section};
use crate::broker::{QueueOrder, Results};
use crate::database::Zone;

/// The largest weight. A larger one is a mistake: only the proportion of weights counts.
const MOST_WEIGHT: u32 = 100;

/// The key of entries of the schedules, as an error names it.
const SCHEDULES: &str = "schedules (in the file of --config)";

impl Config {
    /// Checks settings and fills in the defaults.
    pub(crate) fn new(settings: Settings) -> Result<Self, ConfigError> {
        settings.refuse_misplaced_urls()?;
        let mut config = Config::of_each(settings)?;
        config.complete_rabbitmq()?;
        config.complete_broker()?;
        config.complete_results()?;
        config.hostname = node_name(&config.hostname, &host());
        config.complete_queues()?;
        config.check_weights()?;
        config.check_fair_queues()?;
        config.check_log_fields()?;
        config.check_annotations()?;
        for file in [&mut config.logfile, &mut config.pidfile] {
            *file = file.take().map(|path| of_node(path, &config.hostname));
        }
        if config.disable_prefetch {
            config.prefetch_multiplier = Some(1);
        }
        Ok(config)
    }

    /// Checks the entries of the schedules, which may depend on the zone.
    pub(super) fn read_schedules(
        &mut self,
        sections: Option<&BTreeMap<String, Section>>,
    ) -> Result<(), ConfigError> {
        let zone = self.timezone.clone().unwrap_or_else(Zone::utc);
        let entries = sections.map(|sections| beat::check_file(sections, &zone));
        let entries = entries.transpose();
        self.schedules = entries.map_err(|cause| ConfigError::new(SCHEDULES, cause))?;
        Ok(())
    }

    /// Gives the broker its prefix, and kombu's transport options `priority_steps`, `sep` and
    /// `master_name`. The URL may have named each of them.
    fn complete_broker(&mut self) -> Result<(), ConfigError> {
        let Some(redis) = self.redis() else {
            return Ok(());
        };
        let mut broker = self
            .found_by_name(redis, &SETTINGS.broker)?
            .complete_key_prefix(self.key_prefix.as_deref(), "")
            .map_err(|cause| ConfigError::new(&SETTINGS.key_prefix, cause))?;
        if let Some(steps) = self.priority_steps.take() {
            broker = broker
                .with_priority_steps(steps)
                .map_err(|error| ConfigError::new(&SETTINGS.priority_steps, error))?;
        }
        if let Some(separator) = self.sep.take() {
            broker = broker
                .with_separator(separator)
                .map_err(|error| ConfigError::new(&SETTINGS.sep, error))?;
        }
        let prefix = Some(broker.key_prefix()).filter(|prefix| !prefix.is_empty());
        self.key_prefix = prefix.map(str::to_owned);
        self.priority_steps = broker.priority_steps().cloned();
        self.sep = broker.separator().cloned();
        self.broker = broker.into();
        Ok(())
    }

    /// Gives an endpoint the name of the master that its Sentinels watch, if it has Sentinels.
    fn found_by_name(
        &self,
        endpoint: &RedisEndpoint,
        setting: &Setting,
    ) -> Result<RedisEndpoint, ConfigError> {
        let name = self.master_name.as_deref();
        let named = endpoint.clone().with_master_name(name);
        named.map_err(|cause| ConfigError::new(setting, cause))
    }

    /// Gives the result backend its prefix. With another prefix than the broker's it counts as
    /// another server.
    fn complete_results(&mut self) -> Result<(), ConfigError> {
        let given = self.result_key_prefix.take();
        let broker = self.redis();
        let of_broker = broker.map_or("", |broker| broker.key_prefix());
        let server = match (&self.result_backend, broker) {
            (Results::Disabled | Results::Replies, _) | (Results::Broker, None) => return Ok(()),
            // Beside the keys of the broker, those of results may have another prefix.
            (Results::Broker, Some(broker)) => {
                let prefix = given.as_deref().unwrap_or(of_broker);
                Arc::new(RedisEndpoint::clone(broker).with_key_prefix(prefix))
            }
            (Results::Server(server), _) => Arc::clone(server),
        };
        let server = self
            .found_by_name(&server, &SETTINGS.result_backend)?
            .complete_key_prefix(given.as_deref(), of_broker)
            .map_err(|cause| ConfigError::new(&SETTINGS.result_key_prefix, cause))?;
        let is_other_prefix = server.key_prefix() != of_broker;
        let is_broker =
            broker.is_some_and(|broker| server.identity() == broker.identity()) && !is_other_prefix;
        self.result_key_prefix = is_other_prefix.then(|| server.key_prefix().to_owned());
        self.result_backend = if is_broker {
            Results::Broker
        } else {
            Results::Server(server.into())
        };
        Ok(())
    }

    /// Fills in the queue to consume, removes the excluded queues, and refuses queues whose lists
    /// would have the name of another key.
    fn complete_queues(&mut self) -> Result<(), ConfigError> {
        if self.queues.is_empty() {
            self.queues.push(self.default_queue.clone());
        }
        let excluded = self.exclude_queues.take().unwrap_or_default();
        let own = direct_queue(&self.hostname);
        if self.direct && !self.queues.contains(&own) {
            self.queues.push(own);
        }
        self.queues.retain(|queue| !excluded.contains(queue));
        if self.queues.is_empty() {
            let cause = "they exclude every queue; at least one is needed";
            return Err(ConfigError::new(&SETTINGS.exclude_queues, cause));
        }
        for queue in &self.queues {
            check_queue_name(queue).map_err(|error| ConfigError::new(&SETTINGS.queues, error))?;
        }
        let checked = self.check_names(&self.queues);
        checked.map_err(|cause| ConfigError::new(&SETTINGS.queues, cause))
    }

    /// Refuses names that queues cannot have together on this broker, or that have another use.
    pub(crate) fn check_names(&self, queues: &[String]) -> Result<(), String> {
        match self.redis() {
            Some(redis) => check_keys(redis, queues),
            None => check_rabbitmq_names(queues),
        }
    }

    fn check_weights(&self) -> Result<(), ConfigError> {
        let Some(weights) = &self.queue_weights else {
            return Ok(());
        };
        let wrong = |cause: String| Err(ConfigError::new(&SETTINGS.queue_weights, cause));
        if let Some(strategy) = &self.queue_order_strategy {
            return wrong(format!(
                "queue_order_strategy is already {:?}",
                strategy_name(strategy)
            ));
        }
        for (queue, weight) in weights {
            if !self.queues.contains(queue) {
                return wrong(format!("the queue {queue:?} is not consumed"));
            }
            if !(1..=MOST_WEIGHT).contains(weight) {
                return wrong(format!("{weight} is not between 1 and {MOST_WEIGHT}"));
            }
        }
        Ok(())
    }

    /// Refuses fair queues that are not consumed, a key that names no argument, and queues whose names
    /// are those of groups.
    fn check_fair_queues(&self) -> Result<(), ConfigError> {
        let Some(fair) = &self.fair_queues else {
            return Ok(());
        };
        let wrong = |cause: String| Err(ConfigError::new(&SETTINGS.fair_queues, cause));
        for (queue, key) in fair {
            if !self.queues.contains(queue) {
                return wrong(format!("the queue {queue:?} is not consumed"));
            }
            if key.split('.').any(str::is_empty) {
                return wrong(format!("{key:?} names no argument"));
            }
            let groups = format!("{queue}{FAIR}");
            if let Some(taken) = self.queues.iter().find(|other| other.starts_with(&groups)) {
                return wrong(format!(
                    "the queue {taken:?} has the name of a group of {queue:?}"
                ));
            }
        }
        Ok(())
    }

    fn check_log_fields(&self) -> Result<(), ConfigError> {
        if self.log_fields.is_some() && self.log_format == LogFormat::Text {
            let cause = "only lines of --log-format json have fields";
            return Err(ConfigError::new(&SETTINGS.log_fields, cause));
        }
        Ok(())
    }

    /// Returns the order of queues, which a strategy or weights define.
    pub(crate) fn queue_order(&self) -> QueueOrder {
        match (&self.queue_order_strategy, &self.queue_weights) {
            (_, Some(weights)) => QueueOrder::Weighted(weights.clone()),
            (Some(strategy), None) => strategy.clone(),
            (None, None) => QueueOrder::default(),
        }
    }

    /// Returns `true` if any task uses the inbox.
    pub(crate) fn inbox(&self) -> bool {
        self.exactly_once || self.tasks.values().any(|task| task.is_once(false))
    }

    /// Returns the names of all keys.
    pub(crate) fn keys(&self) -> Keys {
        match (self.redis(), &self.result_backend) {
            (Some(broker), Results::Server(server)) => {
                broker.keys_with_results(server.key_prefix())
            }
            (Some(broker), _) => broker.keys(),
            (None, Results::Server(server)) => server.keys(),
            (None, _) => Keys::default(),
        }
    }
}

/// Checks that each of these queues has keys of its own in the broker.
///
/// # Errors
///
/// What is wrong.
pub(super) fn check_keys(broker: &RedisEndpoint, queues: &[String]) -> Result<(), String> {
    let keys = Keys::default();
    let taken = [keys.unacked(), keys.unacked_index(), keys.dead()];
    if let Some(queue) = queues.iter().find(|queue| taken.contains(queue)) {
        return Err(format!(
            "{queue:?} is the key of messages that are not in a queue"
        ));
    }
    match broker.keys().overlap(queues) {
        Some((one, other)) => Err(format!(
            "with these priority_steps and this sep, {other:?} names a list of the queue {one:?}"
        )),
        None => Ok(()),
    }
}
