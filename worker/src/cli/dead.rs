//! `celery-worker dead`: lists, shows, puts back and deletes dead letters.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::process::ExitCode;

use celery_client::Endpoint;
use celery_client::aio::{Connection, Failure, Value, scripts};
use celery_client::mask::mask_misplaced;
use celery_protocol::message::Task;
use celery_protocol::redis_keys::Keys;

use super::options::{Dead, Which};
use super::redis::{command, connect, items, text};
use crate::config::Config;
use crate::delivery::redelivery_name;
use crate::printable::one_line;

/// How many letters are read at a time.
const PAGE: usize = 500;
/// The field with the message as it was received.
const RAW: &str = "raw";

/// A message that could not be run.
struct Letter {
    place: String,
    fields: Vec<(String, Value)>,
}

impl Letter {
    fn read(entry: Value) -> Option<Self> {
        let mut parts = items(entry).into_iter();
        let place = text(&parts.next()?);
        let mut values = items(parts.next()?).into_iter();
        let mut fields = Vec::new();
        while let (Some(name), Some(value)) = (values.next(), values.next()) {
            fields.push((text(&name), value));
        }
        Some(Letter { place, fields })
    }

    fn field(&self, name: &str) -> String {
        let value = self.fields.iter().find(|(given, _)| given == name);
        value.map(|(_, value)| text(value)).unwrap_or_default()
    }

    /// Returns the letter as one line. A message cannot break the line with the texts in it.
    fn line(&self) -> String {
        let parts =
            ["queue", "id", "task", "cause"].map(|name| one_line(&self.field(name)).into_owned());
        format!("{}  {}", self.place, parts.join("  "))
    }
}

/// Returns a field as `dead show` prints it. The raw message is unchanged for a program, and
/// escaped on a terminal.
fn shown<'v>(name: &str, value: &'v str) -> Cow<'v, str> {
    if name == RAW && !std::io::stdout().is_terminal() {
        Cow::Borrowed(value)
    } else {
        one_line(value)
    }
}

/// Runs the subcommand. Returns exit code 1 if Redis could not be reached or a letter could not be
/// handled.
pub(crate) async fn run(config: &Config, dead: Dead) -> ExitCode {
    let Endpoint::Redis(broker) = &config.broker;
    let keys = broker.keys();
    let done = match connect(&config.broker).await {
        Ok(mut connection) => obey(&mut connection, &keys, dead).await,
        Err(failure) => Err(failure),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("celery-worker: {}: {failure}", config.broker.display_url());
            ExitCode::FAILURE
        }
    }
}

async fn obey(connection: &mut Connection, keys: &Keys, dead: Dead) -> Result<bool, Failure> {
    match dead {
        Dead::List { limit } => {
            let mut after = "-".to_owned();
            let mut left = limit;
            while left > 0 {
                let letters = page(connection, keys, &after, left.min(PAGE)).await?;
                let Some(last) = letters.last() else { break };
                after = format!("({}", last.place);
                left -= letters.len();
                for letter in &letters {
                    println!("{}", letter.line());
                }
            }
            Ok(true)
        }
        Dead::Show { place } => match letter(connection, keys, &place).await? {
            Some(letter) => {
                println!("place: {}", letter.place);
                for (name, value) in &letter.fields {
                    println!("{}: {}", one_line(name), shown(name, &text(value)));
                }
                Ok(true)
            }
            None => Ok(unknown(&place)),
        },
        Dead::Replay(which) => {
            each(
                connection,
                keys,
                which,
                "put back",
                async |connection, letter| replay(connection, keys, letter).await,
            )
            .await
        }
        Dead::Purge(which) => {
            each(
                connection,
                keys,
                which,
                "deleted",
                async |connection, letter| {
                    let deleted = connection
                        .query(&command(&["XDEL", &keys.dead(), &letter.place]))
                        .await?;
                    Ok(deleted == Value::Int(1))
                },
            )
            .await
        }
    }
}

/// Calls `act` for each selected letter, and prints how many succeeded.
async fn each(
    connection: &mut Connection,
    keys: &Keys,
    which: Which,
    done: &str,
    act: impl AsyncFn(&mut Connection, &Letter) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let (mut count, mut good) = (0, true);
    if which.all {
        // The loop stops at the letter that is the last one now, because a letter that is put back
        // may become a new one at once.
        let newest = command(&["XREVRANGE", &keys.dead(), "+", "-", "COUNT", "1"]);
        let newest = items(connection.query(&newest).await?);
        let until = newest.into_iter().find_map(Letter::read);
        let until = until.map_or_else(|| "-".to_owned(), |letter| letter.place);
        let mut after = "-".to_owned();
        loop {
            let letters = page_until(connection, keys, &after, &until, PAGE).await?;
            let Some(last) = letters.last() else { break };
            after = format!("({}", last.place);
            for letter in &letters {
                if act(connection, letter).await? {
                    count += 1;
                } else {
                    good = false;
                }
            }
        }
    }
    for place in &which.places {
        match letter(connection, keys, place).await? {
            Some(letter) => {
                if act(connection, &letter).await? {
                    count += 1;
                } else {
                    good = false;
                }
            }
            None => good = unknown(place),
        }
    }
    println!("{count} {done}");
    Ok(good)
}

fn unknown(place: &str) -> bool {
    let place = mask_misplaced(place);
    eprintln!("celery-worker: no such dead letter: {}", one_line(&place));
    false
}

async fn replay(
    connection: &mut Connection,
    keys: &Keys,
    letter: &Letter,
) -> Result<bool, Failure> {
    let queue = letter.field("queue");
    let why = match letter.field("cause").as_str() {
        _ if queue.is_empty() => "its queue is unknown",
        "follow-up" => "it is the signature of a task, not a message",
        _ => "",
    };
    if !why.is_empty() {
        eprintln!("celery-worker: {} cannot be put back: {why}", letter.place);
        return Ok(false);
    }
    let raw = letter.field(RAW);
    let task = Task::decode_redis(raw.as_bytes()).ok();
    // The message goes back to the list of its priority, or of priority 0 if it cannot be read.
    let priority = task
        .as_ref()
        .and_then(|task| task.properties.priority)
        .unwrap_or(0);
    let queue = keys.queue(&queue, priority);
    let tag = task.map(|task| redelivery_name(&task).to_owned());
    let tag = tag.unwrap_or_default();
    let mut call = scripts::call(&scripts::REPLAY, 3, 4, 256);
    call.arg(keys.dead())
        .arg(queue)
        .arg(keys.redelivered(&tag))
        .arg(&letter.place);
    Ok(connection.run(&scripts::REPLAY, &call).await? == Value::Int(1))
}

async fn page(
    connection: &mut Connection,
    keys: &Keys,
    after: &str,
    count: usize,
) -> Result<Vec<Letter>, Failure> {
    page_until(connection, keys, after, "+", count).await
}

async fn page_until(
    connection: &mut Connection,
    keys: &Keys,
    after: &str,
    until: &str,
    count: usize,
) -> Result<Vec<Letter>, Failure> {
    let count = count.to_string();
    let words = ["XRANGE", &keys.dead(), after, until, "COUNT", &count];
    let answer = connection.query(&command(&words)).await?;
    Ok(items(answer).into_iter().filter_map(Letter::read).collect())
}

async fn letter(
    connection: &mut Connection,
    keys: &Keys,
    place: &str,
) -> Result<Option<Letter>, Failure> {
    let answer = connection
        .query(&command(&["XRANGE", &keys.dead(), place, place]))
        .await?;
    Ok(items(answer).into_iter().find_map(Letter::read))
}
