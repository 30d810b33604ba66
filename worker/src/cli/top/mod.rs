//! `celery-worker top`: shows the workers, queues and tasks of a fleet while they change, and sends
//! what its keys ask for.
//!
//! * [`fleet`] – what is known about the fleet;
//! * [`link`] – the connections to Redis;
//! * [`routes`] – the queue that a routing key leads to;
//! * [`retry`] – the message of a failed task, from its stored result;
//! * [`tables`] – the fleet as tables of text;
//! * [`screen`] – the tables on a terminal, and the keys.

mod fleet;
mod link;
mod retry;
mod routes;
mod screen;
mod tables;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_client::aio::Failure;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::dead_letters::Replayed;
use celery_protocol::control::Request;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use tokio::sync::mpsc;

use self::fleet::Fleet;
use self::link::{Link, clock};
use self::screen::{Screen, Wish};
use self::tables::{Page, Table};
use crate::config::Config;

/// How often the screen is drawn, and replies and events are read.
const DRAW: Duration = Duration::from_millis(250);
/// How often workers are asked, and the queues counted.
const ASK: Duration = Duration::from_secs(2);
/// How long `--once` waits for answers: as long as Celery's own clients.
const ONCE: Duration = Duration::from_secs(1);
/// How often a lost connection is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// The commands that every worker is asked.
const COMMANDS: [&str; 3] = ["stats", "active", "active_queues"];

/// Runs the subcommand. Returns exit code 1 if Redis or the terminal cannot be used.
pub(super) async fn run(
    config: &Config,
    redis: &Arc<RedisEndpoint>,
    once: bool,
    events: bool,
) -> ExitCode {
    let ended = match Link::open(redis).await {
        Err(failure) => Err(failure.to_string()),
        Ok(link) => {
            let top = Top {
                link,
                fleet: Fleet::default(),
                queues: config.queues.clone(),
                broker: config.broker.display_url(),
                enables_events: events,
            };
            if once || !io::stdout().is_terminal() {
                top.print().await.map_err(|failure| failure.to_string())
            } else {
                top.show().await.map_err(|error| error.to_string())
            }
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("celery-worker: {}: {why}", config.broker.display_url());
            ExitCode::FAILURE
        }
    }
}

struct Top {
    link: Link,
    fleet: Fleet,
    /// The queues of the settings. Those that workers serve are added.
    queues: Vec<String>,
    /// The broker's URL without its password.
    broker: String,
    /// `true` if workers are told to send events.
    enables_events: bool,
}

impl Top {
    /// Prints all tables once.
    async fn print(mut self) -> Result<(), Failure> {
        self.ask().await?;
        let deadline = Instant::now() + ONCE;
        while Instant::now() < deadline {
            tokio::time::sleep(DRAW.min(deadline - Instant::now())).await;
            self.hear().await?;
        }
        self.look().await?;
        let now = Instant::now();
        println!("{}", screen::summary(&self.fleet, &self.broker, now));
        for page in Page::ALL {
            print!(
                "\n{}",
                text(page.title(), &page.table(&self.fleet, now, clock()))
            );
        }
        self.link.close().await;
        Ok(())
    }

    /// Shows the screen until the person leaves.
    async fn show(mut self) -> io::Result<()> {
        let mut terminal = ratatui::try_init()?;
        let ended = self.serve(&mut terminal).await;
        ratatui::restore();
        self.link.close().await;
        ended
    }

