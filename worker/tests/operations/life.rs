//! How the supervisor, the operator and the monitoring see a worker.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;

use celery_testkit::{MariaDb, Process, Redis, RedisOptions, wait_for};

use crate::world::*;

#[test]
fn tasks_that_never_yield_fail_and_end_the_process_at_a_quarter_of_the_slots() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let more = ["-c", "8", "-l", "info", "--metrics-addr", "0"];
    let mut worker = start(&mut command(&redis, &more));
    let pages = Pages::of(&mut worker);
    assert_eq!(pages.get("/healthz").0, 200);
    // One of eight slots is written off; the others go on.
    post(&redis, "s1", "proj.spin", "[600]", Some(1.0));
    wait_for_status(&redis, "s1", "FAILURE", &worker);
    let failure = result(&redis, "s1").unwrap();
    assert_eq!(failure["result"]["exc_type"], "TimeLimitExceeded");
    post(&redis, "a1", "proj.add", "[1, 2]", None);
    wait_for_status(&redis, "a1", "SUCCESS", &worker);
    let (status, text) = pages.get("/healthz");
    assert_eq!(status, 503);
    assert!(text.contains("1 tasks did not end when told to"), "{text}");
    // The second stuck task computes. Two lost slots are too many: the worker stops, and tasks that
    // run or wait go back.
    post(&redis, "c1", "proj.compute", "[600]", Some(1.0));
    for id in ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"] {
        post(&redis, id, "proj.sleep", "[600]", None);
    }
    let status = worker.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(70), "{}", worker.log());
    let failure = result(&redis, "c1").unwrap();
    assert_eq!(failure["result"]["exc_type"], "TimeLimitExceeded");
    assert_eq!(count(&redis, &["LLEN", "celery"]), 8);
    assert_eq!(count(&redis, &["HLEN", "unacked"]), 0);
}

#[test]
fn tasks_that_block_every_thread_do_not_disturb_limits_leases_or_the_stop() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let more = ["-c", "1000", "-l", "info", "--lease", "2"];
    let mut worker = start(&mut command(&redis, &more));
    // The number of tasks is greater than that of the threads, but far less than a quarter of the
    // slots.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let spins = threads.max(4) + 2;
    for number in 0..spins {
        post(
            &redis,
            &format!("s{number}"),
            "proj.spin",
            "[600]",
            Some(3.0),
        );
    }
    post(&redis, "free", "proj.spin", "[600]", None);
    let status = worker.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(70), "{}", worker.log());
    // The worker renewed its leases all the time.
    assert!(!worker.log().contains("were lost"), "{}", worker.log());
    assert!(!worker.log().contains("Restored"), "{}", worker.log());
    // Each task has a failure as its result, or is back in its queue.
    let failed = (0..spins).filter(|number| result(&redis, &format!("s{number}")).is_some());
    let failed = u64::try_from(failed.count()).unwrap();
    assert!(failed >= 4, "{failed}");
    let queued = count(&redis, &["LLEN", "celery"]);
    assert_eq!(failed + queued, u64::try_from(spins).unwrap() + 1);
    assert_eq!(count(&redis, &["HLEN", "unacked"]), 0);
}

#[test]
fn a_cold_stop_leaves_behind_tasks_that_do_not_end() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &["-l", "debug"]));
    post(&redis, "s1", "proj.spin", "[600]", None);
    wait_until_begun(&mut worker, "s1");
    worker.quit();
    let status = worker.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(1), "{}", worker.log());
    assert_eq!(count(&redis, &["LLEN", "celery"]), 1);
    assert!(
        redis
            .cli(&["LRANGE", "celery", "0", "-1"])
            .unwrap()
            .contains("redelivered")
    );
}

#[test]
fn a_soft_shutdown_waits_for_its_timeout_only() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let more = ["-l", "debug", "--soft-shutdown-timeout", "5s"];
    let mut worker = start(command(&redis, &more).env("REMAP_SIGTERM", "SIGQUIT"));
    post(&redis, "short", "proj.sleep", "[1]", None);
    post(&redis, "long", "proj.sleep", "[600]", None);
    wait_until_begun(&mut worker, "short");
    wait_until_begun(&mut worker, "long");
    worker.terminate();
    worker
        .wait_for_line(
            PATIENCE,
            "Initiating Soft Shutdown, terminating in 5 seconds",
        )
        .unwrap();
    // The short task ends in time; the long one is dropped and goes back.
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(1));
    assert_eq!(result(&redis, "short").unwrap()["status"], "SUCCESS");
    assert_eq!(count(&redis, &["LLEN", "celery"]), 1);
    let order = ["Warm shutdown", "succeeded", "Cold shutdown"];
    let said = order.map(|words| worker.log().find(words));
    assert!(said.is_sorted() && said[0].is_some(), "{}", worker.log());
}

