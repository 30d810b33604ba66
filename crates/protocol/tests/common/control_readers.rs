//! Properties of requests and replies of remote control that hold for any bytes.

#![allow(dead_code, unreachable_pub, reason = "each user takes its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a property that does not hold is a failed test"
)]

use celery_protocol::control::{Reply, ReplyTo, Request};
use celery_protocol::message::DecodeOptions;

/// Reads a message of remote control as a request and as a reply. What was read is read again after
/// it was written.
pub fn control(bytes: &[u8]) {
    let options = DecodeOptions::default();
    if let Ok(request) = Request::decode_redis(bytes, &options) {
        // A worker decides with this whether it answers.
        let is_addressed = request.addresses("celery@web1", |pattern, _| pattern == "celery@*");
        let written = request.encode_redis("t");
        let again = Request::decode_redis(&written, &options).unwrap();
        assert_eq!(
            (&again.method, &again.ticket, &again.reply_to),
            (&request.method, &request.ticket, &request.reply_to)
        );
        assert_eq!(
            again.addresses("celery@web1", |pattern, _| pattern == "celery@*"),
            is_addressed
        );
    }
    if let Ok(reply) = Reply::decode_redis(bytes, &options) {
        let written = reply.encode_redis(&ReplyTo::new("client"), "t");
        let again = Reply::decode_redis(&written, &options).unwrap();
        assert_eq!((&again.node, &again.ticket), (&reply.node, &reply.ticket));
        assert_eq!(again.answer.get(), reply.answer.get());
    }
}
