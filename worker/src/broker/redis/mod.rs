//! Moves messages on Redis in kombu's layout, without the gaps in which kombu can lose messages.
//!
//! # States
//!
//! A message is always in exactly one of these places. Every arrow is one script, or one
//! transaction, and therefore one step for Redis:
//!
//! ```text
//!                     claim                         settle: acknowledge (+ result, follow-ups)
//!    ┌── list ────────────────────► held ──────────────────────────────────────────► gone
//!    │    ▲  ▲                      │  ▲ renew, each 10 s
//!    │    │  │  settle: give back   │  │                settle: dead
//!    │    │  └──────────────────────┤  └─┐ fetch    ┌────────────────────────────► celery.dead
//!    │    │                         │    │          │                                    ▲
//!    │    │                         └─► parked ─────┘                                    │
//!    │    │                        park    (score = ETA)                                 │
//!    │    │                                                                              │
//!    │    └── restore: lease run out (held: 30 s, parked: 30 s after ETA, Python's: 1 h)
//!    └─────── claim: not a JSON object ──────────────────────────────────────────────────┘
//! ```
//!
//! *Held* and *parked* messages each have an entry in the hash `unacked` and one in the sorted set
//! `unacked_index`, as kombu has them. A claim of large messages has two arrows, with the worker's
//! held list (`rs.held.<instance>`) between them: ARCHITECTURE.md has its steps and what can happen
//! between them. A Python worker can therefore restore and run what this
//! worker abandons, and the reverse.
//!
//! # Authority
//!
//! Redis decides who holds a message: the worker whose tag is in the index. Tags are
//! `rs:<instance>:<call>:<number>`. They are new for every claim and never used again. If a tag is
//! gone, its worker no longer holds the message. Every script that changes the state of a held
//! message checks the tag in the same step (the *fence*). Nothing else counts: neither this
//! process's memory nor the last renewal.
//!
//! # Trust window
//!
//! A renewal is a promise to other workers ("do not rescue this for another lease"), not a proof. A
//! Python sweeper that has read an older score may still take the message. The code of a task that
//! is frozen for longer than a lease goes on when it thaws, although another worker has the
//! message. Its writes to other systems stay, but the fence refuses its settlement. All scripts use
//! Redis's time, so that only Python's clocks can be wrong.
//!
//! # What is never repeated blindly
//!
//! A claim whose answer did not arrive may have been carried out. It is not sent again: its tags
//! are known, so its messages are read from the hash. If a frozen server carries out the claim even
//! later, its messages are not renewed, and go back to their lists after a lease. All other calls
//! are fenced and may be sent twice.
//!
//! # What is refused
//!
//! Some refusals pass by themselves (a failover, a full memory, a rotated password). The worker
//! then waits, as for a server that is away. It also waits if its own keys are refused. A permanent
//! refusal can concern a single message: its key has another type, or the user may not touch it.
//! Then the batch is divided, and the log reports the refused message. The message stays held until
//! its lease runs out. After too many deliveries it becomes a dead letter.
//!
//! Scripts touch the hash `unacked` as seldom as possible, in large batches. Python's sweepers
//! WATCH the whole hash, and many small writes starve them.
//!
//! # Layout
//!
//! * `server` – [`Server`], the broker; `inbound` – when to claim (`pace`), and the bell
//!   (`doorbell`).
//! * `session` – the connection of a role; `claim`, `native`, `held_list`, `settle`, `parking`,
//!   `chord`, `sweep` – its calls; `moving` – which claims are native.
//! * `fair` – the role that sorts fair queues into groups; `consumed` – the lists that are claimed from.
//! * `leases` – the roles that renew leases and rescue messages; `control` – the channel of remote
//!   control, `asking` – requests of the worker's own, `revoking` – the state REVOKED; `events` – the
//!   channel of events; `schedules` – the store of schedules.
//! * `layout`, `binding`, `answer` – names, bindings, answers.

mod admission;
mod answer;
mod asking;
pub(crate) mod binding;
mod chord;
mod claim;
mod connector;
mod consumed;
mod control;
mod doorbell;
mod events;
mod fair;
mod forms;
mod held_list;
mod inbound;
mod layout;
mod leases;
mod locking;
mod moving;
mod native;
mod outbound;
mod pace;
mod parking;
mod results;
mod revoking;
mod schedules;
mod server;
mod session;
mod settle;
mod sweep;

pub(crate) use self::connector::Store;
pub(crate) use self::held_list::{Header, header_of, only, return_call};
pub(crate) use self::revoking::RevokedResults;
pub(crate) use self::schedules::{events_of_schedules, read_written, schedules, write_call};
pub(crate) use self::server::Server;
pub(crate) use self::session::Session;
