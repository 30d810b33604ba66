//! Kills workers at each step of deliver, begin, run, publish and acknowledge. Needs the feature
//! `failpoints`.

use std::time::Duration;

use celery_testkit::RabbitMq;

use crate::programs::Worker;
use crate::steps::{STEPS, die, die_at};
use crate::world::{Kind, World, by_scale, from_now};

/// The steps of tasks that follow or wait: the step, the tasks that pass it, and the seconds until
/// these are due.
const FOLLOWING: [(&str, Kind, Option<u64>); 6] = [
    // A message is about to wait in the native delay; it waits, and its delivery is not acknowledged.
    ("copy", Kind::Noop, Some(10)),
    ("copied", Kind::Noop, Some(10)),
    // A retry is about to be published; it is published, and its delivery is not acknowledged.
    ("publish", Kind::Retrying, None),
    ("confirmed", Kind::Retrying, None),
    // A message waits in the native delay, and its delivery is acknowledged.
    ("parked", Kind::Noop, Some(10)),
    // A message that has waited in the worker for its last second is due.
    ("due", Kind::Noop, Some(3)),
];

on_both! {
    death_at_any_step_loses_nothing: "death at each step";
}

fn death_at_any_step_loses_nothing(world: World) -> Vec<RabbitMq> {
    let turns = by_scale(1, 5, 30);
    let mut world = world.with_database(&[]);
    let mut deaths = 0;
    for turn in 0..turns {
        world.exactly_once = turn % 2 == 0;
        for (step, passes) in STEPS {
            // The server delivers before a worker asks. A message that was delivered again is about to be
            // published with its count; it is published, and its delivery is not acknowledged. A
            // result is stored, and its message is not acknowledged.
            let steps: &[&str] = match step {
                "claim" => &["claimed", "copy", "copied"],
                "settle" => &["settle", "stored"],
                _ => std::slice::from_ref(&step),
            };
            for step in steps {
                die_at(&mut world, step, passes, &[]);
                deaths += 1;
            }
        }
        for (step, kind, wait) in FOLLOWING {
            let eta = wait.map(|wait| from_now(Duration::from_secs(wait)));
            world.post_at(kind, 10, eta);
            let command = world.playground_command(&["-c", "5"]);
            die(&mut world, command, step);
            deaths += 1;
        }
        let workers = [world.worker(&[]), world.playground(&[])];
        world.drain(&[&workers[0], &workers[1]]);
        workers.into_iter().for_each(Worker::stop);
    }
    world.finish(deaths, vec![]).nodes
}
