//! Faults of the database.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use celery_testkit::{MariaDb, wait_for};

use crate::programs::Worker;
use crate::world::{Kind, LARGEST, PATIENCE, World, by_scale};

/// Selects the numbers of the worker's connections.
pub const OURS: &str = "SELECT id FROM information_schema.processlist WHERE user = 'celery'";

/// The log line of a worker that waits for its database: when an outage begins, and every half
/// minute while it lasts. The outage may have begun before the fault: on a busy machine a server
/// may need more than the 5 s in which a connection has to be made.
pub const WAITS: &str = "Tasks that need it wait";

/// Waits until everything is done and the worker has logged that its database is back: the next
/// outage is then logged as another.
pub fn until_over(world: &mut World, worker: &Worker) {
    world.drain(&[worker]);
    let waited = wait_for(PATIENCE, "the outage to be logged as over", || {
        let log = worker.process.log();
        let told = |line| log.matches(line).count();
        told("is unavailable") == told("is available again")
    });
    assert!(waited.is_ok(), "not logged:\n{}", worker.process.log());
}

/// Selects the worker's connections that wait for the lock of a row. It does not read `innodb_trx`,
/// which shows old data to a client that reads it often. It does not read the state either, which a
/// trigger leaves empty.
const WAITING: &str = "SELECT id FROM information_schema.processlist \
    WHERE user = 'celery' AND command = 'Execute' AND info LIKE 'UPDATE tasks%' AND time_ms > 200";

fn world(scenario: &'static str, options: &[&str]) -> (World, Vec<Worker>) {
    let mut world = World::new(scenario).with_database(options);
    let workers = vec![world.worker(&["-c", "10"])];
    load(&mut world);
    (world, workers)
}

pub fn load(world: &mut World) {
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
fn a_frozen_database_is_waited_for() {
    let times = by_scale(1, 3, 10);
    let (mut world, mut workers) = world("MariaDB frozen", &[]);
    for _ in 0..times {
        load(&mut world);
        world.work_a_little(Duration::from_millis(100));
        let said = workers[0].process.log_len();
        world.database.as_ref().unwrap().pause();
        load(&mut world);
        let waits = workers[0]
            .process
            .wait_for_line_after(PATIENCE, WAITS, said);
        world.database.as_ref().unwrap().resume();
        waits.unwrap();
        world.one_more_soon(Kind::Created);
        until_over(&mut world, &workers[0]);
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
            // The connection may have ended by itself.
            let _gone = world.database.as_ref().unwrap().sql(&format!("KILL {id}"));
        }
    }
    world.finish(kills, workers);
}

/// A statement that holds the locks of its connection until it is killed.
pub const HOLD: &str = "SELECT SLEEP(60)";

/// Returns the number of the connection that runs [`HOLD`].
pub fn holder(database: &MariaDb) -> String {
    let sleeping = "SELECT id FROM information_schema.processlist WHERE state = 'User sleep'";
    until(database, "the connection that holds the locks", sleeping)
}

/// Waits until a query returns a row, and returns it.
pub fn until(database: &MariaDb, what: &str, query: &str) -> String {
    let mut answer = String::new();
    let waited = wait_for(PATIENCE, what, || {
        answer = database.sql(query).unwrap();
        !answer.is_empty()
    });
    waited.unwrap();
    answer
}

/// Runs something while another connection has the locks of these statements.
pub fn while_locked(world: &mut World, locking: &str, act: impl FnOnce(&mut World, &MariaDb)) {
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
fn a_statement_that_waited_for_a_lock_is_repeated() {
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
fn a_deadlocked_transaction_is_repeated() {
    let times = by_scale(1, 5, 20);
    let mut world = World::new("deadlock (1213)").with_database(&[]);
    let workers = vec![world.worker(&["-c", "10", "-l", "debug"])];
    let met = |workers: &[Worker]| workers[0].process.log().matches("Deadlock found").count();
    // Rarely the worker runs these tasks one by one. Then they meet no deadlock.
    let mut turns = 0..10 * times;
    while met(&workers) < times {
        assert!(turns.next().is_some(), "the worker meets no deadlocks");
        // The tasks change the next two rows. A connection that has changed more rows than the
        // others is never the victim.
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
            until(&database, "the other connection to hold its locks", HELD_UP);
            world.post(Kind::Created, 2);
            until(&database, "the worker to wait for these locks", WAITING);
            let _ended = database.sql(&format!("KILL {holder}"));
            adversary.join().unwrap().unwrap();
        });
        world.database = Some(database);
        world.drain(&workers.iter().collect::<Vec<_>>());
    }
    world.finish(times, workers);
}

#[test]
fn a_batch_that_is_too_large_for_the_server_is_divided() {
    let option = format!("--max-allowed-packet={LARGEST}");
    let mut world = World::new("batch over max_allowed_packet").with_database(&[&option]);
    let workers = vec![world.worker(&["-c", "10"])];
    world.post(Kind::Text(4_000), 300);
    world.post(Kind::Text(2 * LARGEST), 1);
    world.post(Kind::Text(4_000), 200);
    load(&mut world);
    world.finish(1, workers);
}

