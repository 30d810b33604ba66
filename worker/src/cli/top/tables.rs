//! The tables of `top`, as text: the screen draws them, and `--once` prints them.

use std::time::Instant;

use super::fleet::{Fleet, State};
use crate::printable::one_line;

/// A table: the heads of its columns, and its rows.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    pub(super) heads: &'static [&'static str],
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns the width of each column in characters: that of its longest cell.
    pub(super) fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.heads.iter().map(|head| head.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

/// What one page of the screen shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    #[default]
    Workers,
    Queues,
    Running,
    Tasks,
    Failures,
    Dead,
}

impl Page {
    /// The pages, in the order of their keys 1 to 6.
    pub(super) const ALL: [Page; 6] = [
        Page::Workers,
        Page::Queues,
        Page::Running,
        Page::Tasks,
        Page::Failures,
        Page::Dead,
    ];

    /// Returns the page's title.
    pub(super) fn title(self) -> &'static str {
        match self {
            Page::Workers => "Workers",
            Page::Queues => "Queues",
            Page::Running => "Running",
            Page::Tasks => "Tasks",
            Page::Failures => "Failures",
            Page::Dead => "Dead letters",
        }
    }

    /// Returns the page's table. `clock` is the time in Unix seconds.
    pub(super) fn table(self, fleet: &Fleet, now: Instant, clock: f64) -> Table {
        match self {
            Page::Workers => workers(fleet, now),
            Page::Queues => queues(fleet),
            Page::Running => running(fleet, clock),
            Page::Tasks => tasks(fleet),
            Page::Failures => failures(fleet, clock),
            Page::Dead => dead(fleet),
        }
    }
}

fn workers(fleet: &Fleet, now: Instant) -> Table {
    let rows = fleet.workers.iter().map(|(node, worker)| {
        let state = match worker.state(now) {
            State::Up => "up",
            State::Stopped => "stopped",
            State::Silent => "silent",
        };
        vec![
            one_line(node).into_owned(),
            state.to_owned(),
            one_line(&worker.software).into_owned(),
            worker.active.to_string(),
            worker
                .slots
                .map_or_else(String::new, |slots| slots.to_string()),
            worker.processed.to_string(),
            format!("{:.1}", worker.rate),
            worker
                .load
                .map_or_else(String::new, |load| format!("{load:.2}")),
            one_line(&worker.queues.join(",")).into_owned(),
        ]
    });
    Table {
        heads: &[
            "worker", "state", "software", "active", "slots", "begun", "per s", "load", "queues",
        ],
        rows: rows.collect(),
    }
}

fn queues(fleet: &Fleet) -> Table {
    let rows = fleet.queues.iter().map(|(queue, waiting)| {
        let serving = fleet.workers.values();
        let serving = serving.filter(|worker| worker.queues.contains(queue));
        vec![
            one_line(queue).into_owned(),
            waiting.to_string(),
            serving.count().to_string(),
        ]
    });
    Table {
        heads: &["queue", "waiting", "workers"],
        rows: rows.collect(),
    }
}

fn running(fleet: &Fleet, clock: f64) -> Table {
    let rows = fleet.running.iter().map(|(id, task)| {
        vec![
            one_line(id).into_owned(),
            one_line(&task.name).into_owned(),
            one_line(&task.worker).into_owned(),
            task.began
                .map_or_else(String::new, |began| ago(clock - began)),
            one_line(&task.arguments).into_owned(),
        ]
    });
    Table {
        heads: &["id", "task", "worker", "for", "arguments"],
        rows: rows.collect(),
    }
}

fn tasks(fleet: &Fleet) -> Table {
    let rows = fleet.tasks.iter().map(|(name, counts)| {
        let mean = match u32::try_from(counts.succeeded) {
            Ok(some @ 1..) => format!("{:.3} s", counts.runtime / f64::from(some)),
            _ => String::new(),
        };
        let numbers = [
            counts.received,
            counts.succeeded,
            counts.failed,
            counts.retried,
            counts.revoked,
        ];
        let mut row = vec![one_line(name).into_owned()];
        row.extend(numbers.map(|number| number.to_string()));
        row.push(mean);
        row
    });
    Table {
        heads: &[
            "task",
            "received",
            "succeeded",
            "failed",
            "retried",
            "revoked",
            "mean",
        ],
        rows: rows.collect(),
    }
}

fn failures(fleet: &Fleet, clock: f64) -> Table {
    let rows = fleet.failures.iter().map(|task| {
        vec![
            ago(clock - task.at),
            one_line(&task.id).into_owned(),
            one_line(&task.name).into_owned(),
            one_line(&task.worker).into_owned(),
            one_line(&task.exception).into_owned(),
        ]
    });
    Table {
        heads: &["age", "id", "task", "worker", "exception"],
        rows: rows.collect(),
    }
}

fn dead(fleet: &Fleet) -> Table {
    let rows = fleet.letters.iter().map(|letter| {
        let cells = [
            &letter.place,
            &letter.queue,
            &letter.id,
            &letter.task,
            &letter.cause,
        ];
        cells.map(|cell| one_line(cell).into_owned()).to_vec()
    });
    Table {
        heads: &["place", "queue", "id", "task", "cause"],
        rows: rows.collect(),
    }
}

/// Returns a duration in the largest unit that leaves at least one. Clocks of other machines may
/// be ahead of this one.
fn ago(seconds: f64) -> String {
    match seconds.max(0.0) {
        short if short < 120.0 => format!("{short:.0} s"),
        medium if medium < 7200.0 => format!("{:.0} min", medium / 60.0),
        long => format!("{:.0} h", long / 3600.0),
    }
}
