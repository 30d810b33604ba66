//! A broker's URL.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::endpoint(bytes));
