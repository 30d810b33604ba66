//! `celery-worker dead` on RabbitMQ, where dead letters are in a queue.

use std::collections::BTreeSet;
use std::process::ExitCode;

use celery_client::amqp::AmqpEndpoint;
use celery_client::amqp::aio::Failure;

use super::dead::{shown_raw, unknown};
use super::ended::ended;
use super::letters::line_of;
use super::options::{Back, Dead, Which};
use crate::broker::amqp::{Letter, Letters, Replayed};
use crate::config::Config;
use crate::printable::one_line;

/// Runs the subcommand. Returns exit code 1 if RabbitMQ could not be reached or a letter could not be
/// handled.
pub(super) async fn run(config: &Config, rabbitmq: &AmqpEndpoint, dead: Dead) -> ExitCode {
    ended(config, obey(rabbitmq, dead).await)
}

async fn obey(rabbitmq: &AmqpEndpoint, dead: Dead) -> Result<bool, Failure> {
    let mut letters = Letters::open(rabbitmq).await?;
    let good = match dead {
        Dead::List { limit } => {
            for _ in 0..limit {
                let Some(letter) = letters.next().await? else {
                    break;
                };
                let fields =
                    ["queue", "id", "task", "cause"].map(|name| letter.description.field(name));
                println!("{}", line_of(&letter.description.place, fields));
            }
            true
        }
        Dead::Show { place } => {
            let found = letters.find(&mut BTreeSet::from([place.clone()])).await?;
            if let Some(letter) = &found {
                show(letter);
            }
            found.is_some() || unknown(&place)
        }
        Dead::Replay(Back { places, all, .. }) => {
            let which = Which { places, all };
            each(&mut letters, which, "put back", async |letters, letter| {
                Ok(match letters.replay(letter).await? {
                    Replayed::Done => true,
                    Replayed::Impossible(why) => {
                        let why = one_line(&why);
                        eprintln!(
                            "celery-worker: {} cannot be put back: {why}",
                            letter.description.place
                        );
                        false
                    }
                })
            })
            .await?
        }
        Dead::Purge(which) => {
            each(&mut letters, which, "deleted", async |letters, letter| {
                letters.delete(letter).await?;
                Ok(true)
            })
            .await?
        }
    };
    letters.close().await?;
    Ok(good)
}

fn show(letter: &Letter) {
    println!("place: {}", letter.description.place);
    for (name, value) in &letter.description.fields {
        println!("{name}: {}", one_line(value));
    }
    let (headers, body) = letter.content();
    println!("headers: {}", one_line(&headers));
    println!("raw: {}", shown_raw(&String::from_utf8_lossy(body)));
}

/// Calls `act` for each selected letter, and prints how many succeeded.
async fn each(
    letters: &mut Letters,
    which: Which,
    done: &str,
    act: impl AsyncFn(&mut Letters, &Letter) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let (mut count, mut good) = (0, true);
    let mut places: BTreeSet<String> = which.places.into_iter().collect();
    loop {
        let next = if which.all {
            letters.next().await?
        } else {
            letters.find(&mut places).await?
        };
        let Some(letter) = next else { break };
        match act(letters, &letter).await {
            Ok(true) => count += 1,
            Ok(false) => good = false,
            Err(failure) => {
                println!("{count} {done}");
                return Err(failure);
            }
        }
    }
    for place in &places {
        good = unknown(place);
    }
    println!("{count} {done}");
    Ok(good)
}