#[test]
fn a_soft_shutdown_ends_with_its_last_task_or_at_the_next_signal() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let more = ["-l", "debug", "--soft-shutdown-timeout", "1h"];
    let mut worker = start(&mut command(&redis, &more));
    post(&redis, "short", "proj.sleep", "[1]", None);
    wait_until_begun(&mut worker, "short");
    worker.quit();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    assert_eq!(result(&redis, "short").unwrap()["status"], "SUCCESS");

    let mut worker = start(&mut command(&redis, &more));
    post(&redis, "long", "proj.sleep", "[600]", None);
    wait_until_begun(&mut worker, "long");
    // First warm, then soft, then cold.
    worker.interrupt();
    worker.wait_for_line(PATIENCE, "Warm shutdown").unwrap();
    worker.interrupt();
    worker
        .wait_for_line(PATIENCE, "Initiating Soft Shutdown")
        .unwrap();
    worker.interrupt();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(1));
    assert_eq!(count(&redis, &["LLEN", "celery"]), 1);
}

#[test]
fn the_pages_show_health_readiness_and_counts() {
    let mut redis = Redis::start(RedisOptions::new()).unwrap();
    let more = [
        "-l",
        "info",
        "--metrics-addr",
        "127.0.0.1:0",
        "-n",
        "w1@box",
    ];
    let mut worker = start(&mut command(&redis, &more));
    let pages = Pages::of(&mut worker);
    assert_eq!(pages.get("/healthz"), (200, "ok\n".into()));
    assert_eq!(pages.get("/readyz"), (200, "ok\n".into()));

    post(&redis, "a1", "proj.add", "[1, 2]", None);
    post(&redis, "a2", "proj.add", "[1, 2]", None);
    post(&redis, "f1", "proj.fail", "[]", None);
    post(&redis, "r1", "proj.retrying", "[]", None);
    post(&redis, "u1", "proj.unknown", "[]", None);
    post(&redis, "p1", "proj.sleep", "[600]", None);
    wait_for_status(&redis, "a2", "SUCCESS", &worker);
    wait_for_status(&redis, "f1", "FAILURE", &worker);
    wait_for_status(&redis, "r1", "RETRY", &worker);
    wait_for_status(&redis, "u1", "FAILURE", &worker);
    let of = |name: &str| format!("name=\"{name}\",hostname=\"box\",queue_name=\"celery\"");
    let expected = [
        format!("celery_task_received_total{{{}}} 2", of("proj.add")),
        format!("celery_task_succeeded_total{{{}}} 2", of("proj.add")),
        format!("celery_task_runtime_count{{{}}} 2", of("proj.add")),
        format!(
            "celery_task_failed_total{{{},exception=\"ValueError\"}} 1",
            of("proj.fail")
        ),
        format!("celery_task_started_total{{{}}} 1", of("proj.sleep")),
        "celery_worker_tasks_active{hostname=\"box\"} 1".to_owned(),
        "celery_worker_dead_letters_total{cause=\"not-registered\"} 1".to_owned(),
        "celery_worker_slots 100".to_owned(),
        "celery_worker_broker_up 1".to_owned(),
        "# EOF".to_owned(),
    ];
    let mut text = String::new();
    if let Err(error) = wait_for(PATIENCE, "the counts", || {
        text = pages.get("/metrics").1;
        expected
            .iter()
            .all(|line| text.lines().any(|found| found == line))
    }) {
        panic!("{error}:\n{text}");
    }
    assert!(
        text.contains("celery_task_retried_total{name=\"proj.retrying\""),
        "{text}"
    );

    // Other requests are refused, and large ones are not read to their end.
    assert_eq!(pages.get("/").0, 404);
    assert!(
        pages
            .send("POST /metrics HTTP/1.1\r\nHost: w\r\n\r\n")
            .contains(" 405 ")
    );
    let large = format!(
        "GET /healthz HTTP/1.1\r\nHost: w\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    assert!(!pages.send(&large).contains(" 200 "));
    // A taken address is a mistake in the settings: a supervisor must not restart the worker again
    // and again.
    let address = pages.0.clone();
    let output = command(&redis, &["--metrics-addr", &address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&address));

    // A worker whose broker is away is not ready, but healthy.
    redis.stop();
    let text = pages.wait_for("/readyz", 503);
    assert!(text.contains("the broker cannot be reached"), "{text}");
    assert_eq!(pages.get("/healthz").0, 200);
    redis.restart().unwrap();
    pages.wait_for("/readyz", 200);
    let text = pages.get("/metrics").1;
    let reconnects = text
        .lines()
        .find_map(|line| line.strip_prefix("celery_worker_broker_reconnects_total "));
    assert!(reconnects.unwrap().parse::<u32>().unwrap() > 0, "{text}");

    worker.usr1();
    let text = pages.wait_for("/readyz", 503);
    assert!(text.contains("no longer claims"), "{text}");
    assert_eq!(pages.get("/healthz").0, 200);
}

#[test]
fn slow_clients_do_not_delay_a_probe() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &["--metrics-addr", "0"]));
    let pages = Pages::of(&mut worker);
    let slow = |count: usize, said: &[u8]| -> Vec<TcpStream> {
        let connect = |_| {
            let mut stream = TcpStream::connect(&pages.0).unwrap();
            stream.write_all(said).unwrap();
            stream
        };
        (0..count).map(connect).collect()
    };
    for (count, said) in [
        (40, ""),
        (40, "GET /healthz HTTP/1.1\r\nHost: w\r\n"),
        (200, ""),
        (200, "GET /metrics HTTP/1.1\r\n"),
    ] {
        let mut clients = slow(count, said.as_bytes());
        assert_eq!(pages.get("/healthz").0, 200);
        assert_eq!(pages.get("/readyz").0, 200);
        // The answers came while the newest of the slow clients were still connected, so not only
        // after the deadline of the slow ones.
        for client in clients.iter_mut().rev().take(40) {
            client.set_nonblocking(true).unwrap();
            let read = client.read(&mut [0]);
            assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock, "{count}");
        }
    }
}

