//! Failovers by Sentinels while a worker is busy: ordered by an operator, after a crash, and of a
//! server that is frozen and comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use celery_testkit::{Redis, RedisOptions, Sentinels, wait_for};

use crate::busy::{LOGGING, at_work};
use crate::fleet::successes;
use crate::network::catch_up;
use crate::programs::Worker;
use crate::world::{Kind, PATIENCE, World, by_scale};

/// The longest time without a master. The Sentinels take two or three seconds; a busy machine gets
/// this.
const WITHOUT_MASTER: Duration = Duration::from_secs(20);

/// A world whose Redis has a replica, and Sentinels that watch both.
struct Watched {
    world: World,
    replica: Redis,
    sentinels: Sentinels,
    workers: Vec<Worker>,
}

impl Watched {
    fn new(scenario: &'static str) -> Self {
        let mut world = World::new(scenario);
        let options = RedisOptions::new().aof().replica_of(world.redis.port());
        let replica = options.start().unwrap();
        let sentinels = Sentinels::watch(&world.redis, 1).unwrap();
        world.broker = sentinels.url();
        world.fault = WITHOUT_MASTER;
        let worker = world.playground(&LOGGING);
        Self {
            world,
            replica,
            sentinels,
            workers: vec![worker],
        }
    }

    /// Waits until the Sentinels name the replica, and changes the roles of the two.
    fn change_roles(mut self) -> Self {
        let port = self.replica.port();
        wait_for(PATIENCE, "the Sentinels to name the replica", || {
            self.sentinels
                .master_port()
                .is_ok_and(|named| named == port)
        })
        .unwrap();
        self.sentinels.expect_fault(false).unwrap();
        wait_for(PATIENCE, "the replica to be the master", || {
            let role = self.replica.cli(&["ROLE"]);
            role.is_ok_and(|role| role.starts_with("master"))
        })
        .unwrap();
        self.replica = self.world.moves_to(self.replica);
        self.world.one_more_soon(Kind::Sleep(0.02));
        self
    }

    /// Waits until the replica has every task that was posted: these must not be lost.
    fn confirm(&mut self) {
        wait_for(PATIENCE, "the replica to confirm the posts", || {
            self.world.ask::<u64>(&["WAIT", "1", "1000"]) == 1
        })
        .unwrap();
    }

    /// Waits until the server that was the master follows the new one.
    fn wait_for_follower(&self) {
        let follows = || {
            let role = self.replica.cli(&["INFO", "replication"]).unwrap();
            role.contains("role:slave") && role.contains("master_link_status:up")
        };
        wait_for(PATIENCE, "the old master to follow", follows).unwrap();
        self.sentinels.wait_for_replicas(1).unwrap();
    }

    /// Waits until everything is done, except for tasks of which Redis has nothing left. Asserts
    /// that our worker never received these, and forgets them. Returns their number.
    fn write_off_what_python_lost(&mut self) -> usize {
        let world = &mut self.world;
        let mut missing = BTreeSet::new();
        let ended = wait_for(PATIENCE, "", || {
            world.observe();
            world.replay();
            let open = world.all_open();
            let places = world.places();
            let gone = open.iter().filter(|id| !places.contains_key(*id));
            // A message may be on its way. Such a look is repeated.
            let before = std::mem::replace(&mut missing, gone.cloned().collect());
            missing == open && missing == before
        });
        assert!(
            ended.is_ok(),
            "neither done nor lost: {:?}; in Redis: {:?}",
            world.all_open(),
            world.places()
        );
        let log = self.workers[0].process.log();
        let received = |id: &&String| log.contains(&format!("[{id}] received"));
        let ours: Vec<_> = missing.iter().filter(received).collect();
        assert!(ours.is_empty(), "our worker lost {ours:?}");
        let missing: Vec<String> = missing.into_iter().collect();
        if !missing.is_empty() {
            world.forget(&missing);
        }
        missing.len()
    }

    fn finish(self, times: usize) {
        self.world.finish(times, self.workers);
    }
}

#[test]
fn an_ordered_failover_loses_nothing() {
    let times = by_scale(1, 5, 20);
    let mut watched = Watched::new("Sentinel: ordered failover");
    for _ in 0..times {
        at_work(&mut watched.world);
        // Writes wait until the replica has taken over.
        catch_up(&mut watched.world, &watched.replica);
        watched.sentinels.fail_over().unwrap();
        watched = watched.change_roles();
        let _ok = watched.replica.cli(&["CLIENT", "UNPAUSE"]).unwrap();
        watched.wait_for_follower();
    }
    watched.finish(times);
}

/// Python's worker takes a message from its queue and then notes in a second command that it holds
/// it. If the failover comes between the two, the message is lost; the test counts that. What
/// our worker has received is never lost.
#[test]
fn a_mixed_fleet_follows_a_failover() {
    let times = by_scale(1, 5, 20);
    let mut watched = Watched::new("Sentinel: ordered failover, Python and Rust");
    // What Python holds comes back after this time.
    let visibility_timeout = 10;
    watched.world.fault += Duration::from_secs(visibility_timeout.into());
    let mut python = watched.world.python("play", visibility_timeout);
    let mut lost = 0;
    for _ in 0..times {
        watched.world.post(Kind::Sleep(0.02), 400);
        watched.world.work_a_little(Duration::from_millis(500));
        catch_up(&mut watched.world, &watched.replica);
        watched.sentinels.fail_over().unwrap();
        watched = watched.change_roles();
        let _ok = watched.replica.cli(&["CLIENT", "UNPAUSE"]).unwrap();
        lost += watched.write_off_what_python_lost();
        watched.wait_for_follower();
    }
    assert_eq!(python.exit_status(), None, "{}", python.log());
    python.terminate();
    python.wait(PATIENCE).unwrap();
    let theirs = successes(&[python.log()]).len();
    let ours = successes(&[watched.workers[0].process.log()]).len();
    assert!(theirs > 0 && ours > 0, "Python did {theirs}, Rust {ours}");
    let note = format!("Python did {theirs}, Rust {ours}; Python lost {lost}");
    watched.world.note(note);
    watched.finish(times);
}

#[test]
fn a_crash_of_the_master_loses_nothing_that_the_replica_confirmed() {
    let times = by_scale(1, 5, 20);
    let mut watched = Watched::new("Sentinel: crash of the master");
    for _ in 0..times {
        at_work(&mut watched.world);
        watched.confirm();
        watched.sentinels.expect_fault(true).unwrap();
        watched.world.redis.kill9();
        watched = watched.change_roles();
        watched.replica.restart().unwrap();
        watched.wait_for_follower();
    }
    watched.finish(times);
}

#[test]
fn a_frozen_master_loses_nothing_that_the_replica_confirmed() {
    let times = by_scale(1, 5, 20);
    let mut watched = Watched::new("Sentinel: frozen master");
    for _ in 0..times {
        at_work(&mut watched.world);
        watched.confirm();
        watched.sentinels.expect_fault(true).unwrap();
        watched.world.redis.pause();
        watched = watched.change_roles();
        watched.replica.resume();
        watched.wait_for_follower();
    }
    watched.finish(times);
}
