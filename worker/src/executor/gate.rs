//! Lets calls begin whose tasks have limits that hold across all workers.
//!
//! A call that waits has no slot. It keeps its lease, and does not count against the number of
//! messages that may be held. Calls of one group, which share a limit, wait in one line. A call asks
//! the broker only once this worker has a slot for it, so that a busy worker takes no place from
//! others. When it may begin, its place belongs to its message until the message is settled, given
//! back or restored: the broker sees to that.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use celery_client::backoff::random;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::slots::Slot;
use super::stage::Stage;
use crate::broker::admission::{Answer, Ask, Group, Place, Request};
use crate::broker::{Tag, Waits};
use crate::delivery::Delivery;
use crate::shutdown::Phase;
use crate::task::TaskDef;

/// About how long a line waits before it asks again, if all places are taken. A worker learns of
/// its own calls that end, but not of those of other workers.
const AGAIN: Duration = Duration::from_millis(250);

/// The most calls in one request.
const MOST_ASKS: usize = 200;

/// The most calls of one line in one request.
const MOST_OF_LINE: usize = 50;

/// How often the places of running calls are kept from expiring.
const TEND: Duration = Duration::from_mins(10);

/// The most places that wait to be removed. Those beyond are left to the broker.
const MOST_ENDED: usize = 10_000;

/// A call of a limited task.
pub(super) type Limited = (Arc<TaskDef>, Delivery);

/// A call that waits.
struct Waiting {
    delivery: Delivery,
    _queued: Queued,
    _waits: Waits,
}

/// Counts a call as one that waits, until it is dropped.
struct Queued(Arc<TaskDef>);