#[test]
fn a_database_that_is_away_makes_a_worker_unready() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut database = MariaDb::start().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    let url = database.url();
    command.args(["--broker", &redis.url(), "--database", &url]);
    let mut worker = start(command.args(["--metrics-addr", "0"]));
    let pages = Pages::of(&mut worker);
    assert_eq!(pages.get("/readyz").0, 200);
    database.stop();
    let text = pages.wait_for("/readyz", 503);
    assert_eq!(text, "the database cannot be reached\n");
    assert_eq!(pages.get("/healthz").0, 200);
    database.restart().unwrap();
    pages.wait_for("/readyz", 200);
}

/// The socket at which a service manager hears from the worker.
struct Manager(UnixDatagram);

impl Manager {
    fn at(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager(socket)
    }

    /// Listens until the worker sends this; returns all that it sent until then.
    fn hear(&self, state: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let mut buffer = [0; 1024];
        while !heard.iter().any(|line| line == state) {
            let length = match self.0.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) => panic!("waiting for {state}: {error}; heard {heard:?}"),
            };
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            heard.extend(text.lines().map(str::to_owned));
        }
        heard
    }
}

#[test]
fn the_service_manager_is_notified_of_start_life_and_end() {
    let mut redis = Redis::start(RedisOptions::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let name = format!("celery-worker-test-{}", std::process::id());
    for (address, variable) in [
        (
            SocketAddr::from_pathname(&path).unwrap(),
            path.display().to_string(),
        ),
        (
            SocketAddr::from_abstract_name(&name).unwrap(),
            format!("@{name}"),
        ),
    ] {
        let manager = Manager::at(&address);
        // A broker that is away delays the start; the worker asks the manager for more time.
        redis.stop();
        let mut command = command(&redis, &[]);
        command
            .env("NOTIFY_SOCKET", &variable)
            .env("WATCHDOG_USEC", "200000");
        let mut worker = Process::spawn("playground", &mut command).unwrap();
        let heard = manager.hear("EXTEND_TIMEOUT_USEC=30000000");
        assert!(!heard.iter().any(|line| line == "READY=1"), "{heard:?}");
        redis.restart().unwrap();
        manager.hear("READY=1");
        manager.hear("WATCHDOG=1");
        // An outage is not a reason to restart the worker either: only the broker can end it.
        redis.stop();
        worker.wait_for_line(PATIENCE, "Cannot connect").unwrap();
        manager.hear("WATCHDOG=1");
        manager.hear("WATCHDOG=1");
        redis.restart().unwrap();
        worker.terminate();
        manager.hear("STOPPING=1");
        assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    }
}

#[test]
fn an_sql_task_has_a_time_limit() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = MariaDb::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    let tasks = "[tasks.slow]\nsql = 'DO SLEEP(:seconds)'\ntime_limit = '1s'\nmax_retries = 3\n";
    std::fs::write(&file, tasks).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    command.args(["--broker", &redis.url(), "--database", &database.url()]);
    let worker = start(command.arg("--config").arg(&file));
    post(&redis, "slow", "slow", "[600]", None);
    wait_for_status(&redis, "slow", "FAILURE", &worker);
    let document = result(&redis, "slow").unwrap();
    assert_eq!(document["result"]["exc_type"], "TimeLimitExceeded");
    // The server must also have ended the statement.
    let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%'";
    wait_for(PATIENCE, "the end of the statement", || {
        database.sql(running).unwrap() == "0"
    })
    .unwrap();
    post(&redis, "quick", "slow", "[0]", None);
    wait_for_status(&redis, "quick", "SUCCESS", &worker);
}

#[test]
fn a_soft_time_limit_asks_a_task_to_end() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &["-l", "info"]));
    post(&redis, "soft", "proj.soft", "[600]", None);
    let told = "Soft time limit (1s) exceeded for proj.soft[soft]";
    worker.wait_for_line(PATIENCE, told).unwrap();
    wait_for_status(&redis, "soft", "FAILURE", &worker);
    let document = result(&redis, "soft").unwrap();
    assert_eq!(document["result"]["exc_type"], "SoftTimeLimitExceeded");
    // A task that ends within its soft limit is not asked to end.
    post(&redis, "quick", "proj.soft", "[0]", None);
    wait_for_status(&redis, "quick", "SUCCESS", &worker);
    assert_eq!(worker.log().matches("Soft time limit").count(), 1);
}
