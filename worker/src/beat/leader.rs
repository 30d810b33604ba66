//! The role that sends due tasks: one process of the fleet leads, the others wait.
//!
//! Each process looks at the broker from time to time. The look takes the lease of the leader if it
//! is free, renews it if this process has it, and returns what is due. The lease has a *fence*, a
//! number that grows with each leader. Every firing names the fence, and the broker does nothing for
//! an old one. So a leader that was frozen, or cut off, sends nothing after another one has taken
//! its place, although it does not know that.
//!
//! All times come from the broker. The clock of this machine only measures how long to sleep.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use celery_protocol::schedule::EntryError;

use super::entry::Zoned;
use super::file::{FileEntry, synchronize};
use super::message::{Place, Sender, task_id};
use super::plan::{Plan, plan};
use super::status::Status;
use crate::broker::schedules::{Due, Fired, Firing, Look, MOST_DUE, ScheduleStore};
use crate::failpoint::failpoint;
use crate::monitor::{Observer, Pulse};
use crate::printable::one_line;
use crate::trace::Produced;

/// How long a leader sleeps at most. An entry that another program adds is seen after this time, and
/// the lease lasts ten times as long.
const LEADER_SLEEP: Duration = Duration::from_secs(1);
/// How long another process sleeps at most. It looks earlier if the leader's lease ends.
const STANDBY_SLEEP: Duration = Duration::from_secs(2);
/// How long giving the lease back may take.
const RESIGNING: Duration = Duration::from_secs(1);
/// When an entry that cannot be read is looked at again, in milliseconds.
const AGAIN: i64 = 60_000;
/// When an entry is looked at again that another program has changed meanwhile, in milliseconds.
const SOON: i64 = 100;
/// The most entries whose faults are remembered, so that the log has them once.
const MOST_FAULTS: usize = 1_000;

/// The messages of an entry that is due, which have one place.
struct Sending {
    place: Place,
    messages: Vec<Vec<u8>>,
    /// Their spans, as far as their traces are recorded.
    spans: Vec<Produced>,
}

/// A process that can send due tasks.
pub(crate) struct Beat {
    store: Box<dyn ScheduleStore>,
    sender: Sender,
    status: Arc<Status>,
    pulse: Arc<Pulse>,
    /// The faults that are in the log.
    logged: HashSet<(Vec<u8>, String)>,
}

impl Beat {
    pub(crate) fn new(
        store: Box<dyn ScheduleStore>,
        sender: Sender,
        status: Arc<Status>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Beat {
            store,
            sender,
            status,
            pulse,
            logged: HashSet::new(),
        }
    }

    /// Sends due tasks until `end` is ready. Then another process can lead at once. First writes the
    /// entries of the file into the store; `None` leaves those of earlier files.
    pub(crate) async fn serve(
        mut self,
        file: Option<Vec<(String, FileEntry)>>,
        end: impl Future<Output = ()>,
    ) {
        tracing::info!("beat: Starting...");
        let mut end = std::pin::pin!(end);
        tokio::select! {
            biased;
            () = &mut end => {}
            () = self.work(file) => {}
        }
        // If the broker is away, the lease runs out.
        let _ = tokio::time::timeout(RESIGNING, self.store.resign()).await;
        self.status.ended();
        tracing::info!("beat: Shutting down...");
    }

    async fn work(&mut self, file: Option<Vec<(String, FileEntry)>>) {
        if let Some(file) = file {
            synchronize(&mut *self.store, &file).await;
        }
        loop {
            let look = self.store.look().await;
            let sleep = self.turn(&look).await;
            self.pulse.idle(tokio::time::sleep(sleep)).await;
        }
    }

    /// Does what a look reports, and returns how long to sleep.
    async fn turn(&mut self, look: &Look) -> Duration {
        if self.status.looked(look) {
            if look.lead.is_some() {
                tracing::info!("beat: This process leads ({})", look.leader);
            } else {
                tracing::info!("beat: {} leads", one_line(&look.leader));
            }
        }
        let Some(lead) = &look.lead else {
            let lease = u64::try_from(look.lease).unwrap_or(0);
            return Duration::from_millis(lease + 1).min(STANDBY_SLEEP);
        };
        let mut next = lead.next;
        for due in &lead.due {
            self.pulse.beat();
            match self.handle(look, due).await {
                Handled::Moved(to) => next = next.into_iter().chain(to).min(),
                Handled::NotLeading => {
                    tracing::warn!("beat: This process no longer leads; its lease has ended");
                    return Duration::ZERO;
                }
            }
        }
        self.status.next_due(next);
        if lead.due.len() >= MOST_DUE {
            return Duration::ZERO;
        }
        sleep_until(look, next)
    }

