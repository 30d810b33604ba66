//! `celery-worker dead`: lists, shows, puts back and deletes dead letters.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::process::ExitCode;

use celery_client::aio::{Connection, Failure, Value};
use celery_client::mask::mask_misplaced;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::dead_letters::{self, Letter, RAW, Replayed};
use celery_protocol::redis_keys::Keys;

use super::held;
use super::letters::{PAGE, letter, line, page, replay};
use super::options::{Back, Dead, Which};
use super::redis::{connect, text};
use crate::config::Config;
use crate::printable::one_line;

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
pub(crate) async fn run(config: &Config, redis: &RedisEndpoint, dead: Dead) -> ExitCode {
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
                    println!("{}: {}", one_line(name), shown(name, &text(value)));
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

fn unknown(place: &str) -> bool {
    let place = mask_misplaced(place);
    eprintln!("celery-worker: no such dead letter: {}", one_line(&place));
    false
}
