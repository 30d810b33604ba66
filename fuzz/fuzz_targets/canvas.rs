//! A signature, chain, group or chord, and what a call of it sends.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::canvas(bytes));
