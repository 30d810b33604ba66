//! Faults of the network between worker and Redis, and moves of the server.

use std::time::Duration;

use celery_testkit::{Fault, Proxy, Redis, RedisOptions, Wire, wait_for};

use crate::busy::{SMALL, at_work, busy, last, says, seconds};
use crate::programs::{Worker, through};
use crate::world::{Kind, PATIENCE, World, by_scale};

/// Makes a network faulty for a while, in which tasks are posted, and then healthy. With `gives_up`, the
/// worker must open another connection meanwhile.
pub fn disturb(world: &mut World, proxy: &Proxy, fault: Fault, seconds: u64, gives_up: bool) {
    proxy.set(fault);
    if fault == Fault::Reset {
        proxy.reset_all();
    }
    world.post(Kind::Noop, 50);
    let connections = proxy.accepted();
    world.fault = Duration::from_secs(seconds);
    world.wait_until_open(0, world.fault);
    if gives_up {
        wait_for(PATIENCE, "a connection to be given up", || {
            proxy.accepted() > connections
        })
        .unwrap();
    }
    proxy.set(Fault::None);
    world.one_more_soon(Kind::Noop);
}

/// Puts a faulty network between worker and Redis for a while, and then a healthy one.
fn on_a_faulty_way(scenario: &'static str, fault: Fault, seconds: u64, gives_up: bool) {
    let mut world = World::new(scenario);
    let proxy = Proxy::to_port(world.redis.port()).unwrap();
    world.broker = format!("redis://127.0.0.1:{}/0", proxy.port());
    let workers = busy(&mut world);
    disturb(&mut world, &proxy, fault, seconds, gives_up);
    world.finish(1, workers);
}

#[test]
fn a_silent_link_is_given_up() {
    on_a_faulty_way("half-open link", Fault::Silence, by_scale(8, 20, 60), true);
}

#[test]
fn a_resetting_network_is_waited_for() {
    on_a_faulty_way("RST", Fault::Reset, by_scale(2, 20, 60), true);
}

#[test]
fn a_millisecond_more_is_harmless() {
    let latency = Fault::Latency(Duration::from_millis(1));
    on_a_faulty_way("latency 1 ms", latency, by_scale(2, 20, 60), false);
}

#[test]
fn two_seconds_more_are_survived() {
    let latency = Fault::Latency(Duration::from_secs(2));
    on_a_faulty_way("latency 2 s", latency, by_scale(6, 20, 60), false);
}

#[test]
fn a_drip_is_survived() {
    let drip = Fault::Drip(Duration::from_millis(1));
    on_a_faulty_way("a byte a millisecond", drip, by_scale(4, 20, 60), false);
}

#[test]
fn half_a_minute_more_is_an_outage() {
    let latency = Fault::Latency(Duration::from_secs(30));
    on_a_faulty_way("latency 30 s", latency, by_scale(8, 40, 60), true);
}

#[test]
fn a_byte_a_second_is_an_outage() {
    let drip = Fault::Drip(Duration::from_secs(1));
    on_a_faulty_way("a byte a second", drip, by_scale(8, 20, 60), true);
}

/// Makes a replica the primary, with everything that was written. Writes wait meanwhile, and are
/// refused by the old primary from then on.
fn promote(world: &mut World, replica: &Redis) {
    catch_up(world, replica);
    replica.cli(&["REPLICAOF", "NO", "ONE"]).unwrap();
}

/// Holds all writes for a minute at most, and waits until a replica has everything that was written
/// before.
pub fn catch_up(world: &mut World, replica: &Redis) {
    let _ok: String = world.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let offset = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_end().to_owned())
    };
    wait_for(PATIENCE, "the replica to have everything", || {
        let theirs = replica.cli(&["INFO", "replication"]).unwrap();
        let ours: String = world.ask(&["INFO", "replication"]);
        theirs.contains("master_link_status:up")
            && offset(&theirs, "slave_repl_offset:") == offset(&ours, "master_repl_offset:")
    })
    .unwrap();
}

#[test]
fn a_failover_is_followed() {
    let times = by_scale(1, 5, 20);
    let mut world = World::new("failover to the replica");
    let proxy = Proxy::to_port(world.redis.port()).unwrap();
    world.broker = format!("redis://127.0.0.1:{}/0", proxy.port());
    let options = RedisOptions::new().aof().replica_of(world.redis.port());
    let mut replica = options.start().unwrap();
    let workers = busy(&mut world);
    for _ in 0..times {
        at_work(&mut world);
        promote(&mut world, &replica);
        let port = replica.port();
        let _ok: String = world.ask(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
        let _ok: String = world.ask(&["CLIENT", "UNPAUSE"]);
        // Connections to the old primary stay: it answers, and refuses writes. A slow worker may have
        // given up on them before, during the pause.
        proxy.retarget(([127, 0, 0, 1], port).into());
        replica = world.moves_to(replica);
        world.one_more_soon(Kind::Noop);
    }
    world.finish(times, workers);
}

#[test]
fn a_name_that_resolves_to_another_server_is_followed() {
    let mut world = World::new("the name leads elsewhere");
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a file /etc/hosts of one's own needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 redis.test\n").unwrap();
    let port = world.redis.port().to_string();
    world.broker = format!("redis://redis.test:{port}/0");
    let mount = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let starter = ["unshare", "--mount", "sh", "-c", &mount, "sh"];
    let mut command = through(&starter, &world.playground_command(&SMALL));
    let workers = vec![Worker::start(&mut command)];
    let options = RedisOptions::new().aof().replica_of(world.redis.port());
    let options = options.set("bind", "127.0.0.2").set("port", &port);
    let other = options.start().unwrap();
    at_work(&mut world);
    promote(&mut world, &other);
    std::fs::write(&hosts, "127.0.0.2 redis.test\n").unwrap();
    let mut old = world.moves_to(other);
    old.stop();
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

#[test]
fn swallowed_packets_are_an_outage() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: network namespaces need root");
        return;
    }
    let wire = Wire::lay().unwrap();
    let options = RedisOptions::new()
        .aof()
        .set("bind", Wire::ADDRESS)
        .set("protected-mode", "no")
        .through(&wire.near());
    let mut world = World::on("swallowed packets", options);
    world.broker = format!("redis://{}:{}/0", Wire::ADDRESS, world.redis.port());
    swallow_packets(world, &wire);
}

/// Runs a worker at the far end of a wire, which swallows all packets for a while.
pub fn swallow_packets(mut world: World, wire: &Wire) {
    let far = wire.far();
    let starter: Vec<&str> = far.iter().map(String::as_str).collect();
    let mut command = through(&starter, &world.playground_command(&SMALL));
    let mut workers = vec![Worker::start(&mut command)];
    let lengths = by_scale(&[8.0][..], &[3.0, 8.0, 20.0], &[1.0, 3.0, 8.0, 20.0, 60.0]);
    for seconds in lengths {
        at_work(&mut world);
        let said = workers[0].process.log_len();
        wire.cut().unwrap();
        last(&mut world, Duration::from_secs_f64(*seconds));
        if *seconds > 7.0 {
            says(&mut workers, "Cannot connect", said);
        }
        wire.mend().unwrap();
        world.one_more_soon(Kind::Noop);
    }
    world.note(seconds(lengths));
    world.finish(lengths.len(), workers);
}
