//! Sends requests of the worker's own to the other workers, and collects their replies.

use celery_client::aio::{Cmd, Failure, Pipeline, Value};
use celery_protocol::control::{Reply, ReplyTo, Request};
use celery_protocol::message::DecodeOptions;
use uuid::Uuid;

use super::answer::bytes;
use super::control::RedisControl;
use crate::broker::control::{MOST_REPLIES, MOST_REPLY_BYTES};

/// The address and the ticket of a request that is under way.
#[derive(Debug)]
pub(super) struct Asked {
    address: ReplyTo,
    ticket: String,
}

impl RedisControl {
    /// Binds a list for the replies, and publishes the request.
    pub(super) async fn try_ask(&mut self, request: Request) -> Result<(), Failure> {
        self.open().await?;
        let (address, ticket) = (ReplyTo::new(Uuid::new_v4()), Uuid::new_v4().to_string());
        let request = request.reply_to(address.clone(), &*ticket);
        let request = request.encode_redis(&Uuid::new_v4().to_string());
        let (binding, member) = self.reply_binding(&address);
        let mut call = Pipeline::new();
        call.cmd("SADD").arg(binding).arg(member);
        call.cmd("PUBLISH").arg(&self.channel).arg(request);
        self.link.connection().await.pipeline(&call).await?;
        self.link.worked();
        self.asked = Some(Asked { address, ticket });
        Ok(())
    }

    /// Reads the replies and removes their list. If that fails, the list is removed with the next
    /// connection: see `check`.
    pub(super) async fn try_replies(&mut self) -> Result<Vec<Reply>, Failure> {
        let Some(asked) = &self.asked else {
            return Ok(Vec::new());
        };
        let (list, ticket) = (asked.address.list(&self.layout.keys), asked.ticket.clone());
        self.open().await?;
        let (mut replies, mut size) = (Vec::new(), 0);
        for at in 0..MOST_REPLIES {
            let mut read = Cmd::new();
            read.arg("LRANGE").arg(&list).arg(at).arg(at);
            let Value::Array(one) = self.link.connection().await.query(&read).await? else {
                return Err(Failure::Answer("LRANGE"));
            };
            let Some(raw) = one.into_iter().find_map(bytes) else {
                break;
            };
            size += raw.len();
            replies.push(raw);
            if size > MOST_REPLY_BYTES {
                break;
            }
        }
        self.forget().await?;
        let options = DecodeOptions::default();
        // A reply that cannot be read is like one that did not come.
        let replies = replies.iter();
        let replies = replies.filter_map(|raw| Reply::decode_redis(raw, &options).ok());
        Ok(replies
            .filter(|reply| reply.ticket.as_deref() == Some(&*ticket))
            .collect())
    }

    /// Removes the list of replies to the last request, if it is still there.
    pub(super) async fn forget(&mut self) -> Result<(), Failure> {
        let Some(asked) = &self.asked else {
            return Ok(());
        };
        let list = asked.address.list(&self.layout.keys);
        let (binding, member) = self.reply_binding(&asked.address);
        let mut forget = Pipeline::new();
        forget.cmd("SREM").arg(binding).arg(member);
        forget.cmd("DEL").arg(&list);
        self.link.connection().await.pipeline(&forget).await?;
        self.link.worked();
        self.asked = None;
        Ok(())
    }

    /// Returns the bindings of the exchange for replies, and the member for this address.
    fn reply_binding(&self, address: &ReplyTo) -> (String, String) {
        let keys = &self.layout.keys;
        let member = address.binding_member(keys);
        (keys.binding(&address.exchange), member)
    }
}
