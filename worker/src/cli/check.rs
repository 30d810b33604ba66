//! `celery-worker check`, and the warnings at the start: finds settings and faults that could lose
//! tasks or results.
//!
//! The check reads from the broker, the result backend and the database, and changes nothing, except
//! that it declares the exchanges of remote control and events on RabbitMQ, as every worker does. It
//! skips a question that Redis refuses to answer (CONFIG is often forbidden).
//!
//! Exit codes:
//!
//! * 0 – nothing was found, or only warnings.
//! * 1 – something is wrong, or, with `--strict`, anything was found.
//! * 78 – a setting can never work. The worker does not start with it either, and exits with 78.

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celery_client::Endpoint;
use celery_client::aio::{Connection, Failure};
use celery_client::amqp::AmqpEndpoint;
use celery_client::backoff::Backoff;
use celery_client::redis::RedisEndpoint;
use celery_protocol::redis_keys::Keys;
use futures_util::future::join_all;

use super::finding::{Finding, Severity};
use super::held;
use super::locks;
use super::rabbitmq;
use super::redis::{command, connect, items, text};
use super::rights;
use crate::app::StartError;
use crate::broker::{ClaimMode, Results};
use crate::config::value::ConfigError;
use crate::config::{Config, SETTINGS, Settings};
use crate::database::{Database, Kind};
use crate::tasks::Statements;

/// The first version of Redis with the commands that the scripts use.
const OLDEST: (u64, u64) = (6, 2);
/// The largest harmless difference between clocks. With a larger one, Python workers restore tasks
/// that are not lost, or do not restore tasks that are lost.
const SKEW: Duration = Duration::from_secs(5);

/// How long all questions to one server may take. Each has a deadline of its own, but their number
/// depends on what the server holds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns what `asking` returns, unless that takes longer than `patience`.
async fn within<T>(
    patience: Duration,
    asking: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let asked = tokio::time::timeout(patience, Box::pin(asking)).await;
    asked.unwrap_or_else(|_| {
        Err(Failure::Silent(format!(
            "the answers took longer than {patience:?}"
        )))
    })
}

/// Returns the exit code of the check. With `strict`, a warning counts as an error.
fn exit_code(worst: Severity, strict: bool) -> ExitCode {
    match worst {
        Severity::Ok => ExitCode::SUCCESS,
        Severity::Warning if !strict => ExitCode::SUCCESS,
        Severity::Warning | Severity::Error => ExitCode::FAILURE,
        Severity::Mistake => ExitCode::from(super::CONFIG),
    }
}

/// Prints each finding on a line of its own to standard output, and returns the exit code.
pub(crate) async fn run(settings: Settings, strict: bool) -> Result<ExitCode, StartError> {
    let tasks = settings.tasks.clone();
    let config = Config::new(settings)?;
    let mut worst = Severity::Ok;
    let mut report = |finding: Finding| {
        worst = worst.max(finding.severity);
        println!("{finding}");
    };
    for server in Server::all(&config) {
        match within(PATIENCE, server.findings(&config)).await {
            Ok(findings) => {
                report(Finding::ok(format!("{server}: connected")));
                findings.into_iter().for_each(&mut report);
            }
            Err(failure @ Failure::Denied(_)) => {
                report(Finding::mistake(format!("{server}: {failure}")));
            }
            Err(failure) => report(Finding::error(format!("{server}: {failure}"))),
        }
    }
    if let Endpoint::Redis(redis) = &config.broker
        && let Ok(mut connection) = connect(redis).await
    {
        // Only here: looking through all keys would delay the start of a worker.
        let locks = locks::described(&mut connection, &config.keys()).await;
        locks.map(Finding::ok).into_iter().for_each(&mut report);
    }
    if !config.without_control {
        // A worker that starts finds out by itself, and logs it.
        let keys = config.keys();
        let asking = async {
            Ok(match &config.broker {
                Endpoint::Redis(redis) => rights::of_control(redis, &keys).await,
                Endpoint::Amqp(endpoint) => rabbitmq::of_control(endpoint, &config).await,
            })
        };
        match within(PATIENCE, asking).await {
            Ok(findings) => findings.into_iter().for_each(&mut report),
            Err(failure) => report(Finding::error(format!("remote control: {failure}"))),
        }
    }
    if let Some(url) = &config.database {
        let database =
            Database::from_url(url).map_err(|error| ConfigError::new(&SETTINGS.database, error))?;
        let statements = Statements::of(&tasks, database.dialect())?;
        let database = database.time_zone(config.database_time_zone.clone());
        let asking = async { Ok(of_database(&database, &config, &statements).await) };
        match within(PATIENCE, asking).await {
            Ok(findings) => findings.into_iter().for_each(&mut report),
            Err(failure) => {
                let name = database.display_url();
                report(Finding::error(format!("database {name}: {failure}")));
            }
        }
    }
    Ok(exit_code(worst, strict))
}

