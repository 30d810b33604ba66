//! Refuses a URL with a password in a setting that does not expect one.
//!
//! Most settings are shown – in the banner, in the log, in the names of keys – and would show the
//! password with them.

use celery_client::mask::is_secret_url;

use super::value::{ConfigError, setting};
use super::{Settings, Steps};

impl Settings {
    /// Returns an error that names the first setting with a URL that belongs in another one.
    ///
    /// SQL tasks are not checked: a statement may have any text.
    pub(super) fn refuse_misplaced_urls(&self) -> Result<(), ConfigError> {
        // The pattern has no `..`, so that a new setting must be named here.
        let Settings {
            broker: _,
            result_backend: _,
            database: _,
            tasks: _,
            // These settings are numbers and booleans.
            database_connections: _,
            concurrency: _,
            prefetch_multiplier: _,
            eta_task_limit: _,
            exactly_once: _,
            key_prefix,
            result_key_prefix,
            result_expires,
            database_timeout,
            database_time_zone,
            queues,
            queue_order_strategy,
            queue_weights,
            priority_steps,
            sep,
            default_queue,
            routes,
            accept_content,
            hostname,
            loglevel,
            logfile,
            log_format,
            visibility_timeout,
            lease,
            inbox_expires,
            metrics_addr,
            soft_shutdown_timeout,
        } = self;
        let texts = [
            (setting::KEY_PREFIX, key_prefix),
            (setting::RESULT_KEY_PREFIX, result_key_prefix),
            (setting::DATABASE_TIME_ZONE, database_time_zone),
            (setting::QUEUE_ORDER_STRATEGY, queue_order_strategy),
            (setting::SEP, sep),
            (setting::DEFAULT_QUEUE, default_queue),
            (setting::HOSTNAME, hostname),
            (setting::LOGLEVEL, loglevel),
            (setting::LOG_FORMAT, log_format),
            (setting::METRICS_ADDR, metrics_addr),
        ];
        let times = [
            (setting::RESULT_EXPIRES, result_expires),
            (setting::DATABASE_TIMEOUT, database_timeout),
            (setting::VISIBILITY_TIMEOUT, visibility_timeout),
            (setting::LEASE, lease),
            (setting::INBOX_EXPIRES, inbox_expires),
            (setting::SOFT_SHUTDOWN_TIMEOUT, soft_shutdown_timeout),
        ];
        let lists = [
            (setting::QUEUES, queues),
            (setting::ACCEPT_CONTENT, accept_content),
        ];
        let given = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.clone()?)))
            .chain(
                times
                    .into_iter()
                    .filter_map(|(name, time)| Some((name, time.as_ref()?.to_string()))),
            )
            .chain(
                lists
                    .into_iter()
                    // A URL with commas was split at them.
                    .filter_map(|(name, list)| Some((name, list.as_ref()?.join(",")))),
            );
        let weighted = queue_weights.iter().flat_map(|all| all.keys().cloned());
        let steps = priority_steps.as_ref().and_then(|steps| match steps {
            Steps::Written(text) => Some((setting::PRIORITY_STEPS, text.clone())),
            Steps::Listed(_) => None,
        });
        let routes = routes.as_ref().map(|routes| match routes {
            Ok(routes) => (setting::ROUTES, routes.to_string()),
            Err(error) => (setting::ROUTES, error.to_string()),
        });
        let file = logfile.as_ref();
        let file = file.map(|path| (setting::LOGFILE, path.to_string_lossy().into_owned()));
        let all = given
            .chain(weighted.map(|queue| (setting::QUEUE_WEIGHTS, queue)))
            .chain(steps)
            .chain(routes)
            .chain(file);
        for (name, text) in all {
            if is_secret_url(&text) {
                let cause =
                    "the value is a URL, which belongs in broker, result_backend or database";
                return Err(ConfigError::new(name, cause));
            }
        }
        Ok(())
    }
}
