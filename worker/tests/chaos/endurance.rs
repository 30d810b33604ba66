//! Runs many tasks with many reconnects and asserts that nothing grows.

use std::time::Duration;

use celery_testkit::wait_for;

use crate::busy::kill_clients;
use crate::programs::{Worker, open_files};
use crate::world::{Kind, ROWS, World, by_scale};

/// How many tasks are posted at a time, half of them rows to complete. Redis and this test hold no
/// more.
const POST: u32 = 5_000;
/// The number of tasks after which every part has been used once and the first measurement is
/// taken.
const FIRST: u32 = 10_000;
/// How long a server may still list a connection that its client has given up.
const SETTLING: Duration = Duration::from_secs(10);
/// A difference in connections up to this does not count as growth: the database pool adapts its
/// size to the load, and a part of the worker whose connection was closed opens the next one when
/// it has something to send, possibly after the first measurement. If each kill lost one
/// connection, the difference would be greater.
const MARGIN: usize = 3;
/// An increase of memory up to this, beyond a fifth, does not count as growth: the allocator keeps
/// it. A leak of ten bytes in each task would exceed it.
const SLACK: u64 = 8 << 20;

/// The sizes of one worker that could grow.
#[derive(Debug)]
struct Size {
    rss: u64,
    files: usize,
}

/// The sizes of the workers, and the connections that the servers see.
#[derive(Debug)]
struct Held {
    sizes: Vec<Size>,
    redis: usize,
    database: usize,
}

impl Held {
    fn now(world: &mut World, workers: &[Worker]) -> Held {
        let clients: String = world.ask(&["CLIENT", "LIST"]);
        let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'celery'";
        Held {
            sizes: workers
                .iter()
                .map(|worker| Size {
                    rss: worker.rss(),
                    files: open_files(&worker.process).unwrap(),
                })
                .collect(),
            redis: clients.lines().count(),
            database: world.sql(sql).parse().unwrap(),
        }
    }

    /// Returns `true` if neither connections nor files have grown since `before`.
    fn has_connections_of(&self, before: &Held) -> bool {
        let files = |held: &Held| held.sizes.iter().map(|size| size.files).sum::<usize>();
        self.redis <= before.redis + MARGIN
            && self.database <= before.database + MARGIN
            && files(self) <= files(before) + MARGIN
    }

    fn shown(&self) -> String {
        let sizes: Vec<String> = self
            .sizes
            .iter()
            .map(|size| format!("{} MiB, {} files", size.rss / (1 << 20), size.files))
            .collect();
        let sizes = sizes.join(" and ");
        format!("{sizes}; {} + {} connections", self.redis, self.database)
    }
}

/// Has the workers do some tasks, and closes their connections `kills` times meanwhile.
fn work(world: &mut World, workers: &[Worker], tasks: u32, kills: u32) {
    let posts = tasks / POST;
    let mut killed = 0;
    for post in 1..=posts {
        world.post(Kind::Created, POST / 2);
        world.post(Kind::Noop, POST / 2);
        while killed < kills * post / posts {
            world.work_a_little(Duration::from_millis(200));
            kill_clients(world);
            killed += 1;
        }
        world.drain(&workers.iter().collect::<Vec<_>>());
        // The results have been checked. This test does not measure what grows in Redis.
        let _ok: String = world.ask(&["FLUSHDB"]);
    }
}

#[test]
fn nothing_grows() {
    let tasks = by_scale(30_000, 200_000, 1_000_000);
    let kills = by_scale(10, 50, 100);
    let mut world = World::new("endurance").with_database(&[]);
    let rows = u32::midpoint(FIRST, tasks);
    world.sql(&format!(
        "INSERT INTO tasks (id, name) SELECT seq, CONCAT('task ', seq) FROM seq_{}_to_{}",
        ROWS + 1,
        (ROWS + 1).max(rows)
    ));
    let workers = vec![world.worker(&["-c", "10"]), world.playground(&["-c", "10"])];
    // Connections that were closed just before might be missing in the first reading.
    work(&mut world, &workers, FIRST, 0);
    let before = Held::now(&mut world, &workers);
    work(&mut world, &workers, tasks, kills);
    let mut after = Held::now(&mut world, &workers);
    let settled = wait_for(SETTLING, "", || {
        after = Held::now(&mut world, &workers);
        after.has_connections_of(&before)
    });
    assert!(settled.is_ok(), "{before:?} became {after:?}");
    for (then, now) in before.sizes.iter().zip(&after.sizes) {
        let allowed = then.rss + then.rss / 5 + SLACK;
        assert!(now.rss <= allowed, "{before:?} became {after:?}");
    }
    world.note(format!("after {FIRST}: {}", before.shown()));
    world.note(format!("after {tasks} more: {}", after.shown()));
    world.finish(usize::try_from(kills).unwrap(), workers);
}
