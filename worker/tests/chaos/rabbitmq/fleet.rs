//! Python's worker and ours on one queue, both killed at random moments.

use std::time::Duration;

use celery_testkit::RabbitMq;

use crate::fleet::successes;
use crate::world::{Kind, World, by_scale};

on_both! {
    a_mixed_fleet_may_be_killed: "Python and Rust on one queue, both killed";
}

fn a_mixed_fleet_may_be_killed(mut world: World) -> Vec<RabbitMq> {
    let kills = by_scale(2, 20, 100);
    let more = ["-c", "4", "-l", "info"];
    let (mut killed, mut theirs, mut mine) = (0, 0, 0);
    // By chance, one of the two may be killed before it has done anything.
    while killed < kills || (killed < 10 * kills && (theirs == 0 || mine == 0)) {
        let mut python = world.python("play", 3_600);
        let mut ours = world.playground(&more);
        world.post(Kind::Sleep(0.01), 400);
        world.post(Kind::Retrying, 20);
        let python_first = world.random.bool();
        for is_first in [true, false] {
            world.work_a_little(Duration::from_millis(800));
            if is_first == python_first {
                python.kill9();
            } else {
                ours.process.kill9();
            }
            killed += 1;
        }
        theirs += successes(&[python.log()]).len();
        mine += successes(&[ours.process.log()]).len();
        world.invariant(&format!("after {killed} kills"));
    }
    assert!(
        theirs > 0 && mine > 0,
        "Python did {theirs} tasks, Rust {mine}"
    );
    world.note(format!(
        "before their ends, Python did {theirs}, Rust {mine}"
    ));
    let workers = vec![world.playground(&more)];
    world.finish(killed, workers).nodes
}
