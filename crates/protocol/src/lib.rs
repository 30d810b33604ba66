//! Celery's wire format as plain values: no I/O, no clock, no globals.
