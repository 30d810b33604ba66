//! The consumer against a real Redis: messages in, deliveries out, verdicts carried out, faults survived.

mod faults;
mod rescue;
mod rig;
mod verdicts;
