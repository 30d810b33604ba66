//! Dates, and values that are shown to people.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::text(bytes));
