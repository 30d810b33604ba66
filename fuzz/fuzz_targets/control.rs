//! Requests and replies of remote control.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::control(bytes));
