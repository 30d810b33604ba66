//! Compressed data in each format.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::compression(bytes));
