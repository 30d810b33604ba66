//! What can happen on the way to the database, and to the broker behind its back.

use std::thread;
use std::time::{Duration, Instant};

use celery_testkit::{Fault, Proxy, wait_for};

use crate::database::{HOLD, OURS, WAITS, holder, load, until, until_over, while_locked};
use crate::programs::seconds;
use crate::world::{Kind, PATIENCE, World, by_scale};

/// Leads workers that are started from now on to the database by way of a proxy.
fn by_way_of_a_proxy(world: &mut World) -> Proxy {
    let port = world.database.as_ref().unwrap().port();
    let proxy = Proxy::to_port(port).unwrap();
    let (direct, led) = (format!(":{port}/"), format!(":{}/", proxy.port()));
    world.database_url = world.database_url.replace(&direct, &led);
    proxy
}

#[test]
fn a_commit_without_an_answer_is_done_again() {
    let times = by_scale(2, 5, 20);
    let mut world = World::new("connection lost during COMMIT").with_database(&[]);
    let proxy = by_way_of_a_proxy(&mut world);
    let workers = vec![world.worker(&["-c", "10"])];
    for _ in 0..times {
        let database = world.database.take().unwrap();
        let blocking = format!(
            "BACKUP STAGE START; BACKUP STAGE FLUSH; BACKUP STAGE BLOCK_DDL; BACKUP STAGE BLOCK_COMMIT; {HOLD}"
        );
        thread::scope(|scope| {
            // Nobody can commit while this lasts.
            scope.spawn(|| database.sql(&blocking));
            let holder = holder(&database);
            world.post(Kind::Created, 5);
            world.post(Kind::Effect, 5);
            world.post(Kind::Once, 5);
            until(
                &database,
                "the worker to commit",
                &format!("{OURS} AND info = 'COMMIT'"),
            );
            // Redis and the worker learn nothing; the server commits all the same.
            proxy.reset_all();
            let _ended = database.sql(&format!("KILL {holder}"));
        });
        world.database = Some(database);
        world.drain(&workers.iter().collect::<Vec<_>>());
    }
    // Some were done again, or this has shown nothing.
    assert!(world.finish(times, workers) > 0);
}

#[test]
fn a_partition_from_the_database_is_waited_for() {
    let times = by_scale(1, 3, 10);
    let mut world = World::new("MariaDB not to be reached, Redis is").with_database(&[]);
    let proxy = by_way_of_a_proxy(&mut world);
    let mut workers = vec![world.worker(&["-c", "10"])];
    for _ in 0..times {
        load(&mut world);
        world.work_a_little(Duration::from_millis(100));
        let said = workers[0].process.log_len();
        let began = Instant::now();
        proxy.set(Fault::Silence);
        load(&mut world);
        let waits = workers[0]
            .process
            .wait_for_line_after(PATIENCE, WAITS, said);
        waits.unwrap();
        proxy.set(Fault::None);
        // It lasts until the worker has noticed.
        world.fault = world.fault.max(began.elapsed());
        world.one_more_soon(Kind::Created);
        until_over(&mut world, &workers[0]);
    }
    world.finish(times, workers);
}

/// Connections of the worker that wait for the lock of a table.
const HELD_UP: &str = "SELECT id FROM information_schema.processlist \
    WHERE user = 'celery' AND state LIKE 'Waiting for table%'";

/// Waits until so many statements of workers are held up.
fn until_held_up(database: &celery_testkit::MariaDb, count: usize) {
    let waited = wait_for(PATIENCE, "statements to be held up", || {
        database.sql(HELD_UP).unwrap().lines().count() >= count
    });
    waited.unwrap();
}

/// Lets everybody read the tables of effects and nobody write them.
const LOCK_EFFECTS: &str = "LOCK TABLES effects READ, effects_once READ";

#[test]
fn links_that_were_forgotten_on_the_way_are_given_up() {
    let times = by_scale(1, 2, 10);
    let mut world = World::new("all links to MariaDB forgotten").with_database(&[]);
    let proxy = by_way_of_a_proxy(&mut world);
    let workers = vec![world.worker(&["-c", "30"])];
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        while_locked(&mut world, LOCK_EFFECTS, |world, database| {
            world.post(Kind::Effect, 15);
            world.post(Kind::Once, 15);
            // Every connection there is.
            until_held_up(database, 16);
            proxy.strand_all();
        });
        slowest = slowest.max(world.one_more(Kind::Created));
        world.drain(&workers.iter().collect::<Vec<_>>());
    }
    // Not the five minutes after which everything counts as lost.
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
    world.note(format!("gone on after {}", seconds(slowest)));
    world.finish(times, workers);
}

#[test]
fn a_worker_cut_off_from_the_broker_has_its_work_taken_over() {
    let times = by_scale(1, 3, 10);
    let mut world = World::new("one of two workers cut off from Redis").with_database(&[]);
    let proxy = Proxy::to_port(world.redis.port()).unwrap();
    let direct = world.broker.clone();
    let led = direct.replace(
        &format!(":{}/", world.redis.port()),
        &format!(":{}/", proxy.port()),
    );
    for _ in 0..times {
        world.broker = led.clone();
        let mut cut_off = world.worker(&["-c", "12"]);
        let mut other = None;
        while_locked(&mut world, LOCK_EFFECTS, |world, database| {
            world.post(Kind::Effect, 6);
            world.post(Kind::Once, 6);
            until_held_up(database, 12);
            proxy.set(Fault::Silence);
            world.broker = direct.clone();
            other = Some(world.worker(&["-c", "12"]));
            // They are taken over while the first goes on with them.
            until_held_up(database, 24);
        });
        let other = other.unwrap();
        world.one_more_soon(Kind::Created);
        world.wait_until_open(0, PATIENCE);
        proxy.set(Fault::None);
        let lost = cut_off.process.wait_for_line(PATIENCE, "were lost");
        lost.unwrap();
        world.drain(&[&cut_off, &other]);
        cut_off.stop();
        other.stop();
    }
    // The effects that do not ask to happen once have happened twice: it was no idle threat.
    assert!(world.finish(times, vec![]) > 0);
}
