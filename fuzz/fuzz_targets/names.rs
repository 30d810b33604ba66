//! Names of tasks, ids, queues, delivery tags.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| celery_fuzz::names(bytes));