    /// Sends the task of an entry that is due, if it is to be sent, and moves its due time.
    async fn handle(&mut self, look: &Look, due: &Due) -> Handled {
        let entry = if due.entry.is_empty() {
            Err(None)
        } else {
            Zoned::read(&due.entry).map_err(Some)
        };
        let entry = match entry {
            Ok(entry) if entry.enabled => entry,
            // It was removed or disabled, but its due time was left.
            Ok(_) | Err(None) => return self.move_to(look, due, None).await,
            Err(Some(error)) => {
                self.fault(due, error);
                return self.move_to(look, due, Some(look.now + AGAIN)).await;
            }
        };
        let plan = plan(
            &entry.schedule,
            entry.rules(),
            entry.missed,
            due.at,
            look.now,
        );
        if plan.skips {
            self.status.skipped();
            tracing::warn!(
                "Scheduler: {} was missed, and is not sent again",
                one_line(&String::from_utf8_lossy(&due.name))
            );
        }
        if plan.send.is_empty() {
            return self.move_to(look, due, plan.next).await;
        }
        match self.messages(look, due, &entry, &plan) {
            Ok(sending) => self.fire(look, due, &entry, &plan, &sending).await,
            Err(cause) => {
                self.fault(due, EntryError(cause));
                self.move_to(look, due, plan.next).await
            }
        }
    }

    /// Makes the messages of a plan. They have one place, which is that of the entry.
    fn messages(
        &self,
        look: &Look,
        due: &Due,
        entry: &Zoned,
        plan: &Plan,
    ) -> Result<Sending, String> {
        let mut place = None;
        let mut messages = Vec::with_capacity(plan.send.len());
        let mut spans = Vec::new();
        for at in &plan.send {
            let id = task_id(&due.name, *at);
            let outgoing = self.sender.message(entry, id, look.now)?;
            place = Some(outgoing.place);
            messages.push(outgoing.message);
            spans.extend(outgoing.span.map(|span| *span));
        }
        let place = place.ok_or("no message")?;
        Ok(Sending {
            place,
            messages,
            spans,
        })
    }

    async fn fire(
        &mut self,
        look: &Look,
        due: &Due,
        entry: &Zoned,
        plan: &Plan,
        sending: &Sending,
    ) -> Handled {
        let Sending {
            place,
            messages,
            spans,
        } = sending;
        let name = String::from_utf8_lossy(&due.name).into_owned();
        let (name, task) = (one_line(&name), one_line(&entry.task));
        let firing = Firing {
            token: &look.leader,
            due,
            next: plan.next,
            queue: &place.queue,
            priority: place.priority,
            messages,
        };
        failpoint!("beat_fire");
        let fired = self.store.fire(&firing).await;
        failpoint!("beat_fired");
        match fired {
            Fired::Done => {
                self.status.sent(messages.len());
                for span in spans {
                    self.sender.traces.published(span, &place.queue);
                }
                self.sender.report(messages, &place.queue);
                tracing::info!("Scheduler: Sending due task {name} ({task})");
                for at in &plan.send {
                    tracing::debug!("{task} sent. id->{}", task_id(&due.name, *at));
                }
                Handled::Moved(plan.next)
            }
            Fired::Changed => {
                tracing::debug!("Scheduler: {name} was changed meanwhile");
                Handled::Moved(Some(look.now + SOON))
            }
            Fired::NotLeading => Handled::NotLeading,
            Fired::NotSent(cause) => {
                tracing::error!("Scheduler: {name} ({task}) could not be sent: {cause}");
                Handled::Moved(plan.next)
            }
            Fired::Refused(cause) => {
                tracing::error!("Scheduler: {name} ({task}) could not be sent: {cause}");
                self.move_to(look, due, plan.next).await
            }
        }
    }

    /// Moves the due time of an entry without sending it.
    async fn move_to(&mut self, look: &Look, due: &Due, next: Option<i64>) -> Handled {
        let firing = Firing {
            token: &look.leader,
            due,
            next,
            queue: "",
            priority: 0,
            messages: &[],
        };
        match self.store.fire(&firing).await {
            Fired::Done => Handled::Moved(next),
            Fired::NotLeading => Handled::NotLeading,
            Fired::Changed => Handled::Moved(Some(look.now + SOON)),
            Fired::NotSent(cause) | Fired::Refused(cause) => {
                self.fault(due, EntryError(cause));
                Handled::Moved(None)
            }
        }
    }

    /// Logs what is wrong with an entry, once.
    fn fault(&mut self, due: &Due, error: EntryError) {
        if self.logged.len() >= MOST_FAULTS {
            self.logged.clear();
        }
        let name = String::from_utf8_lossy(&due.name).into_owned();
        if self.logged.insert((due.name.clone(), error.to_string())) {
            let name = one_line(&name);
            tracing::error!("Scheduler: {name} cannot be sent: {error}");
        }
    }
}

/// What became of an entry that was due.
enum Handled {
    /// It is next due at this time, if at all.
    Moved(Option<i64>),
    /// This process no longer leads.
    NotLeading,
}

/// Returns how long a leader sleeps.
fn sleep_until(look: &Look, next: Option<i64>) -> Duration {
    let Some(next) = next else {
        return LEADER_SLEEP;
    };
    let left = u64::try_from(next.saturating_sub(look.now)).unwrap_or(0);
    Duration::from_millis(left).min(LEADER_SLEEP)
}
