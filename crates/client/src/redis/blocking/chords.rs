//! Sending a canvas: beginning its chords, and its messages as posts.
//!
//! A chord must begin before the first message of its header is posted. A member that ends earlier
//! would be counted, but nothing would compare the count with the size.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::canvas;
use celery_protocol::redis_keys::ChordPart;
use redis::Value;

use super::Client;
use super::outgoing::{Frame, Outgoing};
use super::reply::Shape;
use crate::blocking::Wait;
use crate::error::ClientError;
use crate::redis::CHORDS;

/// The time for which the size of a chord is kept: Celery's default of `result_expires`, with which
/// its client stores sizes.
const SIZE_KEPT: Duration = Duration::from_hours(24);

/// The time for which the end of a chord is remembered. The script takes it, but a client ends no
/// chords.
const END_KEPT: Duration = Duration::ZERO;

impl Client {
    /// Begins chords in the result backend, in one round trip: stores how many results each body
    /// waits for. It may be repeated as long as no message of the headers was posted.
    ///
    /// # Errors
    /// [`ClientError`] if the server did not confirm it.
    pub fn begin_chords(
        &mut self,
        chords: &[canvas::NewChord],
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        if chords.is_empty() {
            return Ok(());
        }
        let keys = chords.iter().flat_map(|chord| {
            let part = |part| self.keys().chord(&chord.group, part);
            let group = self.keys().group(&chord.group);
            [part(ChordPart::Size), part(ChordPart::Claim), group]
        });
        let keys: Vec<String> = keys.collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let (kept, ended) = (SIZE_KEPT.as_secs(), END_KEPT.as_secs());
        let numbers = [kept, ended, kept, chords.len() as u64];
        let mut arguments: Vec<Vec<u8>> = numbers.map(|it| it.to_string().into_bytes()).into();
        for chord in chords {
            arguments.push(chord.size.to_string().into_bytes());
            arguments.push(chord.saved.clone().unwrap_or_default());
        }
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        match self.run_script(
            &CHORDS,
            (&keys, &arguments),
            Shape::Short,
            wait,
            "beginning the chords",
        )? {
            Value::Int(_) => Ok(()),
            _ => Err(ClientError::Protocol(
                "the script that begins chords was answered with something that is not a number"
                    .to_owned(),
            )),
        }
    }
}

impl Outgoing for canvas::Outgoing {
    fn queue(&self) -> &Arc<str> {
        &self.queue
    }

    fn priority(&self) -> u8 {
        self.priority
    }

    fn task_id(&self) -> &str {
        &self.id
    }

    fn size(&self) -> usize {
        self.message.len()
    }

    fn write(&self, frame: Frame<'_>) {
        let out = frame.begin(self.message.len());
        out.extend_from_slice(&self.message);
    }
}
