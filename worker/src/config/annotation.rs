//! Reads annotations: changes of tasks by their names, in the file of settings.

use std::time::Duration;

use celery_protocol::duration;
use serde::Deserialize;

use super::declaration::Config;
use super::value::{ConfigError, Text};
use crate::delivery::Until;
use crate::task::{ArgumentPath, FleetLimits, MaxRetries, Policy, Rate, Uniqueness};

/// The key of annotations, as an error names it.
const ANNOTATIONS: &str = "annotations (in the file of --config)";

/// One argument or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Arguments {
    One(Text),
    Several(Vec<Text>),
}

impl Arguments {
    fn paths(&self) -> Vec<ArgumentPath> {
        let texts = match self {
            Arguments::One(text) => std::slice::from_ref(text),
            Arguments::Several(texts) => texts,
        };
        let path = |text: &Text| ArgumentPath::parse(&text.to_string());
        texts.iter().map(path).collect()
    }
}

/// What an annotation changes of a task. The names are those of Celery's attributes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Annotation {
    time_limit: Option<Text>,
    soft_time_limit: Option<Text>,
    rate_limit: Option<Text>,
    max_concurrency: Option<u32>,
    fleet_rate_limit: Option<Text>,
    limit_by: Option<Text>,
    unique: Option<Text>,
    unique_by: Option<Arguments>,
    max_retries: Option<u32>,
    default_retry_delay: Option<Text>,
    track_started: Option<bool>,
    ignore_result: Option<bool>,
    store_errors_even_if_ignored: Option<bool>,
    acks_late: Option<bool>,
    reject_on_worker_lost: Option<bool>,
    acks_on_failure: Option<bool>,
    acks_on_timeout: Option<bool>,
    acks_on_failure_or_timeout: Option<bool>,
}

impl Annotation {
    /// Changes the policy of a task. A time limit of zero means none.
    fn apply(&self, policy: &mut Policy) -> Result<(), String> {
        let time = |text: &Option<Text>| match text {
            None => Ok(None),
            Some(text) => match duration::parse(&text.to_string()) {
                Ok(time) => Ok(Some(time)),
                Err(error) => Err(error.to_string()),
            },
        };
        let limit = |time: Duration| (!time.is_zero()).then_some(time);
        if let Some(time) = time(&self.time_limit)? {
            policy.time_limit = limit(time);
        }
        if let Some(time) = time(&self.soft_time_limit)? {
            policy.soft_time_limit = limit(time);
        }
        if let Some(time) = time(&self.default_retry_delay)? {
            policy.retry_delay = Some(time);
        }
        if let Some(rate) = &self.rate_limit {
            let rate = Rate::parse(&rate.to_string()).map_err(|error| error.to_string())?;
            policy.rate_limit = rate;
        }
        self.limit_fleet(&mut policy.fleet)?;
        self.unify(&mut policy.unique)?;
        let most = self.max_retries.map(MaxRetries::Limited);
        policy.max_retries = most.or(policy.max_retries);
        let early = self.acks_late.map(|late| !late);
        policy.acks_early = early.unwrap_or(policy.acks_early);
        let fails = self.reject_on_worker_lost.map(|rejects| !rejects);
        policy.fails_when_lost = fails.unwrap_or(policy.fails_when_lost);
        let both = self.acks_on_failure_or_timeout;
        let kept = self.acks_on_failure.or(both).map(|acks| !acks);
        policy.keeps_failed = kept.unwrap_or(policy.keeps_failed);
        let requeued = self.acks_on_timeout.or(both).map(|acks| !acks);
        policy.requeues_late = requeued.unwrap_or(policy.requeues_late);
        policy.track_started = self.track_started.unwrap_or(policy.track_started);
        policy.ignore_result = self.ignore_result.unwrap_or(policy.ignore_result);
        policy.store_errors = self
            .store_errors_even_if_ignored
            .unwrap_or(policy.store_errors);
        Ok(())
    }

