//! Results as replies: Celery's result backend `rpc://`.
//!
//! Each state of a task is a message to the queue that the task's message names, with the id of the
//! task. It follows `celery/backends/rpc.py` of 5.7: the message is transient, and the broker drops
//! it if the queue is gone. Nothing else depends on it, so a reply that the broker does not take is
//! only logged.

use std::borrow::Cow;

use celery_client::amqp::aio::Publication;
use celery_protocol::amqp::{AmqpError, Properties, Short, Table};
use celery_protocol::result::StoredForm;
use celery_protocol::serializer::Serializer;

use crate::broker::settlement::Document;
use crate::printable::one_line;

/// The form of all replies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replies {
    form: StoredForm,
}

impl Replies {
    /// Returns the form for these settings. As in Celery, replies are not compressed.
    pub(super) fn new(form: StoredForm) -> Self {
        if form.compression.is_some() {
            tracing::warn!(
                "The rpc result backend cannot store compressed payloads, so the \
                 result_compression setting is ignored and results are sent uncompressed"
            );
        }
        Replies {
            form: StoredForm {
                compression: None,
                ..form
            },
        }
    }

    /// Returns a document as a reply. `None`: it has no address, or no queue can have the name.
    pub(super) fn reply(self, document: &Document) -> Option<Reply<'_>> {
        let address = document.reply.as_deref()?;
        let (body, serializer) = match self.form.write(&document.json) {
            Ok(body) => (body, self.form.serializer),
            Err(why) => {
                tracing::error!("A result is sent as JSON: {why}");
                (Cow::Borrowed(&*document.json), Serializer::Json)
            }
        };
        let properties = properties(&address.correlation_id, serializer);
        let named = Short::new(&address.queue).and(properties);
        match named {
            Ok(properties) => Some(Reply {
                id: &document.id,
                queue: &address.queue,
                properties,
                body,
            }),
            Err(why) => {
                tracing::error!(
                    "The result of task {} is not sent to the queue {}: {why}",
                    one_line(&document.id),
                    one_line(&address.queue),
                );
                None
            }
        }
    }
}

/// The properties of the replies that Python's worker sends.
fn properties(id: &str, serializer: Serializer) -> Result<Properties<'_>, AmqpError> {
    Ok(Properties {
        content_type: Some(Short::new(serializer.content_type())?),
        content_encoding: Some(Short::new(serializer.content_encoding())?),
        headers: Some(Table::default()),
        delivery_mode: Some(1),
        priority: Some(0),
        correlation_id: Some(Short::new(id)?),
        ..Properties::default()
    })
}

/// A state of a task, on its way to the queue in which its sender waits.
#[derive(Debug)]
pub(super) struct Reply<'d> {
    id: &'d str,
    queue: &'d str,
    properties: Properties<'d>,
    body: Cow<'d, [u8]>,
}

impl Reply<'_> {
    pub(super) fn publication(&self) -> Publication<'_> {
        Publication {
            routing_key: self.queue,
            properties: self.properties,
            body: &self.body,
            may_be_lost: true,
            ..Publication::default()
        }
    }

    /// Reports that the broker has not taken it.
    pub(super) fn refused(&self, why: &str) {
        tracing::error!(
            "The result of task {} was not sent to the queue {}: {why}",
            one_line(self.id),
            one_line(self.queue),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::settlement::Reply as Address;

    fn document(queue: &str) -> Document {
        Document {
            id: "id".to_owned(),
            json: br#"{"status":"SUCCESS","result":5}"#.to_vec(),
            failed: false,
            reply: Some(Box::new(Address {
                queue: queue.to_owned(),
                correlation_id: "known as".to_owned(),
            })),
        }
    }

    #[test]
    fn a_reply_has_the_serializer_of_results_and_no_compression() {
        let gzip = celery_protocol::compression::Compression::from_name("gzip");
        for (serializer, content) in [
            (Serializer::Json, ("application/json", "utf-8")),
            (Serializer::Msgpack, ("application/x-msgpack", "binary")),
            (Serializer::Yaml, ("application/x-yaml", "utf-8")),
        ] {
            let replies = Replies::new(StoredForm {
                serializer,
                compression: gzip,
            });
            let document = document("q");
            let reply = replies.reply(&document).unwrap();
            let sent = reply.publication();
            let text = |text: Option<Short<'_>>| text.unwrap().text().into_owned();
            let types = (
                text(sent.properties.content_type),
                text(sent.properties.content_encoding),
            );
            assert_eq!((&*types.0, &*types.1), content);
            assert_eq!(text(sent.properties.correlation_id), "known as");
            let json = StoredForm::read(sent.body).unwrap();
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(json["result"], 5);
        }
    }

    #[test]
    fn a_queue_that_cannot_be_named_gets_no_reply() {
        let replies = Replies::new(StoredForm::default());
        assert!(replies.reply(&document(&"q".repeat(256))).is_none());
        let unnamed = Document {
            reply: None,
            ..document("q")
        };
        assert!(replies.reply(&unnamed).is_none());
    }
}
