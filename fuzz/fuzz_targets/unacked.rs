//! An entry of the hash of held messages.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::unacked(bytes));