    /// Changes the limits that hold across all workers.
    fn limit_fleet(&self, limits: &mut FleetLimits) -> Result<(), String> {
        if let Some(most) = self.max_concurrency {
            limits.max_concurrency = (most > 0).then_some(most);
        }
        if let Some(rate) = &self.fleet_rate_limit {
            let rate = Rate::parse(&rate.to_string()).map_err(|error| error.to_string())?;
            limits.rate = rate;
        }
        if let Some(by) = &self.limit_by {
            limits.by = Some(ArgumentPath::parse(&by.to_string()));
        }
        limits.check_size()
    }

    /// Changes what makes the calls unique.
    fn unify(&self, unique: &mut Uniqueness) -> Result<(), String> {
        if let Some(until) = &self.unique {
            unique.until = match until.to_string().as_str() {
                "0" => None,
                text => Some(Until::parse(text)?),
            };
        }
        if let Some(by) = &self.unique_by {
            unique.by = by.paths();
        }
        Ok(())
    }
}

impl Config {
    /// Refuses annotations that cannot be used.
    pub(super) fn check_annotations(&self) -> Result<(), ConfigError> {
        for (name, annotation) in &self.annotations {
            annotation
                .apply(&mut Policy::default())
                .map_err(|cause| ConfigError::new(ANNOTATIONS, format!("{name}: {cause}")))?;
        }
        Ok(())
    }

