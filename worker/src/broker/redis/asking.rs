//! Sends requests of the worker's own to the other workers, and collects their replies.

use celery_client::aio::{Cmd, Failure, Pipeline, Value};
use celery_protocol::control::{Reply, ReplyTo, Request};
use celery_protocol::message::DecodeOptions;
use uuid::Uuid;

use super::answer::bytes;
use super::control::RedisControl;

/// The most replies that are read. Workers of one fleet know mostly the same, and each reply may
/// have two megabytes.
const MOST_REPLIES: i64 = 32;

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

    /// Reads the replies and removes their list.
    pub(super) async fn try_replies(&mut self) -> Result<Vec<Reply>, Failure> {
        let Some(Asked { address, ticket }) = self.asked.take() else {
            return Ok(Vec::new());
        };
        self.open().await?;
        let list = address.list(&self.layout.keys);
        let mut read = Cmd::new();
        read.arg("LRANGE").arg(&list).arg(0).arg(MOST_REPLIES - 1);
        let answer = self.link.connection().await.query(&read).await?;
        let (binding, member) = self.reply_binding(&address);
        let mut forget = Pipeline::new();
        forget.cmd("SREM").arg(binding).arg(member);
        forget.cmd("DEL").arg(&list);
        self.link.connection().await.pipeline(&forget).await?;
        self.link.worked();
        let Value::Array(replies) = answer else {
            return Err(Failure::Answer("LRANGE"));
        };
        let options = DecodeOptions::default();
        let replies = replies.into_iter().filter_map(bytes);
        // A reply that cannot be read is like one that did not come.
        let replies = replies.filter_map(|raw| Reply::decode_redis(&raw, &options).ok());
        Ok(replies
            .filter(|reply| reply.ticket.as_deref() == Some(&*ticket))
            .collect())
    }

    /// Returns the bindings of the exchange for replies, and the member for this address.
    fn reply_binding(&self, address: &ReplyTo) -> (String, String) {
        let keys = &self.layout.keys;
        let member = address.binding_member(keys);
        (keys.binding(&address.exchange), member)
    }
}