impl Queued {
    fn new(task: &Arc<TaskDef>) -> Self {
        task.live.waiting.fetch_add(1, Ordering::Relaxed);
        Queued(Arc::clone(task))
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.live.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The calls of one group, in their order.
struct Line {
    task: Arc<TaskDef>,
    calls: VecDeque<Waiting>,
    /// When it asks again. `None`: at once.
    from: Option<Instant>,
    /// `true` if all places were taken when it asked last.
    full: bool,
}

/// A call that asks, with the slot in which it will run.
struct Asking {
    group: Group,
    waiting: Waiting,
    slot: Slot,
}

/// The reason to look at the lines.
enum Wake {
    Call(Option<Limited>),
    /// A slot of this worker is free.
    Slot(Option<Slot>),
    /// Calls have ended, or a line may ask again.
    Look,
    Stop,
}

/// The calls of limited tasks.
pub(super) struct Gate<S> {
    stage: Arc<Stage>,
    requests: mpsc::Sender<Request>,
    /// Starts a call that may begin, with its slot.
    start: S,
    lines: HashMap<Group, Line>,
    /// The groups with calls, in the order of their turns.
    turns: VecDeque<Group>,
    /// The calls that have begun under a limit of concurrency.
    inside: HashMap<Tag, Group>,
    /// Places that are to be removed.
    ended: Vec<Place>,
    tended: Instant,
}

impl<S: Fn(&Arc<TaskDef>, Delivery, Option<Slot>)> Gate<S> {
    pub(super) fn new(stage: &Arc<Stage>, requests: mpsc::Sender<Request>, start: S) -> Self {
        Gate {
            stage: Arc::clone(stage),
            requests,
            start,
            lines: HashMap::new(),
            turns: VecDeque::new(),
            inside: HashMap::new(),
            ended: Vec::new(),
            tended: Instant::now(),
        }
    }

    /// Starts calls as their limits allow. Returns when no more calls come. When the worker drains
    /// or stops, gives back those that wait.
    pub(super) async fn run(mut self, mut calls: mpsc::UnboundedReceiver<Limited>) {
        let mut spare = None;
        loop {
            while let Ok((task, delivery)) = calls.try_recv() {
                self.add(task, delivery);
            }
            self.tend();
            let round = self.round(&mut spare);
            if !round.is_empty() {
                if self.ask(round).await {
                    continue;
                }
                break;
            }
            drop(spare.take());
            match self.wake(&mut calls).await {
                Wake::Call(Some((task, delivery))) => self.add(task, delivery),
                Wake::Slot(slot) => spare = slot,
                Wake::Look => {}
                Wake::Call(None) | Wake::Stop => break,
            }
        }
        for line in std::mem::take(&mut self.lines).into_values() {
            for waiting in line.calls {
                self.stage.give_back(waiting.delivery);
            }
        }
        while let Some((_, delivery)) = calls.recv().await {
            self.stage.give_back(delivery);
        }
    }

    async fn wake(&self, calls: &mut mpsc::UnboundedReceiver<Limited>) -> Wake {
        let now = Instant::now();
        let is_due = self.lines.values().any(|line| line.is_due(now));
        let next = self.lines.values().filter_map(|line| line.from).min();
        let tends = (!self.inside.is_empty()).then(|| self.tended + TEND);
        let next = next.into_iter().chain(tends).min();
        tokio::select! {
            biased;
            () = self.stage.shutdown.reached(Phase::Draining) => Wake::Stop,
            call = calls.recv() => Wake::Call(call),
            () = self.stage.settler.ledger.ended.notified(), if !self.inside.is_empty() => Wake::Look,
            // A line that is due lacks only a slot.
            slot = self.stage.slot(), if is_due => Wake::Slot(slot),
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => Wake::Look,
        }
    }

    fn add(&mut self, task: Arc<TaskDef>, delivery: Delivery) {
        let group = Group {
            task: Arc::clone(&task.name),
            key: task.policy.fleet.key(&delivery.task),
        };
        let waiting = Waiting {
            _queued: Queued::new(&task),
            _waits: self.stage.settler.ledger.waits(),
            delivery,
        };
        let turns = &mut self.turns;
        let line = self.lines.entry(group.clone()).or_insert_with(|| {
            turns.push_back(group);
            Line {
                task,
                calls: VecDeque::new(),
                from: None,
                full: false,
            }
        });
        line.calls.push_back(waiting);
    }

    /// Takes the calls that ask next, each with a slot: those of each line in turn.
    fn round(&mut self, spare: &mut Option<Slot>) -> Vec<Asking> {
        let (now, mut round) = (Instant::now(), Vec::new());
        for _ in 0..self.turns.len() {
            let Some(group) = self.turns.pop_front() else {
                break;
            };
            let Some(line) = self.lines.get_mut(&group) else {
                continue;
            };
            if line.is_due(now) {
                // Calls that will not run need no place. Their start settles them.
                while let Some(over) = line
                    .calls
                    .pop_front_if(|waiting| self.stage.settler.is_over(&waiting.delivery))
                {
                    (self.start)(&line.task, over.delivery, None);
                }
                let most = if line.full { 1 } else { MOST_OF_LINE };
                for _ in 0..most.min(MOST_ASKS - round.len()) {
                    let slot = spare.take().or_else(|| self.stage.try_slot());
                    let Some(slot) = slot else { break };
                    let Some(waiting) = line.calls.pop_front() else {
                        *spare = Some(slot);
                        break;
                    };
                    let group = group.clone();
                    round.push(Asking {
                        group,
                        waiting,
                        slot,
                    });
                }
            }
            if line.calls.is_empty() && !round.iter().any(|asking| asking.group == group) {
                self.lines.remove(&group);
            } else {
                self.turns.push_back(group);
            }
        }
        round
    }

    /// Asks the broker, and starts the calls that may begin. Returns `false` if the worker drains
    /// or stops meanwhile.
    async fn ask(&mut self, round: Vec<Asking>) -> bool {
        let asks: Vec<Ask> = round
            .iter()
            .filter_map(|asking| self.ask_of(asking))
            .collect();
        let (answer, answers) = oneshot::channel();
        let answered = async {
            self.requests.send(Request::Ask(asks, answer)).await.ok()?;
            answers.await.ok()
        };
        let answers = tokio::select! {
            biased;
            answers = answered => answers,
            () = self.stage.shutdown.reached(Phase::Draining) => None,
        };
        let Some(answers) = answers else {
            // If the calls were let in, their places are free again once they are given back.
            for asking in round {
                self.stage.give_back(asking.waiting.delivery);
            }
            return false;
        };
        let now = Instant::now();
        for asking in &round {
            if let Some(line) = self.lines.get_mut(&asking.group) {
                (line.full, line.from) = (false, None);
            }
        }
        // From the last to the first, so that those that wait on keep their order.
        let mut begin = Vec::new();
        for (asking, answer) in round.into_iter().zip(answers).rev() {
            let Some(line) = self.lines.get_mut(&asking.group) else {
                continue;
            };
            match answer {
                Answer::Begins => begin.push(asking),
                Answer::Lost => self.stage.give_back(asking.waiting.delivery),
                Answer::Full => {
                    self.stage.limit_waits.inc();
                    (line.full, line.from) =
                        (true, Some(now + AGAIN.mul_f64(0.75 + random() / 2.0)));
                    line.calls.push_front(asking.waiting);
                }
                Answer::Early(wait) => {
                    self.stage.limit_waits.inc();
                    line.from = Some(now + wait);
                    line.calls.push_front(asking.waiting);
                }
            }
        }
        for Asking {
            group,
            waiting,
            slot,
        } in begin.into_iter().rev()
        {
            let Some(line) = self.lines.get(&group) else {
                continue;
            };
            let task = Arc::clone(&line.task);
            if task.policy.fleet.max_concurrency.is_some() {
                self.inside.insert(waiting.delivery.tag, group);
            }
            (self.start)(&task, waiting.delivery, Some(slot));
        }
        true
    }

    fn ask_of(&self, asking: &Asking) -> Option<Ask> {
        let limits = &self.lines.get(&asking.group)?.task.policy.fleet;
        Some(Ask {
            tag: asking.waiting.delivery.tag,
            group: asking.group.clone(),
            most: limits.max_concurrency,
            interval: limits.interval(),
        })
    }

    /// Notes which calls have ended: their lines may ask at once. Has the broker remove their
    /// places, and keep those of the running calls.
    fn tend(&mut self) {
        let gone = self.stage.settler.ledger.gone(self.inside.keys().copied());
        for tag in gone {
            let Some(group) = self.inside.remove(&tag) else {
                continue;
            };
            if let Some(line) = self.lines.get_mut(&group).filter(|line| line.full) {
                line.from = None;
            }
            if self.ended.len() < MOST_ENDED {
                self.ended.push((tag, group));
            }
        }
        let renews = self.tended.elapsed() >= TEND && !self.inside.is_empty();
        if self.ended.is_empty() && !renews {
            return;
        }
        // Without room, the next turn tries again.
        let Ok(permit) = self.requests.try_reserve() else {
            return;
        };
        let mut held = Vec::new();
        if renews {
            self.tended = Instant::now();
            held.extend(self.inside.iter().map(|(tag, group)| (*tag, group.clone())));
        }
        let ended = std::mem::take(&mut self.ended);
        permit.send(Request::Tend { ended, held });
    }
}

impl Line {
    /// Returns `true` if it has calls that may ask now.
    fn is_due(&self, now: Instant) -> bool {
        !self.calls.is_empty() && self.from.is_none_or(|from| from <= now)
    }
}
