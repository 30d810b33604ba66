//! What can happen to the database and to the way there.

use std::thread;
use std::time::Duration;

use celery_testkit::{MariaDb, Proxy, wait_for};

use crate::programs::Worker;
use crate::world::{Kind, LARGEST, PATIENCE, World, by_scale};

/// Connections of the worker, by their numbers.
const OURS: &str = "SELECT id FROM information_schema.processlist WHERE user = 'celery'";

fn world(scenario: &'static str, options: &[&str]) -> (World, Vec<Worker>) {
    let mut world = World::new(scenario).with_database(options);
    let workers = vec![world.worker(&["-c", "10"])];
    load(&mut world);
    (world, workers)
}

fn load(world: &mut World) {
    world.post(Kind::Created, 50);
    world.post(Kind::Effect, 30);
    world.post(Kind::Once, 20);
}

#[test]
fn a_restarted_database_is_waited_for() {
    let times = by_scale(2, 5, 30);
    let (mut world, workers) = world("restart of MariaDB", &[]);
    for turn in 0..times {
        load(&mut world);
        world.work_a_little(Duration::from_millis(200));
        let database = world.database.as_mut().unwrap();
        if turn % 2 == 0 {
            database.kill9();
        } else {
            database.stop();
        }
        load(&mut world);
        world.database.as_mut().unwrap().restart().unwrap();
        world.drain(&workers.iter().collect::<Vec<_>>());
    }
    world.finish(times, workers);
}

#[test]
fn killed_database_connections_lose_nothing() {
    let kills = by_scale(20, 50, 300);
    let (mut world, workers) = world("KILL of database connections", &[]);
    for _ in 0..kills {
        load(&mut world);
        world.work_a_little(Duration::from_millis(50));
        for id in world.sql(OURS).split_whitespace() {
            // It may be gone by itself.
            let _gone = world.database.as_ref().unwrap().sql(&format!("KILL {id}"));
        }
    }
    world.finish(kills, workers);
}

#[test]
fn a_commit_without_an_answer_is_done_again() {
    let times = by_scale(2, 5, 20);
    let mut world = World::new("connection lost during COMMIT").with_database(&[]);
    let proxy = Proxy::to_port(world.database.as_ref().unwrap().port()).unwrap();
    let direct = format!(":{}/", world.database.as_ref().unwrap().port());
    world.database_url = world
        .database_url
        .replace(&direct, &format!(":{}/", proxy.port()));
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

/// Holds what its connection has taken, until it is killed.
const HOLD: &str = "SELECT SLEEP(60)";

/// The number of the connection that holds something.
fn holder(database: &MariaDb) -> String {
    let sleeping = "SELECT id FROM information_schema.processlist WHERE state = 'User sleep'";
    until(database, "the holder to hold", sleeping)
}

/// Waits until a query has an answer.
fn until(database: &MariaDb, what: &str, query: &str) -> String {
    let mut answer = String::new();
    let waited = wait_for(PATIENCE, what, || {
        answer = database.sql(query).unwrap();
        !answer.is_empty()
    });
    waited.unwrap();
    answer
}

/// Runs something while another connection has the locks of these statements.
fn while_locked(world: &mut World, locking: &str, act: impl FnOnce(&mut World, &MariaDb)) {
    let database = world.database.take().unwrap();
    let locking = format!("BEGIN; {locking}; {HOLD}");
    thread::scope(|scope| {
        scope.spawn(|| database.sql(&locking));
        let holder = holder(&database);
        act(world, &database);
        let _ended = database.sql(&format!("KILL {holder}"));
    });
    world.database = Some(database);
}

#[test]
fn a_lock_wait_is_done_again() {
    let times = by_scale(1, 5, 20);
    let mut world = World::new("lock wait (1205)").with_database(&["--innodb-lock-wait-timeout=1"]);
    let mut workers = vec![world.worker(&["-c", "10", "-l", "debug"])];
    for _ in 0..times {
        let said = workers[0].process.log_len();
        while_locked(
            &mut world,
            "UPDATE tasks SET name = 'locked'",
            |world, _| {
                world.post(Kind::Created, 50);
                let asked = "the database asks to try again";
                workers[0]
                    .process
                    .wait_for_line_after(PATIENCE, asked, said)
                    .unwrap();
            },
        );
        world.drain(&workers.iter().collect::<Vec<_>>());
    }
    world.finish(times, workers);
}

#[test]
fn a_deadlock_is_done_again() {
    let times = by_scale(1, 5, 20);
    let mut world = World::new("deadlock (1213)").with_database(&[]);
    let workers = vec![world.worker(&["-c", "10", "-l", "debug"])];
    let met = |workers: &[Worker]| workers[0].process.log().matches("Deadlock found").count();
    // Tasks that are no batch of the worker's meet none, which is rare.
    let mut turns = 0..10 * times;
    while met(&workers) < times {
        assert!(turns.next().is_some(), "the worker meets no deadlocks");
        // The next two rows are the tasks'. Who has changed more rows than the others is never the victim.
        let (first, last) = (world.rows() + 1, world.rows() + 2);
        let adversary = format!(
            "BEGIN; UPDATE tasks SET name = 'changed' WHERE id > {last} AND id < {last} + 1000; \
             UPDATE tasks SET name = 'changed' WHERE id = {last}; SELECT GET_LOCK('go', 60); \
             UPDATE tasks SET name = 'changed' WHERE id = {first}; COMMIT"
        );
        let database = world.database.take().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| database.sql(&format!("SELECT GET_LOCK('go', 1); {HOLD}")));
            let holder = holder(&database);
            let adversary = scope.spawn(|| database.sql(&adversary));
            until(&database, "the adversary to have its locks", HELD_UP);
            world.post(Kind::Created, 2);
            until(
                &database,
                "the worker to wait for them",
                &format!("{OURS} AND state = 'Updating'"),
            );
            let _ended = database.sql(&format!("KILL {holder}"));
            adversary.join().unwrap().unwrap();
        });
        world.database = Some(database);
        world.drain(&workers.iter().collect::<Vec<_>>());
    }
    world.finish(times, workers);
}

