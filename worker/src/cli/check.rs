//! `celery-worker check`, and the warnings at the start: what about the broker could lose tasks.
//!
//! Everything is only asked, nothing changed. What Redis does not let us ask (CONFIG is often forbidden) is skipped.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celery_client::aio::{Connection, Failure};
use celery_client::endpoint::Endpoint;

use super::redis::{command, connect, items, text};
use crate::app::StartError;
use crate::config::{Config, ConfigError, setting};
use crate::database::Database;

/// The first version with the commands the scripts use.
const OLDEST: (u64, u64) = (6, 2);
/// Clocks further apart make Python workers restore tasks that are not lost, or not restore those that are.
const SKEW: Duration = Duration::from_secs(5);

/// Prints what is found; 1 if something is wrong.
pub(crate) async fn run(config: Config) -> Result<ExitCode, StartError> {
    let mut code = ExitCode::SUCCESS;
    let mut wrong = |text: String| {
        println!("WARNING  {text}");
        code = ExitCode::FAILURE;
    };
    let broker = config.broker.display_url();
    match findings(&config.broker).await {
        Ok(findings) => {
            println!("OK       broker {broker}: connected");
            findings.into_iter().for_each(&mut wrong);
        }
        Err(failure) => wrong(format!("broker {broker}: {failure}")),
    }
    if let Some(url) = &config.database {
        let database =
            Database::from_url(url).map_err(|error| ConfigError::new(setting::DATABASE, error))?;
        match database.ping().await {
            Ok(()) => {
                println!("OK       database {}: connected", database.display_url());
                match database.probe_inbox().await {
                    Ok(()) => println!("OK       table celery_inbox: there"),
                    Err(error) if config.inbox => wrong(format!(
                        "table celery_inbox, which tasks need to be applied once: {error}. It is made by:\n{}",
                        database.inbox_ddl()
                    )),
                    Err(_) => println!("OK       table celery_inbox: not there, and not needed"),
                }
            }
            Err(error) => wrong(format!("database {}: {error}", database.display_url())),
        }
    }
    Ok(code)
}

/// Logs what is found, once. A broker that is away is the consumer's affair.
pub(crate) async fn warn(broker: Endpoint) {
    for finding in findings(&broker).await.unwrap_or_default() {
        tracing::warn!("{finding}");
    }
}

/// A broker that is there and refuses us is a mistake in the settings; one that is away is not.
pub(crate) async fn broker_lets_us_in(broker: &Endpoint) -> Result<(), ConfigError> {
    let Err(failure) = connect(broker).await else {
        return Ok(());
    };
    let said = failure.to_string();
    let refused = [
        "WRONGPASS",
        "NOAUTH",
        "invalid password",
        "AUTH",
        "DB index is out of range",
    ];
    match refused.iter().any(|word| said.contains(word)) {
        true => Err(ConfigError::new(
            setting::BROKER,
            format!("{}: {said}", broker.display_url()),
        )),
        false => Ok(()),
    }
}

async fn findings(broker: &Endpoint) -> Result<Vec<String>, Failure> {
    let mut connection = connect(broker).await?;
    let mut findings = Vec::new();
    if let Ok(info) = connection.query(&command(&["INFO", "server"])).await {
        let info = text(&info);
        let version = field(&info, "redis_version").unwrap_or_default();
        if is_too_old(version) {
            let (major, minor) = OLDEST;
            findings.push(format!(
                "Redis {version} is older than {major}.{minor}, which the worker needs"
            ));
        }
    }
    let policy = setting_of(&mut connection, "maxmemory-policy").await;
    if let Some(policy) = policy.filter(|policy| policy != "noeviction") {
        findings.push(format!(
            "maxmemory-policy is {policy}: a full Redis would throw tasks away; set noeviction"
        ));
    }
    if let Ok(info) = connection.query(&command(&["INFO", "persistence"])).await
        && field(&text(&info), "aof_enabled") == Some("0")
    {
        findings.push(
            "appendonly is off: a Redis that crashes loses the tasks since its last snapshot"
                .to_owned(),
        );
    }
    if let Ok(time) = connection.query(&command(&["TIME"])).await {
        let seconds = items(time)
            .first()
            .and_then(|value| text(value).parse().ok());
        if let Some(skew) = seconds.map(|seconds| skew(seconds, SystemTime::now()))
            && skew > SKEW
        {
            findings.push(format!(
                "the clocks of Redis and this machine are {} s apart",
                skew.as_secs()
            ));
        }
    }
    Ok(findings)
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

/// What cannot be read counts as new.
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
