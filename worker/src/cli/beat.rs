//! `celery-worker beat list|run|enable|disable|import-redbeat`: handles the entries of the schedules.

use std::collections::HashMap;
use std::process::ExitCode;

use celery_client::aio::{Connection, Failure, Value, scripts};
use celery_client::mask::mask_misplaced;
use celery_client::redis::RedisEndpoint;
use celery_protocol::redis_keys::Keys;
use celery_protocol::schedule::NextDue;
use jiff::Timestamp;

use super::ended::ended;
use super::options::Beat;
use super::redbeat;
use super::redis::{command, connect, items, raw, text};
use crate::beat::{Outgoing, Sender, Zoned};
use crate::broker::redis::{read_written, write_call};
use crate::broker::schedules::Change;
use crate::config::Config;
use crate::events::Events;
use crate::printable::one_line;
use crate::trace::Traces;

/// How often a change is tried again that another program has overtaken.
const TRIES: usize = 5;

/// Runs the subcommand. Returns exit code 1 if Redis could not be reached or an entry could not be
/// handled.
pub(crate) async fn run(config: &Config, redis: &RedisEndpoint, command: Beat) -> ExitCode {
    let done = match connect(redis).await {
        Ok(connection) => {
            let mut schedules = Schedules {
                connection,
                keys: redis.keys(),
            };
            schedules.obey(config, command).await
        }
        Err(failure) => Err(failure),
    };
    ended(config, done)
}

/// A connection to the schedules.
pub(super) struct Schedules {
    pub(super) connection: Connection,
    pub(super) keys: Keys,
}

impl Schedules {
    async fn obey(&mut self, config: &Config, command: Beat) -> Result<bool, Failure> {
        match command {
            Beat::List => self.list().await,
            Beat::Run { name } => self.send(config, &name).await,
            Beat::Enable { names } => self.switch(&names, true).await,
            Beat::Disable { names } => self.switch(&names, false).await,
            Beat::ImportRedbeat { prefix } => {
                redbeat::import(self, &prefix, config.timezone.as_ref()).await
            }
        }
    }

    async fn list(&mut self) -> Result<bool, Failure> {
        let leader = self.ask(&["GET", &self.keys.beat_leader()]).await?;
        match text(&leader) {
            leader if leader.is_empty() => println!("no process leads"),
            leader => println!("{} leads", one_line(&leader)),
        }
        let due = pairs(
            self.ask(&["ZRANGE", &self.keys.beat_due(), "0", "-1", "WITHSCORES"])
                .await?,
        );
        let runs = pairs(self.ask(&["HGETALL", &self.keys.beat_runs()]).await?);
        let entries = pairs(self.ask(&["HGETALL", &self.keys.beat()]).await?);
        let mut names: Vec<&Vec<u8>> = entries.keys().collect();
        names.sort_unstable();
        let mut is_good = true;
        for name in names {
            let shown = String::from_utf8_lossy(name);
            let shown = one_line(&shown);
            match Zoned::read(&entries[name]) {
                Ok(entry) => {
                    let next = due.get(name).map(|score| moment(score));
                    let run = runs.get(name).map(Vec::as_slice);
                    println!("{shown}  {}", line(&entry, next, run));
                }
                Err(error) => {
                    println!("{shown}  cannot be read: {}", one_line(&error.to_string()));
                    is_good = false;
                }
            }
        }
        Ok(is_good)
    }

    /// Sends the task of an entry now, without a change of its due time.
    async fn send(&mut self, config: &Config, name: &str) -> Result<bool, Failure> {
        let Some(entry) = self.entry(name).await? else {
            return Ok(false);
        };
        let sender = Sender {
            origin: config.hostname.clone(),
            reply_to: uuid::Uuid::new_v4().to_string(),
            routes: config.routes.clone(),
            default_queue: config.default_queue.clone(),
            default_priority: config.default_priority,
            traces: Traces::default(),
            events: Events::default(),
        };
        let id = uuid::Uuid::new_v4().to_string();
        let time = items(self.ask(&["TIME"]).await?);
        let seconds = time
            .first()
            .map(text)
            .and_then(|seconds| seconds.parse().ok());
        let now: i64 = seconds.unwrap_or(0);
        match sender.message(&entry, id.clone(), now.saturating_mul(1_000)) {
            Ok(Outgoing { place, message, .. }) => {
                let list = self.keys.queue(&place.queue, place.priority);
                let mut push = command(&["LPUSH", &list]);
                push.arg(message);
                self.connection.query(&push).await?;
                println!("{id}");
                Ok(true)
            }
            Err(cause) => {
                eprintln!("celery-worker: {}: {}", named(name), one_line(&cause));
                Ok(false)
            }
        }
    }

