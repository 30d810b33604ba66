//! Chords whose members are counted by workers that die, freeze, or lose their Redis. Needs the
//! feature `failpoints`.

use crate::claims::stops_at;
use crate::programs::Worker;
use crate::steps::die;
use crate::world::{Kind, World, by_scale};

/// Posts chords that one member completes. So the first count of a worker completes a chord, in
/// whatever order the members end.
fn post(world: &mut World) {
    world.post_chords(Kind::Noop, 4, 1);
}

/// Asserts that a worker has claimed the body of a chord, and that no body was called.
fn is_between(world: &mut World) {
    let open = world.open_chords();
    let claimed = |key: &String| key.rsplit_once('.').is_some_and(|(_, part)| part == "c");
    assert!(open.iter().any(claimed), "{open:?}");
    assert_eq!(world.ask::<u64>(&["LLEN", "celery"]), 0);
}

/// Runs what is open, and larger chords, in workers that do not die. Asserts that every chord has
/// ended.
fn drain(world: &mut World, options: &[&str]) {
    world.post_chords(Kind::Noop, 2, 5);
    let pair = [world.playground(options), world.worker(options)];
    world.drain(&[&pair[0], &pair[1]]);
    pair.into_iter().for_each(Worker::stop);
    assert_eq!(world.open_chords(), Vec::<String>::new());
}

#[test]
fn death_after_the_count_of_members_calls_each_body_once() {
    let turns = by_scale(2, 10, 60);
    let mut world = World::new("death after the count of a chord").with_database(&[]);
    for _ in 0..turns {
        post(&mut world);
        let command = world.playground_command(&[]);
        die(&mut world, command, "counted");
        is_between(&mut world);
        drain(&mut world, &[]);
    }
    assert_eq!(
        world.finish(turns, vec![]).twice,
        0,
        "a body was called twice"
    );
}

#[test]
fn with_results_elsewhere_death_after_the_count_calls_each_body_once() {
    let turns = by_scale(1, 5, 30);
    let mut world = World::new("the same, results elsewhere: chords").with_database(&[]);
    world.results_db = 1;
    let results = world.redis.url_of_db(1);
    let more = ["--result-backend", &results];
    for _ in 0..turns {
        for step in ["counted", "stored"] {
            post(&mut world);
            let command = world.playground_command(&more);
            die(&mut world, command, step);
            is_between(&mut world);
            drain(&mut world, &more);
        }
    }
    assert_eq!(
        world.finish(2 * turns, vec![]).twice,
        0,
        "a body was called twice"
    );
}

#[test]
fn a_worker_frozen_after_the_count_calls_no_body_that_another_has_called() {
    let turns = by_scale(1, 5, 30);
    let mut world = World::new("SIGSTOP after the count of a chord").with_database(&[]);
    for _ in 0..turns {
        post(&mut world);
        let command = world.playground_command(&[]);
        let frozen = stops_at(&mut world, "counted", command);
        is_between(&mut world);
        drain(&mut world, &[]);
        frozen.process.resume();
        world.one_more_soon(Kind::Noop);
        frozen.stop();
        assert_eq!(
            world.ask::<u64>(&["LLEN", "celery"]),
            0,
            "a body came again"
        );
        assert_eq!(world.open_chords(), Vec::<String>::new());
    }
    assert_eq!(
        world.finish(turns, vec![]).twice,
        0,
        "a body was called twice"
    );
}

#[test]
fn a_crash_of_redis_after_the_count_calls_each_body_once() {
    let turns = by_scale(1, 5, 30);
    let mut world = World::new("crash of Redis after the count of a chord").with_database(&[]);
    for _ in 0..turns {
        post(&mut world);
        let command = world.playground_command(&["--lease", "30s"]);
        let worker = stops_at(&mut world, "counted", command);
        world.redis.kill9();
        world.restart_redis();
        world.invariant("counted");
        is_between(&mut world);
        worker.process.resume();
        drain(&mut world, &[]);
        worker.stop();
    }
    assert_eq!(
        world.finish(turns, vec![]).twice,
        0,
        "a body was called twice"
    );
}
