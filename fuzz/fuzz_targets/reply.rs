//! Answers of Redis, in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::reply(bytes));
