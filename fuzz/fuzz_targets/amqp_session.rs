//! What an AMQP server sends to a client, in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::amqp_session(bytes));
