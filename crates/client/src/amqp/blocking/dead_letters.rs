//! Reads dead letters, puts them back into their queues and deletes them.
//!
//! A queue can only be read from its front. So the letters are taken out, and those that are neither
//! put back nor deleted return to the queue before the call ends. If the connection breaks, the
//! server returns them. Meanwhile another program sees a part of the letters.

use celery_protocol::amqp::{Delivery, Short};
use celery_protocol::message::AmqpMessage;

use super::client::{Client, ping};
use super::declare::look;
use super::link::{Link, OTHERS};
use super::outcome::{Outcome, Round};
use super::post::Post;
use super::publish::write_and_wait;
use super::receive::{Flow, get_from, got, settle};
use crate::amqp::dead_letters::{Description, QUEUE, order, sent_headers};
use crate::blocking::Wait;
use crate::error::ClientError;

/// The number of letters that are asked for before an answer is read.
const AT_ONCE: u32 = 50;
/// The most letters that a call takes out. Each is sent to this program.
const MOST: u32 = 10_000;

/// A letter that was taken out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Letter {
    /// What describes it.
    pub description: Description,
    /// The message, with the headers of the description.
    pub delivery: Delivery,
}

/// What became of a letter that was to be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Its message is in its queue again.
    Done,
    /// The place has no letter.
    Gone,
    /// It cannot be put back, for this reason.
    Impossible(&'static str),
}

impl Client {
    /// Counts the letters that no program has taken out.
    ///
    /// # Errors
    /// Any [`ClientError`] that prevents an answer.
    pub fn count_dead_letters(&mut self, wait: &mut Wait<'_>) -> Result<u32, ClientError> {
        let state = self.queue_state(QUEUE, wait)?;
        Ok(state.map_or(0, |state| state.messages))
    }

    /// Reads up to `limit` letters, the newest first, if `before` is given only those that are older
    /// than the letter at that place. Keeps what `read` returns of each.
    ///
    /// # Errors
    /// [`ClientError::TooManyLetters`] if there are more than this client reads.
    pub fn newest_dead_letters<T>(
        &mut self,
        before: Option<&str>,
        limit: usize,
        wait: &mut Wait<'_>,
        mut read: impl FnMut(Letter) -> T,
    ) -> Result<Vec<T>, ClientError> {
        let before = before.and_then(order);
        self.call(wait, |link, wait| {
            let mut newest: Vec<((u64, u64), T)> = Vec::new();
            let taken = take_out(link, wait, |letter| {
                let at = order(&letter.description.place).unwrap_or_default();
                if before.is_none_or(|before| at < before) {
                    newest.push((at, read(letter)));
                }
                if newest.len() >= limit.saturating_mul(2) {
                    keep_newest(&mut newest, limit);
                }
                Flow::More
            })?;
            put_back(link, &taken, wait)?;
            keep_newest(&mut newest, limit);
            Ok(newest.into_iter().map(|(_, letter)| letter).collect())
        })
    }

