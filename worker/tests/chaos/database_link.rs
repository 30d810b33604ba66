//! Faults of the connections to the database, and of those to the broker while tasks use the
//! database.

use std::thread;
use std::time::{Duration, Instant};

use celery_testkit::{Fault, Proxy, wait_for};

use crate::database::{HOLD, OURS, WAITS, holder, load, until, until_over, while_locked};
use crate::programs::seconds;
use crate::world::{Kind, PATIENCE, World, by_scale};

/// Makes workers that are started from now on connect to the database through a proxy.
fn by_way_of_a_proxy(world: &mut World) -> Proxy {
    let port = world.database.as_ref().unwrap().port();
    let proxy = Proxy::to_port(port).unwrap();
    let (direct, led) = (format!(":{port}/"), format!(":{}/", proxy.port()));
    world.database_url = world.database_url.replace(&direct, &led);
    proxy
}

#[test]
fn a_commit_without_an_answer_is_repeated() {
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
            // No connection can commit while this statement runs.
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
            // Redis and the worker get no answer, but the server commits.
            proxy.reset_all();
            let _ended = database.sql(&format!("KILL {holder}"));
        });
        world.database = Some(database);
        world.drain(&workers.iter().collect::<Vec<_>>());
    }
    // Some tasks ran twice; otherwise the test has not shown anything.
    assert!(world.finish(times, workers).twice > 0);
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
        // The partition lasts until the worker has noticed it.
        world.fault = world.fault.max(began.elapsed());
        world.one_more_soon(Kind::Created);
        until_over(&mut world, &workers[0]);
    }
    world.finish(times, workers);
}

/// Selects the worker's connections that wait for the lock of a table.
const HELD_UP: &str = "SELECT id FROM information_schema.processlist \
    WHERE user = 'celery' AND state LIKE 'Waiting for table%'";

/// Waits until `count` statements of workers wait for the lock.
fn until_held_up(database: &celery_testkit::MariaDb, count: usize) {
    let waited = wait_for(PATIENCE, "statements to be held up", || {
        database.sql(HELD_UP).unwrap().lines().count() >= count
    });
    waited.unwrap();
}

/// Lets connections read the tables of effects, and none write them.
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
            // Waits until all 16 connections of the pool are in use.
            until_held_up(database, 16);
            proxy.strand_all();
        });
        slowest = slowest.max(world.one_more(Kind::Created));
        world.drain(&workers.iter().collect::<Vec<_>>());
    }
    // Far less than the five minutes after which every connection counts as lost.
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
            // The other worker takes the tasks over while the first one still runs them.
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
    // The effects that need not happen once have happened twice, so the fault has had an effect.
    assert!(world.finish(times, vec![]).twice > 0);
}