async fn of_database(
    database: &Database,
    config: &Config,
    statements: &Statements,
) -> Vec<Finding> {
    let name = format!("database {}", database.display_url());
    match database.ping().await {
        Ok(()) => {}
        Err(error) if error.kind() == Kind::Refused => {
            return vec![Finding::mistake(format!("{name}: {error}"))];
        }
        Err(error) => return vec![Finding::error(format!("{name}: {error}"))],
    }
    let inbox = match database.probe_inbox().await {
        Ok(()) => Finding::ok("table celery_inbox: exists"),
        Err(error) if config.inbox() => {
            let text = format!(
                "table celery_inbox, which exactly-once tasks need: {error}. Create it with:\n{}",
                database.inbox_ddl()
            );
            match error.kind() {
                Kind::Schema => Finding::mistake(text),
                _ => Finding::error(text),
            }
        }
        Err(_) => Finding::ok("table celery_inbox: missing, but not needed"),
    };
    let mut findings = vec![Finding::ok(format!("{name}: connected")), inbox];
    findings.extend(of_statements(database, statements).await);
    findings
}

async fn of_statements(database: &Database, statements: &Statements) -> Vec<Finding> {
    match statements.prepare(database).await {
        Ok(found) if found.is_empty() => match statements.count() {
            0 => Vec::new(),
            count => vec![Finding::ok(format!(
                "statements of SQL tasks: {count} prepared"
            ))],
        },
        Ok(found) => {
            let mistakes = found
                .mistakes
                .into_iter()
                .map(|mistake| Finding::mistake(format!("the statement of the task {mistake}")));
            mistakes
                .chain(found.warnings.into_iter().map(Finding::error))
                .collect()
        }
        Err(error) => vec![Finding::error(format!("statements of SQL tasks: {error}"))],
    }
}

/// Logs the findings once. A server that is away is asked when it is back; the consumer logs its
/// absence.
pub(crate) async fn warn(config: Config) {
    join_all(Server::all(&config).map(|server| server.warn(&config))).await;
}

/// Returns an error if a server is reachable but rejects the worker (wrong user, password or
/// database). A server that is away is not an error.
pub(crate) async fn check_logins(config: &Config) -> Result<(), ConfigError> {
    for server in Server::all(config) {
        server.check_login().await?;
    }
    Ok(())
}

/// A server, and its role for the worker.
#[derive(Clone, Copy)]
enum Server<'c> {
    Broker(&'c RedisEndpoint),
    Rabbitmq(&'c AmqpEndpoint),
    Results(&'c RedisEndpoint),
}

impl fmt::Display for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Broker(endpoint) => write!(f, "broker {endpoint}"),
            Server::Rabbitmq(endpoint) => write!(f, "broker {endpoint}"),
            Server::Results(endpoint) => write!(f, "result backend {endpoint}"),
        }
    }
}

impl<'c> Server<'c> {
    fn all(config: &'c Config) -> impl Iterator<Item = Server<'c>> {
        let results = match &config.result_backend {
            Results::Server(server) => Some(Server::Results(server)),
            Results::Broker | Results::Replies | Results::Disabled => None,
        };
        let broker = match &config.broker {
            Endpoint::Redis(redis) => Server::Broker(redis),
            Endpoint::Amqp(rabbitmq) => Server::Rabbitmq(rabbitmq),
        };
        std::iter::once(broker).chain(results)
    }

    async fn findings(self, config: &Config) -> Result<Vec<Finding>, Failure> {
        match self {
            Server::Broker(endpoint) => {
                let mut connection = connect(endpoint).await?;
                let mut findings = of_both(&mut connection).await;
                findings.extend(of_broker(&mut connection).await);
                let keys = config.keys();
                findings.extend(of_held_lists(&mut connection, &keys, config.lease).await);
                let rights = rights::of_broker(&mut connection, &keys, &config.queues).await;
                findings.extend(rights);
                if config.beat {
                    findings.extend(rights::of_schedules(&mut connection, &keys).await);
                }
                if config.claim != ClaimMode::Script {
                    findings.extend(rights::of_native_claims(&mut connection, &keys).await);
                }
                if config.result_backend == Results::Broker {
                    findings.extend(rights::of_results(&mut connection, &keys).await);
                }
                Ok(findings)
            }
            Server::Rabbitmq(endpoint) => {
                let problems = rabbitmq::problems(endpoint, config).await?;
                Ok(problems.into_iter().map(Finding::error).collect())
            }
            Server::Results(endpoint) => {
                let mut connection = connect(endpoint).await?;
                let mut findings = of_both(&mut connection).await;
                findings.extend(rights::of_results(&mut connection, &config.keys()).await);
                Ok(findings)
            }
        }
    }

    async fn warn(self, config: &Config) {
        let mut backoff = Backoff::new();
        loop {
            match self.findings(config).await {
                Ok(findings) => {
                    for finding in findings {
                        tracing::warn!("{self}: {}", finding.text);
                    }
                    return;
                }
                Err(_) => tokio::time::sleep(backoff.pause()).await,
            }
        }
    }

    async fn check_login(self) -> Result<(), ConfigError> {
        let (tried, setting) = match self {
            Server::Broker(endpoint) => (connect(endpoint).await.map(drop), &SETTINGS.broker),
            Server::Rabbitmq(endpoint) => (rabbitmq::log_in(endpoint).await, &SETTINGS.broker),
            Server::Results(endpoint) => {
                (connect(endpoint).await.map(drop), &SETTINGS.result_backend)
            }
        };
        match tried {
            Err(Failure::Denied(why)) => {
                let server = match self {
                    Server::Broker(endpoint) | Server::Results(endpoint) => endpoint.to_string(),
                    Server::Rabbitmq(endpoint) => endpoint.to_string(),
                };
                Err(ConfigError::new(setting, format!("{server}: {why}")))
            }
            _ => Ok(()),
        }
    }
}

/// Checks what matters for every server.
async fn of_both(connection: &mut Connection) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Ok(info) = connection.query(&command(&["INFO", "server"])).await {
        let info = text(&info);
        let version = field(&info, "redis_version").unwrap_or_default();
        if is_too_old(version) {
            let (major, minor) = OLDEST;
            findings.push(Finding::error(format!(
                "Redis {version} is older than {major}.{minor}, which the worker needs"
            )));
        }
    }
    findings
}

