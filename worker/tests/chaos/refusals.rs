//! Temporary refusals by Redis: of writes, connections, credentials.

use std::time::Duration;

use celery_testkit::wait_for;

use crate::busy::{CHATTY, at_work, busy, kill_clients, last, says};
use crate::world::{Kind, PATIENCE, World, by_scale};

#[test]
fn a_changed_password_is_waited_for() {
    let mut world = World::new("password changed and changed back");
    let mut workers = busy(&mut world);
    let _ok: String = world.ask(&["CONFIG", "SET", "requirepass", "other"]);
    kill_clients(&mut world);
    let refused = world.redis.cli(&["PING"]).unwrap_err().to_string();
    assert!(refused.contains("NOAUTH"), "{refused}");
    says(&mut workers, "Cannot connect", 0);
    last(&mut world, Duration::from_secs(by_scale(1, 10, 60)));
    let _ok: String = world.ask(&["CONFIG", "SET", "requirepass", ""]);
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

#[test]
fn a_server_without_a_free_connection_is_waited_for() {
    let mut world = World::new("maxclients reached");
    let mut workers = busy(&mut world);
    let _ok: String = world.ask(&["CONFIG", "SET", "maxclients", "1"]);
    kill_clients(&mut world);
    says(&mut workers, "Cannot connect", 0);
    last(&mut world, Duration::from_secs(by_scale(1, 10, 60)));
    let _ok: String = world.ask(&["CONFIG", "SET", "maxclients", "10000"]);
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

#[test]
fn a_server_that_takes_no_writes_is_waited_for() {
    let mut world = World::new("-READONLY");
    let mut workers = busy(&mut world);
    // The server becomes a replica whose primary is away, as happens for a while after a failover.
    let _ok: String = world.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = world.try_ask::<String>(redis::cmd("SET").arg("more").arg("1"));
    assert!(refused.is_err_and(|error| error.code() == Some("READONLY")));
    says(&mut workers, "READONLY", 0);
    last(&mut world, Duration::from_secs(by_scale(1, 10, 60)));
    let _ok: String = world.ask(&["REPLICAOF", "NO", "ONE"]);
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

#[test]
fn a_server_that_cannot_save_is_waited_for() {
    let mut world = World::new("-MISCONF");
    let mut workers = busy(&mut world);
    // A folder takes the place of the file.
    let file = world.redis.socket().with_file_name("dump.rdb");
    std::fs::create_dir(&file).unwrap();
    let _ok: String = world.ask(&["CONFIG", "SET", "save", "3600 1"]);
    save(&mut world, "err");
    let refused = world.try_ask::<String>(redis::cmd("SET").arg("more").arg("1"));
    assert!(refused.is_err_and(|error| error.code() == Some("MISCONF")));
    says(&mut workers, "MISCONF", 0);
    last(&mut world, Duration::from_secs(by_scale(1, 10, 60)));
    std::fs::remove_dir(&file).unwrap();
    save(&mut world, "ok");
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

/// Makes Redis save until a save has ended with this status.
fn save(world: &mut World, status: &str) {
    let wanted = format!("rdb_last_bgsave_status:{status}");
    wait_for(PATIENCE, &wanted, || {
        let info: String = world.ask(&["INFO", "persistence"]);
        if info.contains("rdb_bgsave_in_progress:1") {
            return false;
        }
        let is_saved = info.contains(&wanted);
        if !is_saved {
            // The server may be rewriting its AOF. It then saves later.
            let _begun = world.try_ask::<String>(redis::cmd("BGSAVE").arg("SCHEDULE"));
        }
        is_saved
    })
    .unwrap();
}

#[test]
fn a_password_that_has_become_wrong_is_waited_for() {
    let mut world = World::new("-WRONGPASS");
    let _ok: String = world.ask(&["CONFIG", "SET", "requirepass", "a"]);
    world.broker = format!("redis://:a@127.0.0.1:{}/0", world.redis.port());
    let mut workers = vec![world.playground(&CHATTY)];
    at_work(&mut world);
    let _ok: String = world.ask(&["CONFIG", "SET", "requirepass", "b"]);
    kill_clients(&mut world);
    says(&mut workers, "Password authentication failed", 0);
    last(&mut world, Duration::from_secs(by_scale(1, 10, 60)));
    let _ok: String = world.ask(&["CONFIG", "SET", "requirepass", "a"]);
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}