    async fn serve(&mut self, terminal: &mut DefaultTerminal) -> io::Result<()> {
        let mut keys = keys();
        let mut screen = Screen::default();
        if !self.link.hears() {
            screen.say("Redis does not let this user hear events: only answers are shown");
        }
        let mut asked: Option<Instant> = None;
        loop {
            let turn = async {
                if asked.is_none_or(|then| then.elapsed() >= ASK) {
                    self.ask().await?;
                    self.look().await?;
                    asked = Some(Instant::now());
                }
                self.hear().await
            };
            if let Err(failure) = turn.await {
                screen.say(format!("Redis: {failure}"));
                asked = None;
                tokio::time::sleep(AGAIN).await;
                if self.link.reopen().await.is_ok() {
                    screen.say("");
                }
            }
            self.fleet.forget(Instant::now());
            terminal.draw(|frame| screen.draw(frame, &self.fleet, &self.broker, clock()))?;
            let key = match tokio::time::timeout(DRAW, keys.recv()).await {
                Ok(Some(key)) => key,
                // Without a terminal, no key could end the program.
                Ok(None) => return Ok(()),
                Err(_) => continue,
            };
            match screen.press(key, &self.fleet) {
                Some(Wish::Quit) => return Ok(()),
                Some(wish) => {
                    let said = self.fulfil(wish).await;
                    screen.say(said.unwrap_or_else(|failure| format!("Redis: {failure}")));
                    // What it changed is shown at once.
                    asked = None;
                }
                None => {}
            }
        }
    }

    /// Asks every worker, and Redis.
    async fn ask(&mut self) -> Result<(), Failure> {
        if self.enables_events && self.link.hears() {
            self.link.send(&Request::new("enable_events")).await?;
        }
        for command in COMMANDS {
            self.link.ask(command).await?;
        }
        Ok(())
    }

    /// Takes in what has come: events and replies.
    async fn hear(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        for event in self.link.take_events() {
            self.fleet.hear(&event, now);
        }
        for (command, node, answer) in self.link.replies().await? {
            self.fleet.answered(&node, &command, &answer, now);
        }
        Ok(())
    }

    /// Counts what is in Redis.
    async fn look(&mut self) -> Result<(), Failure> {
        let mut queues = self.queues.clone();
        let served = self.fleet.workers.values().flat_map(|it| &it.queues);
        queues.extend(served.cloned());
        queues.sort();
        queues.dedup();
        let contents = self.link.contents(&queues).await?;
        self.fleet.queues = contents.queues;
        (self.fleet.held, self.fleet.dead) = (contents.held, contents.dead);
        self.fleet.letters = contents.letters;
        Ok(())
    }

    /// Does what the person wishes, and returns what became of it.
    async fn fulfil(&mut self, wish: Wish) -> Result<String, Failure> {
        Ok(match wish {
            Wish::Revoke(id) => {
                self.link.revoke(&id).await?;
                format!("Workers were told to revoke {id}")
            }
            Wish::Retry(id) => match self.link.retry(&id, &self.fleet.routes()).await? {
                Ok(queue) => format!("{id} was sent to the queue {queue} again"),
                Err(why) => format!("{id} cannot be sent again: {why}"),
            },
            Wish::Replay(place) => match self.link.replay(&place).await? {
                Replayed::Done => format!("{place} was put back"),
                Replayed::Gone => format!("{place} is no longer there"),
                Replayed::Impossible(why) => format!("{place} cannot be put back: {why}"),
            },
            Wish::Quit => String::new(),
        })
    }
}

/// Returns the keys that are pressed. Reading them blocks, so it has a thread of its own.
fn keys() -> mpsc::Receiver<KeyEvent> {
    let (pressed, keys) = mpsc::channel(64);
    std::thread::spawn(move || {
        while let Ok(read) = event::read() {
            if let Event::Key(key) = read
                && key.kind != KeyEventKind::Release
                && pressed.blocking_send(key).is_err()
            {
                return;
            }
        }
    });
    keys
}

/// Returns a table as lines of text below its title.
fn text(title: &str, table: &Table) -> String {
    let heads = table.heads.iter().map(|head| (*head).to_owned()).collect();
    let widths = table.widths();
    let mut out = format!("{title}\n");
    for line in std::iter::once(&heads).chain(&table.rows) {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        out.push_str("  ");
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}
