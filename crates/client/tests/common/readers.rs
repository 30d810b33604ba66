//! Properties of the client's readers that hold for all bytes.
//!
//! The fuzz targets (`fuzz/`) and the test of the kept corpus run these functions. Each function
//! must return normally for any input.

#![allow(dead_code, unreachable_pub, reason = "each user takes its own part")]
#![allow(
    clippy::unwrap_used,
    reason = "a property that does not hold is a failed test"
)]

use celery_client::Endpoint;
use celery_client::amqp::AmqpEndpoint;
use celery_client::endpoint::Address;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Shape, answers};

/// The largest answer to accept, in bytes.
const LIMIT: usize = 1 << 20;

/// A reader by name, which is also the name of its fuzz target and of its folder in the kept
/// corpus.
pub type Reader = (&'static str, fn(&[u8]));

/// All readers.
pub const READERS: &[Reader] = &[("endpoint", endpoint), ("reply", reply)];

/// Reads a broker's URL. The displayed form hides the password and names the same connection.
pub fn endpoint(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    amqp_endpoint(text);
    let Ok(Endpoint::Redis(endpoint)) = Endpoint::from_url(text) else {
        return;
    };
    let shown = endpoint.display_url();
    assert!(!shown.contains(char::is_control), "{shown:?}");
    // The path of a socket is displayed unchanged.
    if matches!(endpoint.address(), Address::Unix(_)) {
        return;
    }
    let again = RedisEndpoint::from_url(&shown).unwrap();
    assert_eq!(again.identity(), endpoint.identity(), "{shown}");
    let mask = again.password().map(celery_client::Secret::reveal);
    assert_eq!(mask, endpoint.password().map(|_| "********"), "{shown}");
}

/// Like [`endpoint`], for RabbitMQ.
fn amqp_endpoint(text: &str) {
    let Ok(endpoint) = AmqpEndpoint::from_url(text) else {
        return;
    };
    let shown = endpoint.display_url();
    assert!(!shown.contains(char::is_control), "{shown:?}");
    let again = AmqpEndpoint::from_url(&shown).unwrap();
    assert_eq!(again.identity(), endpoint.identity(), "{shown}");
    assert_eq!(again.password().reveal(), "********", "{shown}");
}

/// Reads answers of Redis. The first byte sets the size of the pieces in which they arrive; it must
/// not change the outcome.
pub fn reply(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else {
        return;
    };
    for shape in [
        Shape::Short,
        Shape::Hello,
        Shape::Text,
        Shape::Message,
        Shape::Listing,
    ] {
        let (whole, outcome) = answers([bytes], shape, LIMIT);
        let (pieces, same) = answers(bytes.chunks(usize::from(*size) + 1), shape, LIMIT);
        assert_eq!(pieces, whole);
        assert_eq!(same.is_ok(), outcome.is_ok(), "{same:?} {outcome:?}");
    }
}
