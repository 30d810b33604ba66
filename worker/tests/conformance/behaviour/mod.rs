//! What has to hold on every broker. Each behaviour is listed in [`suite`](crate::suite).

pub mod chords;
pub mod dead_letters;
pub mod eta;
pub mod follow_ups;
pub mod order;
pub mod outages;
pub mod priorities;
pub mod queues;
pub mod redelivery;
pub mod results_elsewhere;
pub mod settlement;
pub mod shutdown;
pub mod unreadable;