#[test]
fn a_statement_past_the_limit_is_cancelled_and_repeated() {
    let times = by_scale(1, 3, 10);
    let mut world = World::new("statement past --database-timeout").with_database(&[]);
    let mut workers = vec![world.worker(&["-c", "10", "--database-timeout", "2s"])];
    for _ in 0..times {
        let said = workers[0].process.log_len();
        while_locked(
            &mut world,
            "UPDATE tasks SET name = 'slow'",
            |world, database| {
                world.post(Kind::Created, 50);
                let waits = workers[0]
                    .process
                    .wait_for_line_after(PATIENCE, WAITS, said);
                waits.unwrap();
                // Now the next attempt waits, and the previous one has ended.
                until(database, "the next attempt to wait for the lock", WAITING);
                wait_for(PATIENCE, "the previous attempts to end", || {
                    let waiting = database.sql(WAITING).unwrap();
                    waiting.lines().count() <= 1
                })
                .unwrap();
            },
        );
        world.one_more_soon(Kind::Created);
        until_over(&mut world, &workers[0]);
    }
    world.finish(times, workers);
}

#[test]
fn tables_may_change_under_load() {
    let changes = by_scale(10, 50, 300);
    let (mut world, workers) = world("ALTER TABLE under load", &[]);
    for change in 0..changes {
        load(&mut world);
        world.work_a_little(Duration::from_millis(100));
        world.sql(match change % 2 {
            0 => {
                "ALTER TABLE tasks ADD COLUMN more INT; ALTER TABLE effects ADD COLUMN more INT; \
                ALTER TABLE effects_once ADD COLUMN more INT, ALGORITHM = COPY"
            }
            _ => {
                "ALTER TABLE tasks DROP COLUMN more, ALGORITHM = COPY; \
                ALTER TABLE effects DROP COLUMN more; ALTER TABLE effects_once DROP COLUMN more"
            }
        });
        world.one_more_soon(Kind::Created);
    }
    world.finish(changes, workers);
}

/// A disk in memory, which is unmounted when it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts a disk. Returns `None` if this user may not.
    fn mount(megabytes: u32) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}M"), "tmpfs"]);
        let mounted = mount.arg(place.path()).output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then(|| SmallDisk(place))
    }

    /// Fills the disk with a file.
    fn fill(&self) -> PathBuf {
        let file = self.0.path().join("filler");
        let mut filler = File::create(&file).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        file
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    let Some(disk) = SmallDisk::mount(200) else {
        println!("skipped: no tmpfs may be mounted here");
        return;
    };
    let times = by_scale(1, 3, 10);
    let database = MariaDb::start_in(disk.0.path(), &[]).unwrap();
    let mut world = World::new("disk of MariaDB full").with(database);
    // The worker has already logged that its database is unavailable when the disk becomes full.
    world.database.as_ref().unwrap().pause();
    let mut workers = vec![world.worker(&["-c", "10"])];
    world.database.as_ref().unwrap().resume();
    let mut ended = 0;
    for _ in 0..times {
        load(&mut world);
        world.work_a_little(Duration::from_millis(100));
        let said = workers[0].process.log_len();
        let filler = disk.fill();
        // The tasks run until they need room that the tables do not have yet.
        let log = &mut workers[0].process;
        let waits = wait_for(PATIENCE, "a task that waits for the database", || {
            world.post(Kind::Effect, 1_000);
            log.wait_for_line_after(Duration::from_secs(1), WAITS, said)
                .is_ok()
        });
        std::fs::remove_file(filler).unwrap();
        if let Err(error) = waits {
            let database = world.database.as_ref().unwrap();
            panic!(
                "{error}: the worker said:\n{}\nMariaDB said:\n{}",
                workers[0].process.log(),
                database.log()
            );
        }
        // InnoDB ends the server if its own files have no space left.
        let database = world.database.as_mut().unwrap();
        if database
            .sql("CREATE TABLE room (n INT); DROP TABLE room")
            .is_err()
        {
            database.restart().unwrap();
            ended += 1;
        }
        world.one_more_soon(Kind::Created);
        until_over(&mut world, &workers[0]);
    }
    world.note(format!("MariaDB ended itself {ended} times"));
    world.finish(times, workers);
}

/// Selects connections that wait for a lock by name.
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
            .wait_for_line_after(PATIENCE, WAITS, said)
            .unwrap();
        world.sql("SET GLOBAL read_only = 0");
        until_over(&mut world, &workers[0]);
    }
    world.finish(times, workers);
}

#[test]
fn a_server_without_a_free_connection_is_waited_for() {
    let mut world = World::new("max_connections reached").with_database(&["--max-connections=10"]);
    let database = world.database.take().unwrap();
    let workers = thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| database.sql(HOLD));
        }
        // MariaDB reserves one more connection for an administrator; this query uses it.
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
        worker.process.wait_for_line(PATIENCE, WAITS).unwrap();
        // The worker's attempts compete with the administrator for that connection.
        let patiently = |statement: &str| {
            let mut answer = None;
            let answered = wait_for(PATIENCE, "the additional connection", || {
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
    until_over(&mut world, &workers[0]);
    world.finish(1, workers);
}
