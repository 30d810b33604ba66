//! The body of a message, in each serializer and compression.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::body(bytes));
