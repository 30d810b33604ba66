//! The work of every reader, on texts that repeat a part very often.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::work(bytes));
