//! Limits that hold across all workers: how many calls run at once, and how often one begins.

use std::collections::HashMap;

use celery_testkit::{Process, wait_for};

use crate::bench::Bench;
use crate::documented::worker_rights;
use crate::door::Door;
use crate::world::*;

/// Four workers, one of which is killed, run no more calls of a key at once than its limit. Their
/// user has only the documented rights.
#[test]
fn a_limit_for_each_key_holds_over_four_workers_and_a_killed_one() {
    let bench = Bench::new("[annotations.'proj.occupy']\nmax_concurrency = 2\nlimit_by = 1\n");
    let user = [
        &["ACL", "SETUSER", "worker", "on", ">secret"],
        &*worker_rights(),
    ]
    .concat();
    bench.redis.cli(&user).unwrap();
    let url = bench.redis.url().replace("://", "://worker:secret@");
    let mut workers: Vec<Process> = (0..4)
        .map(|_| bench.worker(&["-c", "4", "--broker", &url]))
        .collect();
    let door = Door::open();
    let ids: Vec<String> = (0..24).map(|n| format!("call-{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        let key = ["north", "south"][n % 2];
        post(&bench.redis, id, "proj.occupy", &door.args(key), None);
    }
    door.wait_for(4);
    let places = bench.places();
    assert_eq!(places.len(), 2, "{places:?}");
    for key in &places {
        assert_eq!(count(&bench.redis, &["ZCARD", key]), 2);
    }
    let pid = door.seen().open[0].pid;
    let killed = workers.iter().position(|worker| worker.pid() == pid);
    let mut killed = workers.remove(killed.unwrap());
    killed.kill9();
    // A call ends whenever all places are taken, and the last ones when nothing else is left.
    let mut left = ids.len();
    while left > 0 {
        wait_for(PATIENCE, "a call that ends or begins", || {
            left = ids.len() - bench.succeeded(&ids);
            let open = door.seen().open.len();
            left == 0 || open == left.min(4) || (open > 0 && left <= 4)
        })
        .unwrap();
        if !door.seen().open.is_empty() {
            door.release();
        }
    }
    let most = door.seen().most.clone();
    let expected = HashMap::from([("north".to_owned(), 2), ("south".to_owned(), 2)]);
    assert_eq!(most, expected);
    for worker in &mut workers {
        worker.terminate();
        assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    }
    assert_eq!(count(&bench.redis, &["HLEN", "unacked"]), 0);
}

#[test]
fn calls_that_wait_go_back_when_their_worker_stops() {
    let bench = Bench::new("[annotations.'proj.occupy']\nmax_concurrency = 1\n");
    let door = Door::open();
    let mut worker = bench.worker(&["-c", "4"]);
    let ids = ["a", "b", "c"].map(str::to_owned);
    for id in &ids {
        post(&bench.redis, id, "proj.occupy", &door.args(""), None);
    }
    door.wait_for(1);
    let pages = Pages::of(&mut worker);
    wait_for(PATIENCE, "two calls that wait", || {
        pages
            .get("/metrics")
            .1
            .contains("\ncelery_worker_waiting_messages 2\n")
    })
    .unwrap();
    // A call that does not run needs no place.
    worker.terminate();
    wait_for(PATIENCE, "the calls in their queue", || {
        count(&bench.redis, &["LLEN", "celery"]) == 2
    })
    .unwrap();
    door.release();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    assert_eq!(count(&bench.redis, &["HLEN", "unacked"]), 0);
    let mut worker = bench.worker(&["-c", "4"]);
    for _ in 0..2 {
        door.wait_for(1);
        door.release();
    }
    wait_for(PATIENCE, "all results", || bench.succeeded(&ids) == 3).unwrap();
    // The worker removes what is left of the places.
    wait_for(PATIENCE, "no places", || bench.places().is_empty()).unwrap();
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}

/// Two workers and one that is killed begin one call in an hour.
#[test]
fn a_rate_holds_over_all_workers_and_a_killed_one() {
    let bench = Bench::new("[annotations.'proj.add']\nfleet_rate_limit = '1/h'\n");
    let mut workers = [bench.worker(&[]), bench.worker(&[])];
    let ids: Vec<String> = (0..6).map(|n| format!("call-{n}")).collect();
    post(&bench.redis, &ids[0], "proj.add", "[1, 2]", None);
    wait_for(PATIENCE, "the first call", || bench.succeeded(&ids) == 1).unwrap();
    workers[0].kill9();
    for id in &ids[1..] {
        post(&bench.redis, id, "proj.add", "[1, 2]", None);
    }
    let pages = Pages::of(&mut workers[1]);
    wait_for(PATIENCE, "calls that were not let in", || {
        let text = pages.get("/metrics").1;
        text.contains("\ncelery_worker_waiting_messages 5\n")
            && !text.contains("\ncelery_worker_limit_waits_total 0\n")
    })
    .unwrap();
    assert_eq!(bench.succeeded(&ids), 1);
    workers[1].terminate();
    assert_eq!(workers[1].wait(PATIENCE).unwrap().code(), Some(0));
    // Without the limit, all of them run.
    let mut free = start(&mut command(&bench.redis, &[]));
    wait_for(PATIENCE, "all results", || bench.succeeded(&ids) == 6).unwrap();
    free.terminate();
    assert_eq!(free.wait(PATIENCE).unwrap().code(), Some(0));
}

/// Calls go on at a fast rate: the worker does not wait for each of them.
#[test]
fn calls_at_a_fast_rate_all_run() {
    let bench =
        Bench::new("[annotations.'proj.add']\nfleet_rate_limit = '500/s'\nmax_concurrency = 3\n");
    let mut workers = [bench.worker(&[]), bench.worker(&[])];
    let ids: Vec<String> = (0..60).map(|n| format!("call-{n}")).collect();
    for id in &ids {
        post(&bench.redis, id, "proj.add", "[1, 2]", None);
    }
    wait_for(PATIENCE, "all results", || bench.succeeded(&ids) == 60).unwrap();
    for worker in &mut workers {
        worker.terminate();
        assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    }
}
