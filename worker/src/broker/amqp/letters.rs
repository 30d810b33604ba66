//! The dead letters, as a command reads them, deletes them and puts them back.
//!
//! A queue has no place at which a message could be read. So the letters are taken out one after the
//! other, and those that are neither deleted nor put back return to the queue at the end. RabbitMQ may
//! change their order then. Two programs that read at the same time each see a part of the letters.

use std::collections::BTreeSet;
use std::time::Duration;

use celery_client::amqp::AmqpEndpoint;
use celery_client::amqp::aio::{Confirm, ConnectOptions, Connection, Failure};
use celery_client::amqp::dead_letters::Description;
use celery_protocol::amqp::{Delivery, Method, Reply, Reserved, Short};

use super::dead;
use super::message::Message;
use super::publisher::reason;

/// The channel on which letters are taken.
const TAKING: u16 = 1;
/// The channel whose publications are confirmed.
const CONFIRMING: u16 = 2;
/// RabbitMQ's code for something that does not exist.
const NOT_FOUND: u16 = 404;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a letter waits that is put back while RabbitMQ is short of memory or disk space. It reads
/// nothing from publishers then, maybe for hours.
const ALARM: Duration = Duration::from_secs(3);

/// The letters of a server, the oldest first.
#[derive(Debug)]
pub(crate) struct Letters {
    connection: Connection,
    /// How many more are read: a letter that is put back may become a new one at once.
    left: u32,
    /// The tags of the letters that were taken and not deleted.
    taken: BTreeSet<u64>,
}

/// A letter that was taken out.
#[derive(Debug)]
pub(crate) struct Letter {
    /// Its place and its fields.
    pub(crate) description: Description,
    message: Message,
    tag: u64,
}

impl Letter {
    fn read(delivery: Delivery) -> Self {
        let tag = delivery.tag;
        let description = Description::of(&delivery);
        let queue = description.field("queue").into();
        Letter {
            description,
            message: Message::new(&queue, delivery),
            tag,
        }
    }

    /// Returns the headers of the message as JSON, and its body.
    pub(crate) fn content(&self) -> (String, &[u8]) {
        let headers = self.message.headers();
        let json = headers.and_then(|headers| headers.as_table().to_json());
        let json = json.unwrap_or_else(|why| format!("cannot be read: {why}"));
        (json, self.message.body())
    }
}

/// What became of a letter that was to be put back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Replayed {
    /// Its message is in its queue again.
    Done,
    /// It stays where it is, for this reason.
    Impossible(String),
}

impl Letters {
    /// Connects, and counts the letters that are there now.
    ///
    /// # Errors
    /// Any [`Failure`] of the connection.
    pub(crate) async fn open(endpoint: &AmqpEndpoint) -> Result<Self, Failure> {
        let mut options = ConnectOptions::new("celery-worker/cli");
        options.response_timeout = ANSWER;
        options.blocked_timeout = Some(ALARM);
        let mut connection = Connection::open(endpoint, &options).await?;
        let left = match connection.look_at_queue(TAKING, dead::QUEUE).await? {
            Ok(Some(state)) => state.messages,
            Ok(None) => 0,
            Err(close) => return Err(Failure::Closed(close)),
        };
        Ok(Letters {
            connection,
            left,
            taken: BTreeSet::new(),
        })
    }

    /// Takes the next letter. `None`: there are no more.
    ///
    /// # Errors
    /// Any [`Failure`] of the connection.
    pub(crate) async fn next(&mut self) -> Result<Option<Letter>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let get = Method::BasicGet {
            ticket: Reserved::default(),
            queue: Short::new(dead::QUEUE).map_err(Failure::Unsendable)?,
            no_ack: false,
        };
        match self.connection.ask_opening(TAKING, &get).await? {
            Ok(Reply::Got(delivery, _)) => {
                self.taken.insert(delivery.tag);
                Ok(Some(Letter::read(delivery)))
            }
            Ok(_) => Ok(None),
            Err(close) if close.code == NOT_FOUND => Ok(None),
            Err(close) => Err(Failure::Closed(close)),
        }
    }

    /// Takes the letters whose places are in the set, and removes these places from it.
    ///
    /// # Errors
    /// Any [`Failure`] of the connection.
    pub(crate) async fn find(
        &mut self,
        places: &mut BTreeSet<String>,
    ) -> Result<Option<Letter>, Failure> {
        while !places.is_empty()
            && let Some(letter) = self.next().await?
        {
            if places.remove(&letter.description.place) {
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }

    /// Deletes a letter.
    ///
    /// # Errors
    /// Any [`Failure`] of the connection.
    pub(crate) async fn delete(&mut self, letter: &Letter) -> Result<(), Failure> {
        let ack = Method::BasicAck {
            delivery_tag: letter.tag,
            multiple: false,
        };
        self.connection.tell(TAKING, &ack)?;
        self.taken.remove(&letter.tag);
        self.connection.send().await
    }

    /// Puts the message of a letter back into its queue, and then deletes the letter. If this program
    /// ends between the two, the message is in both.
    ///
    /// # Errors
    /// Any [`Failure`] of the connection.
    pub(crate) async fn replay(&mut self, letter: &Letter) -> Result<Replayed, Failure> {
        let impossible = |why: &str| Ok(Replayed::Impossible(why.to_owned()));
        let queue = match letter.description.home() {
            Ok(queue) => queue,
            Err(why) => return impossible(why),
        };
        let headers = match letter.message.headers() {
            Ok(headers) => headers,
            Err(why) => return impossible(&format!("its headers cannot be read: {why}")),
        };
        if !self.connection.is_channel_open(CONFIRMING) {
            self.connection.open_confirming(CONFIRMING).await?;
        }
        let publications = [letter.message.copy(queue, &headers)];
        let mut answer = [None];
        let published = self
            .connection
            .publish_all(CONFIRMING, &publications, &mut answer);
        published.await.map_err(|failure| match failure {
            Failure::Silent(why) => Failure::Silent(format!(
                "{why}. The outcome for the letter {} is unknown: its message may be in the queue \
                 {queue}, too",
                letter.description.place
            )),
            failure => failure,
        })?;
        match answer {
            [Some(Confirm::Taken)] => {
                self.delete(letter).await?;
                Ok(Replayed::Done)
            }
            [Some(Confirm::Unroutable(_))] => impossible("its queue does not exist"),
            [answer] => impossible(&answer.as_ref().map_or_else(String::new, reason)),
        }
    }

    /// Returns the other letters to their queue, and ends the connection. Each is returned by itself:
    /// RabbitMQ may change the order of letters that are returned by one method.
    ///
    /// # Errors
    /// Any [`Failure`]: the server returns the letters once it notices the end.
    pub(crate) async fn close(mut self) -> Result<(), Failure> {
        let taken = std::mem::take(&mut self.taken);
        // The end of a channel has returned all of its letters.
        for delivery_tag in taken {
            if !self.connection.is_channel_open(TAKING) {
                break;
            }
            let back = Method::BasicNack {
                delivery_tag,
                multiple: false,
                requeue: true,
            };
            self.connection.tell(TAKING, &back)?;
        }
        self.connection.close().await
    }
}
