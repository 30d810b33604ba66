//! Frames of AMQP and what is in them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::amqp(bytes));