    /// Completes the policy of a task with the settings for all tasks, and changes it by its
    /// annotations. As in Celery, the annotation of `*` comes last and therefore prevails.
    pub(crate) fn complete_policy(&self, task: &str, policy: &mut Policy) {
        let limit = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero());
        policy.time_limit = policy.time_limit.or(limit(self.time_limit));
        policy.soft_time_limit = policy.soft_time_limit.or(limit(self.soft_time_limit));
        policy.rate_limit.clone_from(&self.default_rate_limit);
        policy.track_started |= self.track_started;
        policy.ignore_result |= self.ignore_result;
        policy.store_errors |= self.store_errors_even_if_ignored;
        for name in [task, "*"] {
            if let Some(annotation) = self.annotations.get(name) {
                // Every annotation was checked with the settings.
                let _ = annotation.apply(policy);
            }
        }
        if self.disable_rate_limits {
            policy.rate_limit = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn policy(toml: &str, task: &str) -> Policy {
        let config = Config::new(Settings::from_toml(toml).unwrap()).unwrap();
        let mut policy = Policy {
            max_retries: Some(MaxRetries::Limited(3)),
            ..Policy::default()
        };
        config.complete_policy(task, &mut policy);
        policy
    }

    #[test]
    fn annotations_prevail_over_the_settings_for_all_tasks() {
        let toml = "
            time_limit = 60
            task_ignore_result = true
            [annotations.'proj.add']
            time_limit = '2s'
            max_retries = 5
            ignore_result = false
            [annotations.'proj.free']
            time_limit = 0
            default_retry_delay = 1.5
        ";
        let add = policy(toml, "proj.add");
        assert_eq!(add.time_limit, Some(Duration::from_secs(2)));
        assert_eq!(
            (add.max_retries, add.ignore_result),
            (Some(MaxRetries::Limited(5)), false)
        );
        let free = policy(toml, "proj.free");
        assert_eq!(free.time_limit, None);
        assert_eq!(free.retry_delay, Some(Duration::from_millis(1500)));
        let other = policy(toml, "proj.other");
        assert_eq!(other.time_limit, Some(Duration::from_mins(1)));
        assert_eq!(
            (other.max_retries, other.ignore_result),
            (Some(MaxRetries::Limited(3)), true)
        );
    }

    #[test]
    fn the_annotation_of_all_tasks_comes_last() {
        let toml = "
            [task_annotations.'*']
            soft_time_limit = 5
            [task_annotations.'proj.add']
            soft_time_limit = 1
            store_errors_even_if_ignored = true
        ";
        let add = policy(toml, "proj.add");
        assert_eq!(add.soft_time_limit, Some(Duration::from_secs(5)));
        assert!(add.store_errors);
    }

    #[test]
    fn rate_limits_come_from_the_setting_and_annotations() {
        let rate = |toml: &str, task: &str| {
            let rate = policy(toml, task).rate_limit;
            rate.map(|rate| rate.to_string())
        };
        let toml = "
            task_default_rate_limit = '100/m'
            [annotations.'proj.add']
            rate_limit = 5
            [annotations.'proj.free']
            rate_limit = 0
        ";
        assert_eq!(rate(toml, "proj.add").as_deref(), Some("5"));
        assert_eq!(rate(toml, "proj.free"), None);
        assert_eq!(rate(toml, "proj.other").as_deref(), Some("100/m"));
        let disabled = format!("worker_disable_rate_limits = true\n{toml}");
        for task in ["proj.add", "proj.free", "proj.other"] {
            assert_eq!(rate(&disabled, task), None);
        }
    }

    #[test]
    fn limits_across_all_workers_come_from_annotations() {
        let toml = "
            [annotations.'proj.add']
            max_concurrency = 2
            limit_by = 1
            [annotations.'proj.mail']
            fleet_rate_limit = '100/m'
            limit_by = 'tenant'
            [annotations.'proj.free']
            max_concurrency = 0
            fleet_rate_limit = 0
        ";
        let add = policy(toml, "proj.add").fleet;
        assert_eq!((add.max_concurrency, add.interval()), (Some(2), None));
        assert_eq!(add.by, Some(ArgumentPath::parse("1")));
        let mail = policy(toml, "proj.mail").fleet;
        assert_eq!(mail.interval(), Some(Duration::from_millis(600)));
        assert_eq!(mail.by, Some(ArgumentPath::parse("tenant")));
        for task in ["proj.free", "proj.other"] {
            assert!(!policy(toml, task).fleet.are_set(), "{task}");
        }
    }

    #[test]
    fn annotations_make_tasks_unique() {
        let toml = "
            [annotations.'proj.add']
            unique = 'until_done'
            unique_by = [0, 'order.id']
            [annotations.'proj.mail']
            unique = 90
            unique_by = 'order'
            [annotations.'proj.free']
            unique = 0
        ";
        let add = policy(toml, "proj.add").unique;
        assert_eq!(add.until, Some(Until::Done));
        assert_eq!(add.by_text().as_deref(), Some("0,order.id"));
        let mail = policy(toml, "proj.mail").unique;
        assert_eq!(mail.until, Some(Until::Time(Duration::from_secs(90))));
        assert_eq!(mail.by_text().as_deref(), Some("order"));
        for task in ["proj.free", "proj.other"] {
            assert_eq!(policy(toml, task).unique, Uniqueness::default(), "{task}");
        }
    }

    #[test]
    fn a_wrong_annotation_is_named() {
        for (toml, part) in [
            ("[annotations.x]\nserializer = 'yaml'", "serializer"),
            (
                "[annotations.x]\nrate_limit = '10/d'",
                "x: \"10/d\" is not a rate",
            ),
            (
                "[annotations.x]\ntime_limit = 'soon'",
                "x: \"soon\" is not a time",
            ),
            (
                "[annotations.x]\nmax_concurrency = 10001",
                "x: max_concurrency (10001) is above 10000",
            ),
            (
                "[annotations.x]\nfleet_rate_limit = '1/d'",
                "x: \"1/d\" is not a rate",
            ),
            (
                "[annotations.x]\nunique = 'always'",
                "x: \"always\" is not a value of unique",
            ),
            ("[annotations.x]\nmax_retries = -1", "line 2"),
            ("[annotations]\nx = 5", "line 2"),
        ] {
            let error = Settings::from_toml(toml).and_then(Config::new).unwrap_err();
            assert!(error.to_string().contains(part), "{toml}: {error}");
        }
    }
}
