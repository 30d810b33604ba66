//! A Redis Cluster while PHP posts and a worker runs: failovers by an operator and after a crash, and a
//! slot that moves to another node.

use std::time::Duration;

use celery_testkit::{Php, Redis, RedisCluster, wait_for};

use crate::busy::{SMALL, at_work, last};
use crate::poster::{self, Poster};
use crate::programs::{Worker, seconds};
use crate::world::{Kind, PATIENCE, World, by_scale};

/// The longest time without an owner of the slot. The cluster takes two or three seconds; a busy
/// machine gets this.
const WITHOUT_OWNER: Duration = Duration::from_secs(30);

/// The nodes that have the slot: the first master, and its replicas, of which there may be two. After the crash of one, the
/// new owner still has a replica that confirms posts.
const OWNERS: [usize; 3] = [0, 3, 4];

/// The tasks that PHP posts during a fault.
const POSTS: u32 = 600;

/// A world in a cluster, and its worker.
struct Clustered {
    world: World,
    workers: Vec<Worker>,
    /// The posts that failed at first, and the longest time of a post with its repetitions.
    failed: u32,
    slowest: f64,
}

impl Clustered {
    fn new(scenario: &'static str, replicas: usize) -> Self {
        let mut world = World::in_cluster(scenario, replicas);
        world.fault = WITHOUT_OWNER;
        let worker = Worker::start(&mut world.playground_command(&SMALL));
        Self {
            world,
            workers: vec![worker],
            failed: 0,
            slowest: 0.0,
        }
    }

    fn cluster(&mut self) -> &mut RedisCluster {
        self.world.cluster.as_mut().unwrap()
    }

    /// Lets PHP post during a fault. Each post counts once this number of replicas has it, and has this
    /// much time.
    fn while_php_posts(&mut self, replicas: u32, timeout: Duration, fault: impl FnOnce(&mut Self)) {
        at_work(&mut self.world);
        let url = self.world.broker.clone();
        let (first, count) = self.world.expect_posts(Kind::Sleep(0.002), POSTS);
        let poster = Poster::start(&url, first, count, replicas, timeout).unwrap();
        self.world.work_a_little(Duration::from_millis(500));
        fault(self);
        let (failed, slowest) = poster.finish();
        self.failed += failed;
        self.slowest = self.slowest.max(slowest);
        self.world.drain(&[]);
    }

    /// Waits until another node owns the slot, and the worker works there.
    fn change_owner(&mut self) -> usize {
        let old = self.world.owner;
        let cluster = self.world.cluster.as_ref().unwrap();
        let mut new = old;
        wait_for(PATIENCE, "another owner of the slot", || {
            let mut nodes = OWNERS
                .into_iter()
                .filter(|node| *node < cluster.nodes().len());
            let found = nodes.find(|node| *node != old && cluster.owns(*node));
            new = found.unwrap_or(old);
            found.is_some()
        })
        .unwrap();
        self.world.is_owned_by(new);
        self.world.one_more_soon(Kind::Noop);
        new
    }

    /// Moves the slot, with a pause while it is on both nodes.
    fn move_slot(&mut self, from: usize, to: usize, pause: Duration) {
        self.cluster().begin_move(from, to).unwrap();
        last(&mut self.world, pause);
        self.cluster().end_move(from, to).unwrap();
        self.world.is_owned_by(to);
        self.world.one_more_soon(Kind::Noop);
    }

    /// Fails if a post has failed although it had more time than the change of the owner takes.
    fn no_post_failed(&self) {
        assert_eq!(self.failed, 0, "the log has the reasons");
    }

    fn finish(mut self, times: usize) {
        let slowest = Duration::from_secs_f64(self.slowest);
        self.world.note(format!(
            "posts from PHP that failed at first: {}, longest post {}",
            self.failed,
            seconds(slowest)
        ));
        self.world.finish(times, self.workers);
    }
}

/// Returns `true` if the extension was built, without which nothing can be posted from PHP.
fn has_extension() -> bool {
    let is_built = Php::built_extension().is_ok();
    if !is_built {
        println!("skipped: the extension is not built");
    }
    is_built
}

#[test]
fn an_ordered_failover_in_a_cluster_loses_nothing() {
    if !has_extension() {
        return;
    }
    let times = by_scale(1, 5, 20);
    let mut clustered = Clustered::new("Cluster: ordered failover", 1);
    // A node votes again only after twice the time in which another one counts as down.
    clustered.cluster().expect_fault(true).unwrap();
    for _ in 0..times {
        clustered.while_php_posts(0, WITHOUT_OWNER, |clustered| {
            let replica = if clustered.world.owner == 0 { 3 } else { 0 };
            clustered.cluster().fail_over(replica).unwrap();
            assert_eq!(clustered.change_owner(), replica);
        });
        let owner = clustered.world.owner;
        clustered.cluster().wait_for_replicas(owner, 1).unwrap();
    }
    clustered.no_post_failed();
    clustered.finish(times);
}

/// Lets a replica take the slot over again and again, because of a fault of its owner, which then
/// comes back. Posts may fail until the replica has taken over. What a replica has confirmed stays.
fn replicas_take_over(
    scenario: &'static str,
    begin: impl Fn(&mut Redis),
    end: impl Fn(&mut Redis),
) {
    if !has_extension() {
        return;
    }
    let times = by_scale(1, 5, 20);
    let mut clustered = Clustered::new(scenario, 2);
    for _ in 0..times {
        clustered.while_php_posts(1, poster::TIMEOUT, |clustered| {
            let owner = clustered.world.owner;
            // What the test has posted must not be lost.
            wait_for(PATIENCE, "a replica to confirm the posts", || {
                clustered.world.ask::<u64>(&["WAIT", "1", "1000"]) >= 1
            })
            .unwrap();
            clustered.cluster().expect_fault(true).unwrap();
            begin(clustered.cluster().node(owner));
            clustered.change_owner();
            end(clustered.cluster().node(owner));
        });
        let owner = clustered.world.owner;
        clustered.cluster().wait_for_replicas(owner, 2).unwrap();
    }
    clustered.finish(times);
}

#[test]
fn a_crash_of_the_owner_loses_nothing_that_a_replica_confirmed() {
    replicas_take_over("Cluster: crash of the owner", Redis::kill9, |node| {
        node.restart().unwrap();
    });
}

#[test]
fn a_frozen_owner_loses_nothing_that_a_replica_confirmed() {
    replicas_take_over(
        "Cluster: owner frozen",
        |node| node.pause(),
        |node| node.resume(),
    );
}

#[test]
fn a_slot_that_moves_loses_nothing_and_wakes_an_idle_worker() {
    if !has_extension() {
        return;
    }
    let times = by_scale(1, 5, 20);
    let mut clustered = Clustered::new("Cluster: the slot moves", 0);
    for _ in 0..times {
        for (from, to) in [(0, 1), (1, 0)] {
            clustered.while_php_posts(0, WITHOUT_OWNER, |clustered| {
                clustered.move_slot(from, to, Duration::from_millis(500));
            });
        }
        // The lists are empty now, and such a list does not ring when it moves: the worker must look
        // by itself.
        for (from, to) in [(0, 2), (2, 0)] {
            clustered.move_slot(from, to, Duration::ZERO);
            clustered.world.drain(&[]);
        }
    }
    clustered.no_post_failed();
    clustered.finish(times);
}