#[test]
fn a_batch_the_server_would_not_take_is_divided() {
    let option = format!("--max-allowed-packet={LARGEST}");
    let mut world = World::new("batch over max_allowed_packet").with_database(&[&option]);
    let workers = vec![world.worker(&["-c", "10"])];
    world.post(Kind::Text(4_000), 300);
    world.post(Kind::Text(2 * LARGEST), 1);
    world.post(Kind::Text(4_000), 200);
    load(&mut world);
    world.finish(1, workers);
}

/// Connections that wait for a lock by name.
const HELD_UP: &str = "SELECT id FROM information_schema.processlist WHERE state = 'User lock'";
#[test]
fn a_server_that_takes_no_writes_is_waited_for() {
    let times = by_scale(1, 5, 20);
    let (mut world, mut workers) = world("read-only server (1290)", &[]);
    world.drain(&workers.iter().collect::<Vec<_>>());
    for _ in 0..times {
        let said = workers[0].process.log_len();
        world.sql("SET GLOBAL read_only = 1");
        load(&mut world);
        workers[0]
            .process
            .wait_for_line_after(PATIENCE, "Tasks that need it wait", said)
            .unwrap();
        world.sql("SET GLOBAL read_only = 0");
        world.drain(&workers.iter().collect::<Vec<_>>());
    }
    world.finish(times, workers);
}

#[test]
fn a_server_without_a_free_connection_is_waited_for() {
    let mut world = World::new("max_connections reached").with_database(&["--max-connections=10"]);
    let database = world.database.take().unwrap();
    let mut workers = thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| database.sql(HOLD));
        }
        // The one more that an administrator gets.
        let sleepers = "SELECT id FROM information_schema.processlist WHERE state = 'User sleep'";
        wait_for(PATIENCE, "all connections to be taken", || {
            database
                .sql(sleepers)
                .is_ok_and(|ids| ids.lines().count() == 10)
        })
        .unwrap();
        let mut worker = world.worker(&["-c", "10"]);
        world.post(Kind::Created, 50);
        world.post(Kind::Effect, 50);
        worker
            .process
            .wait_for_line(PATIENCE, "Tasks that need it wait")
            .unwrap();
        // The worker's tries are in the way of the administrator's.
        let patiently = |statement: &str| {
            let mut answer = None;
            let answered = wait_for(PATIENCE, "the one more connection", || {
                answer = database.sql(statement).ok();
                answer.is_some()
            });
            answered.unwrap();
            answer.unwrap()
        };
        for id in patiently(sleepers).lines() {
            patiently(&format!("KILL {id}"));
        }
        vec![worker]
    });
    world.database = Some(database);
    load(&mut world);
    world.drain(&workers.iter().collect::<Vec<_>>());
    workers[0]
        .process
        .wait_for_line(PATIENCE, "is available again")
        .unwrap();
    world.finish(1, workers);
}