/// Checks what matters for the broker.
async fn of_broker(connection: &mut Connection) -> Vec<Finding> {
    let mut findings = Vec::new();
    let policy = setting_of(connection, "maxmemory-policy").await;
    if let Some(policy) = policy.filter(|policy| policy != "noeviction") {
        findings.push(Finding::warning(format!(
            "maxmemory-policy is {policy}: a full Redis would throw tasks away; set noeviction"
        )));
    }
    if let Ok(info) = connection.query(&command(&["INFO", "persistence"])).await
        && field(&text(&info), "aof_enabled") == Some("0")
    {
        findings.push(Finding::warning(
            "appendonly is off: a Redis that crashes loses the tasks since its last snapshot",
        ));
    }
    if let Ok(time) = connection.query(&command(&["TIME"])).await {
        let seconds = items(time)
            .first()
            .and_then(|value| text(value).parse().ok());
        if let Some(skew) = seconds.map(|seconds| skew(seconds, SystemTime::now()))
            && skew > SKEW
        {
            findings.push(Finding::warning(format!(
                "the clocks of Redis and this machine are {} s apart",
                skew.as_secs()
            )));
        }
    }
    findings
}

/// Reports messages in held lists whose owners are gone. Workers of this kind return them; others do
/// not.
async fn of_held_lists(connection: &mut Connection, keys: &Keys, lease: Duration) -> Vec<Finding> {
    let abandoned = held::abandoned(connection, keys, lease).await;
    let abandoned = abandoned.unwrap_or_default().into_iter();
    let told = abandoned.map(|found| {
        Finding::warning(format!(
            "{found}. A worker that starts returns them after its lease; without one, \
             `celery-worker dead replay --held` does"
        ))
    });
    told.collect()
}

async fn setting_of(connection: &mut Connection, name: &str) -> Option<String> {
    let answer = connection
        .query(&command(&["CONFIG", "GET", name]))
        .await
        .ok()?;
    items(answer).get(1).map(text)
}

fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// Returns `true` if the version is too old. A version that cannot be read counts as new.
fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u64>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < OLDEST,
        _ => false,
    }
}

fn skew(seconds: u64, now: SystemTime) -> Duration {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    now.abs_diff(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_answers_without_end_is_given_up() {
        let slow = within::<()>(Duration::from_millis(1), std::future::pending()).await;
        let why = slow.unwrap_err().to_string();
        assert_eq!(why, "the answers took longer than 1ms");
        assert!(within(PATIENCE, async { Ok(1) }).await.is_ok());
    }

    #[test]
    fn exit_codes() {
        for (worst, code, strict) in [
            (Severity::Ok, 0, 0),
            (Severity::Warning, 0, 1),
            (Severity::Error, 1, 1),
            (Severity::Mistake, 78, 78),
        ] {
            assert_eq!(exit_code(worst, false), ExitCode::from(code), "{worst:?}");
            assert_eq!(exit_code(worst, true), ExitCode::from(strict), "{worst:?}");
        }
    }

    #[test]
    fn versions() {
        assert!(is_too_old("6.0.16"));
        assert!(is_too_old("5.0"));
        for new in ["6.2.0", "7.0.15", "8.0-rc1", "10.0.0", "unknown"] {
            assert!(!is_too_old(new), "{new}");
        }
    }

    #[test]
    fn clocks() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(skew(90, now), Duration::from_secs(10));
        assert_eq!(skew(110, now), Duration::from_secs(10));
        assert_eq!(
            field("# Server\r\nredis_version:7.0.15\r\n", "redis_version"),
            Some("7.0.15")
        );
    }
}