    /// Reads the letter at a place.
    ///
    /// # Errors
    /// [`ClientError::TooManyLetters`] if there are more than this client reads.
    pub fn dead_letter(
        &mut self,
        place: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Letter>, ClientError> {
        self.call(wait, |link, wait| {
            let (letter, taken) = find(link, place, wait)?;
            put_back(link, &taken, wait)?;
            Ok(letter)
        })
    }

    /// Deletes the letter at a place. Returns `false` if there is none.
    ///
    /// # Errors
    /// Like [`dead_letter`](Self::dead_letter).
    pub fn delete_dead_letter(
        &mut self,
        place: &str,
        wait: &mut Wait<'_>,
    ) -> Result<bool, ClientError> {
        self.call(wait, |link, wait| {
            let (letter, mut taken) = find(link, place, wait)?;
            if let Some(letter) = &letter {
                delete(link, letter, &mut taken)?;
            }
            put_back(link, &taken, wait)?;
            Ok(letter.is_some())
        })
    }

    /// Puts the message of the letter at a place back into its queue, and then deletes the letter. If
    /// the connection breaks between the two, the message is in both.
    ///
    /// # Errors
    /// Like [`dead_letter`](Self::dead_letter). After an error the letter may have been put back.
    pub fn replay_dead_letter(
        &mut self,
        place: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Replayed, ClientError> {
        // It is not repeated after a lost connection: the message may be in its queue already.
        let mut link = self.acquire(wait)?;
        let (letter, mut taken) = find(&mut link, place, wait)?;
        let replayed = match &letter {
            None => Replayed::Gone,
            Some(letter) => match message(letter) {
                Err(why) => Replayed::Impossible(why),
                Ok(post) => publish(&mut link, &post, wait)?,
            },
        };
        if let Some(letter) = letter.filter(|_| replayed == Replayed::Done) {
            delete(&mut link, &letter, &mut taken)?;
        }
        put_back(&mut link, &taken, wait)?;
        self.keep(link);
        Ok(replayed)
    }
}

fn keep_newest<T>(letters: &mut Vec<((u64, u64), T)>, limit: usize) {
    letters.sort_by(|(one, _), (other, _)| other.cmp(one));
    letters.truncate(limit);
}

/// Takes letters out and hands each to `see`, until it returns [`Flow::Stop`]. Returns the tags of
/// all that were taken.
fn take_out(
    link: &mut Link,
    wait: &mut Wait<'_>,
    mut see: impl FnMut(Letter) -> Flow,
) -> Result<Vec<u64>, ClientError> {
    let Some(state) = look(link, QUEUE, wait)? else {
        return Ok(Vec::new());
    };
    check(state.messages)?;
    let mut taken = Vec::new();
    // The count of a quorum queue lags behind, so only an empty answer tells the end.
    let mut asked = state.messages.saturating_add(1).min(AT_ONCE);
    let (mut flow, mut is_empty) = (Flow::More, false);
    while !is_empty && flow == Flow::More {
        link.open_others()?;
        for _ in 0..asked {
            let packed = link.session.request(OTHERS, &get_from(QUEUE)?);
            packed.map_err(ClientError::Unsendable)?;
        }
        for _ in 0..asked {
            let Some((delivery, _)) = got(link.wait_for_reply(OTHERS, wait, "a dead letter")?)?
            else {
                is_empty = true;
                continue;
            };
            taken.push(delivery.tag);
            if flow == Flow::More {
                let description = Description::of(&delivery);
                flow = see(Letter {
                    description,
                    delivery,
                });
            }
        }
        check(u32::try_from(taken.len()).unwrap_or(u32::MAX))?;
        asked = AT_ONCE;
    }
    Ok(taken)
}

/// Refuses more letters than a call takes out.
fn check(count: u32) -> Result<(), ClientError> {
    let most = MOST;
    if count > most {
        return Err(ClientError::TooManyLetters { count, most });
    }
    Ok(())
}

/// Takes letters out up to the one at a place. Returns it, and the tags of all that were taken.
fn find(
    link: &mut Link,
    place: &str,
    wait: &mut Wait<'_>,
) -> Result<(Option<Letter>, Vec<u64>), ClientError> {
    let mut found = None;
    let taken = take_out(link, wait, |letter| {
        if letter.description.place != place {
            return Flow::More;
        }
        found = Some(letter);
        Flow::Stop
    })?;
    Ok((found, taken))
}

fn delete(link: &mut Link, letter: &Letter, taken: &mut Vec<u64>) -> Result<(), ClientError> {
    let tag = letter.delivery.tag;
    taken.retain(|other| *other != tag);
    settle(link, tag, true)
}

/// Returns the taken letters to their queue, each by itself: RabbitMQ may change the order of letters
/// that are returned by one method. It has done so, and has deleted what was acknowledged, once this
/// returns.
fn put_back(link: &mut Link, taken: &[u64], wait: &mut Wait<'_>) -> Result<(), ClientError> {
    for tag in taken {
        settle(link, *tag, false)?;
    }
    ping(link, wait)
}

/// Returns the message of a letter, as it goes back to its queue.
fn message(letter: &Letter) -> Result<Post, &'static str> {
    let queue = letter.description.home()?;
    let content = &letter.delivery.content;
    if content.is_left_out() {
        return Err("it is larger than the messages that this program reads");
    }
    let headers = sent_headers(&letter.delivery).map_err(|_| "its headers cannot be read")?;
    let properties = content.properties();
    let properties = properties.map_err(|_| "its properties cannot be read")?;
    Short::new(queue).map_err(|_| "the name of its queue is too long")?;
    Ok(Post {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        queue: None,
        task_id: letter.description.field("id").to_owned(),
        message: AmqpMessage::of(&properties, headers, content.body.clone()),
    })
}

fn publish(link: &mut Link, post: &Post, wait: &mut Wait<'_>) -> Result<Replayed, ClientError> {
    let mut round = Round::new(vec![post]);
    if let Err(error) = write_and_wait(link, &[post], &mut round, wait) {
        return Err(link.explained(error));
    }
    let mut outcomes = round.end(None, |_| true);
    match outcomes.pop().map(|(_, outcome)| outcome) {
        Some(Outcome::Done) => Ok(Replayed::Done),
        Some(Outcome::Not(ClientError::Unroutable { .. })) => {
            Ok(Replayed::Impossible("its queue does not exist"))
        }
        None | Some(Outcome::Not(ClientError::NotTaken)) => Ok(Replayed::Impossible(
            "its queue did not take it: it may be full",
        )),
        Some(Outcome::Not(error) | Outcome::Unknown(error)) => Err(error),
    }
}
