//! `celery-worker dead`: lists, shows, puts back and deletes dead letters. The functions here are those
//! for Redis; `dead_queue` has those for RabbitMQ.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::process::ExitCode;

use celery_client::Endpoint;
use celery_client::aio::{Connection, Failure, Value};
use celery_client::mask::mask_misplaced;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::dead_letters::{self, Letter, RAW, Replayed};
use celery_protocol::redis_keys::Keys;

use super::ended::ended;
use super::letters::{PAGE, letter, line, page, replay};
use super::options::{Back, Dead, Which};
use super::redis::{connect, text};
use super::{dead_queue, held};
use crate::config::Config;
use crate::config::value::ConfigError;
use crate::printable::one_line;

/// Returns a raw message as `dead show` prints it: unchanged for a program, and escaped on a
/// terminal.
pub(super) fn shown_raw(value: &str) -> Cow<'_, str> {
    if std::io::stdout().is_terminal() {
        one_line(value)
    } else {
        Cow::Borrowed(value)
    }
}

/// Runs the subcommand on the broker of the settings.
///
/// # Errors
/// [`ConfigError`] if the broker does not have what the subcommand handles.
pub(super) async fn run(config: &Config, dead: Dead) -> Result<ExitCode, ConfigError> {
    if let Dead::Replay(Back { held: true, .. }) = dead {
        config.redis_for("dead replay --held")?;
    }
    Ok(match &config.broker {
        Endpoint::Redis(redis) => run_on_redis(config, redis, dead).await,
        Endpoint::Amqp(rabbitmq) => dead_queue::run(config, rabbitmq, dead).await,
    })
}

/// Runs the subcommand. Returns exit code 1 if Redis could not be reached or a letter could not be
/// handled.
async fn run_on_redis(config: &Config, redis: &RedisEndpoint, dead: Dead) -> ExitCode {
    let keys = redis.keys();
    let done = match connect(redis).await {
        Ok(mut connection) => match dead {
            Dead::Replay(Back { held: true, .. }) => {
                let back = held::put_back(&mut connection, &keys, config).await;
                back.map(|count| {
                    println!("{count} put back");
                    true
                })
            }
            dead => obey(&mut connection, &keys, dead).await,
        },
        Err(failure) => Err(failure),
    };
    ended(config, done)
}

async fn obey(connection: &mut Connection, keys: &Keys, dead: Dead) -> Result<bool, Failure> {
    match dead {
        Dead::List { limit } => {
            let mut after = "-".to_owned();
            let mut left = limit;
            while left > 0 {
                let letters = page(connection, keys, &after, "+", left.min(PAGE)).await?;
                let Some(last) = letters.last() else { break };
                after = format!("({}", last.place);
                left -= letters.len();
                for letter in &letters {
                    println!("{}", line(letter));
                }
            }
            Ok(true)
        }
        Dead::Show { place } => match letter(connection, keys, &place).await? {
            Some(letter) => {
                println!("place: {}", letter.place);
                for (name, value) in &letter.fields {
                    let value = text(value);
                    let shown = match &**name {
                        RAW => shown_raw(&value),
                        _ => one_line(&value),
                    };
                    println!("{}: {shown}", one_line(name));
                }
                Ok(true)
            }
            None => Ok(unknown(&place)),
        },
        Dead::Replay(Back { places, all, .. }) => {
            let which = Which { places, all };
            each(
                connection,
                keys,
                which,
                "put back",
                async |connection, letter| {
                    Ok(match replay(connection, keys, letter).await? {
                        Replayed::Done => true,
                        Replayed::Gone => false,
                        Replayed::Impossible(why) => {
                            eprintln!("celery-worker: {} cannot be put back: {why}", letter.place);
                            false
                        }
                    })
                },
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
                    let deletion = dead_letters::deletion(keys, &letter.place);
                    Ok(connection.query(&deletion).await? == Value::Int(1))
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
        let newest = connection
            .query(&dead_letters::newest(keys, "+", 1))
            .await?;
        let until = Letter::read_all(newest).pop();
        let until = until.map_or_else(|| "-".to_owned(), |letter| letter.place);
        let mut after = "-".to_owned();
        loop {
            let letters = page(connection, keys, &after, &until, PAGE).await?;
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

/// Reports a place without a letter.
pub(super) fn unknown(place: &str) -> bool {
    let place = mask_misplaced(place);
    eprintln!("celery-worker: no such dead letter: {}", one_line(&place));
    false
}
