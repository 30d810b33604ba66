//! Failovers by Sentinels while a worker is busy: ordered by an operator, after a crash, and of a
//! server that is frozen and comes back.

use std::time::Duration;

use celery_testkit::{Redis, RedisOptions, Sentinels, wait_for};

use crate::busy::{SMALL, at_work};
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
        let worker = Worker::start(&mut world.playground_command(&SMALL));
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
        self.world.one_more_soon(Kind::Noop);
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