    /// Enables or disables entries.
    async fn switch(&mut self, names: &[String], enabled: bool) -> Result<bool, Failure> {
        let mut is_good = true;
        for name in names {
            is_good &= self.switch_one(name, enabled).await?;
        }
        Ok(is_good)
    }

    async fn switch_one(&mut self, name: &str, enabled: bool) -> Result<bool, Failure> {
        for _ in 0..TRIES {
            let read = self.read(name).await?;
            let Some(mut entry) = understood(name, &read) else {
                return Ok(false);
            };
            let done = if enabled { "enabled" } else { "disabled" };
            if entry.enabled == enabled {
                println!("{}: {done} already", named(name));
                return Ok(true);
            }
            entry.enabled = enabled;
            let due = if enabled {
                NextDue::Compute
            } else {
                NextDue::Stop
            };
            if self.write(name, &read, &entry.json(), due).await? {
                println!("{}: {done}", named(name));
                return Ok(true);
            }
        }
        eprintln!(
            "celery-worker: {}: other programs change it all the time",
            named(name)
        );
        Ok(false)
    }

    /// Returns an entry, or `None` after an error about it was printed.
    async fn entry(&mut self, name: &str) -> Result<Option<Zoned>, Failure> {
        let read = self.read(name).await?;
        Ok(understood(name, &read))
    }

    async fn read(&mut self, name: &str) -> Result<Vec<u8>, Failure> {
        let entry = self.ask(&["HGET", &self.keys.beat(), name]).await?;
        Ok(raw(entry))
    }

    /// Changes an entry. Returns `false` if it is no longer as it was read.
    pub(super) async fn write(
        &mut self,
        name: &str,
        read: &[u8],
        entry: &[u8],
        due: NextDue,
    ) -> Result<bool, Failure> {
        let name = name.as_bytes();
        let change = Change {
            name,
            read,
            entry,
            due,
        };
        let call = write_call(&self.keys, &change);
        let answer = self.connection.run(&scripts::BEAT_WRITE, &call).await?;
        read_written(answer).ok_or(Failure::Answer("beat_write"))
    }

    pub(super) async fn ask(&mut self, words: &[&str]) -> Result<Value, Failure> {
        self.connection.query(&command(words)).await
    }
}

/// Returns a name from the command line as text that can be printed. A URL that was given by mistake
/// is shown without its password.
fn named(name: &str) -> String {
    one_line(&mask_misplaced(name)).into_owned()
}

/// Reads an entry. Prints an error if that is not possible.
fn understood(name: &str, read: &[u8]) -> Option<Zoned> {
    let name = named(name);
    if read.is_empty() {
        eprintln!("celery-worker: no such entry: {name}");
        return None;
    }
    match Zoned::read(read) {
        Ok(entry) => Some(entry),
        Err(error) => {
            let error = error.to_string();
            eprintln!("celery-worker: {name} cannot be read: {}", one_line(&error));
            None
        }
    }
}

/// Describes an entry in one line.
fn line(entry: &Zoned, next: Option<i64>, run: Option<&[u8]>) -> String {
    let schedule = serde_json::to_string(&entry.schedule.table()).unwrap_or_default();
    let next = match next {
        _ if !entry.enabled => "disabled".to_owned(),
        Some(next) if next > 0 => format!("next {}", shown(next)),
        Some(_) => "next is not computed yet".to_owned(),
        None => "never due".to_owned(),
    };
    let run = run.and_then(|run| std::str::from_utf8(run).ok()?.split_once(' '));
    let last = match run.map(|(count, last)| (count, last.parse())) {
        Some((count, Ok(last))) => format!("sent {}, last {}", one_line(count), shown(last)),
        _ => "not sent yet".to_owned(),
    };
    let origin = if entry.is_of_file {
        "  of the file"
    } else {
        ""
    };
    let (task, zone) = (one_line(&entry.task), one_line(&entry.zone));
    let schedule = one_line(&schedule).into_owned();
    format!("{task}  {schedule}  {zone}  {next}  {last}{origin}")
}

fn shown(moment: i64) -> String {
    Timestamp::from_millisecond(moment).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

/// Reads a score.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn moment(score: &[u8]) -> i64 {
    let number = std::str::from_utf8(score).unwrap_or_default().parse();
    number.unwrap_or(0.0) as i64
}

fn pairs(answer: Value) -> HashMap<Vec<u8>, Vec<u8>> {
    let mut flat = items(answer).into_iter();
    let mut found = HashMap::new();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        found.insert(raw(name), raw(value));
    }
    found
}
