//! Tests of the async driver's connections: opening, refusals, silent servers and reconnection.
#![cfg(feature = "aio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use celery_client::aio::{
    Cmd, ConnectOptions, Connection, Failure, Health, Push, Supervised, Value,
};
use celery_client::redis::RedisEndpoint;
use celery_testkit::{Fault, MASTER, Proxy, RedisCluster, RedisOptions, Sentinels, ServerName};

fn command(words: &[&str]) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg(words);
    cmd
}

async fn open(url: &str) -> Result<Connection, Failure> {
    Connection::open(
        &RedisEndpoint::from_url(url).unwrap(),
        &ConnectOptions::new("test"),
    )
    .await
}

async fn why_not(url: &str) -> String {
    match open(url).await {
        Err(Failure::Connect(why) | Failure::Denied(why)) => why,
        other => panic!("{other:?}"),
    }
}

async fn why_denied(url: &str) -> String {
    match open(url).await {
        Err(Failure::Denied(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tcp_and_unix_sockets_reach_the_right_database() {
    let redis = RedisOptions::new().start().unwrap();
    let socket = format!("redis+socket://{}?virtual_host=3", redis.socket().display());
    for url in [redis.url_of_db(3), socket] {
        let mut connection = open(&url).await.unwrap();
        let client = connection
            .query(&command(&["CLIENT", "INFO"]))
            .await
            .unwrap();
        let Value::BulkString(client) = client else {
            panic!("{client:?}")
        };
        let client = String::from_utf8(client).unwrap();
        assert!(
            client.contains(" db=3 ") && client.contains(" name=test "),
            "{client}"
        );
    }
}

#[tokio::test]
async fn tls_is_spoken_and_the_server_is_checked() {
    let redis = RedisOptions::new().tls(ServerName::Right).start().unwrap();
    let url = redis.tls_url().unwrap();
    let authority = redis.certificates().unwrap().ca();
    let endpoint = RedisEndpoint::from_url(&url)
        .unwrap()
        .with_default_ca_file(&authority);
    let mut connection = Connection::open(&endpoint, &ConnectOptions::new("test"))
        .await
        .unwrap();
    connection.query(&command(&["PING"])).await.unwrap();
    let why = why_not(&url).await;
    assert!(why.to_lowercase().contains("certificate"), "{why}");
}

#[tokio::test]
async fn a_refusal_says_why_and_never_the_password() {
    let redis = RedisOptions::new().password("open sesame").start().unwrap();
    let port = redis.port();
    let wrong = why_denied(&format!("redis://:guess@127.0.0.1:{port}/0")).await;
    assert!(
        wrong.contains("authentication failed") && !wrong.contains("guess"),
        "{wrong}"
    );
    let none = why_denied(&format!("redis://127.0.0.1:{port}/1")).await;
    assert!(none.contains("it asks for a password"), "{none}");
    let far = why_denied(&format!("redis://:open%20sesame@127.0.0.1:{port}/99")).await;
    assert!(far.contains("DB index is out of range"), "{far}");
}

#[tokio::test]
async fn a_server_that_repeats_the_password_is_not_quoted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://me:hunter2@{}/0", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let answer = "-ERR unknown command 'AUTH', with args beginning with: 'me' 'hunter2' \r\n";
        // An answer for each command of the greeting.
        stream.write_all(answer.repeat(8).as_bytes())?;
        stream.read_to_end(&mut Vec::new())
    });
    let why = why_not(&url).await;
    assert!(!why.contains("hunter2"), "{why}");
}

#[tokio::test]
async fn a_server_with_too_many_clients_refuses_the_connection() {
    let full = RedisOptions::new().set("maxclients", "1").start().unwrap();
    let _first = open(&full.url()).await.unwrap();
    // Redis says why and closes at once. Which of the two arrives first depends on timing.
    assert!(open(&full.url()).await.is_err());
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/1", listener.local_addr().unwrap());
    let mut options = ConnectOptions::new("test");
    options.connect_timeout = Duration::from_millis(100);
    let failure = Connection::open(&RedisEndpoint::from_url(&url).unwrap(), &options)
        .await
        .unwrap_err();
    assert!(
        matches!(&failure, Failure::Connect(why) if why.contains("timed out")),
        "{failure:?}"
    );

    let redis = RedisOptions::new().start().unwrap();
    let mut options = ConnectOptions::new("test");
    options.response_timeout = Duration::from_millis(100);
    let endpoint = RedisEndpoint::from_url(&redis.url()).unwrap();
    let mut connection = Connection::open(&endpoint, &options).await.unwrap();
    redis.pause();
    let failure = connection.query(&command(&["PING"])).await.unwrap_err();
    redis.resume();
    assert!(failure.outcome_unknown(), "{failure:?}");
}

#[tokio::test]
async fn pushes_of_tracked_keys_arrive_also_after_a_reconnection() {
    let redis = RedisOptions::new().start().unwrap();
    let endpoint = Arc::new(RedisEndpoint::from_url(&redis.url()).unwrap());
    let heard = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let health = Arc::new(Health::default());
    let mut link = Supervised::new(endpoint, ConnectOptions::new("bell"), Arc::clone(&health))
        .listening({
            let heard = Arc::clone(&heard);
            move |push| {
                let place = usize::from(push == Push::Disconnected);
                heard[place].fetch_add(1, Ordering::SeqCst);
            }
        });
    let wait = |place: usize, count| {
        let heard = Arc::clone(&heard);
        async move {
            let waiting = async {
                while heard[place].load(Ordering::SeqCst) < count {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), waiting)
                .await
                .unwrap();
        }
    };
    assert!(!health.is_up());
    for round in 1..=2 {
        let connection = link.connection().await;
        assert!(connection.hears());
        connection
            .query(&command(&["CLIENT", "TRACKING", "ON"]))
            .await
            .unwrap();
        connection.query(&command(&["EXISTS", "q"])).await.unwrap();
        link.worked();
        assert!(health.is_up());
        redis.cli(&["LPUSH", "q", "x"]).unwrap();
        wait(0, round).await;
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
        wait(1, round).await;
        let failure = link
            .connection()
            .await
            .query(&command(&["PING"]))
            .await
            .unwrap_err();
        link.failed(&failure);
        assert!(!health.is_up());
    }
}

/// Makes the link silent, waits for the failed answer and reports it. Returns how long the answer
/// was waited for.
async fn silence(proxy: &Proxy, link: &mut Supervised) -> Duration {
    let connection = link.connection().await;
    proxy.set(Fault::Silence);
    let begun = Instant::now();
    let failure = connection.query(&command(&["PING"])).await.unwrap_err();
    let waited = begun.elapsed();
    assert!(matches!(failure, Failure::Silent(_)), "{failure:?}");
    proxy.set(Fault::None);
    link.failed(&failure);
    waited
}

#[tokio::test]
async fn the_time_for_an_answer_grows_with_silence_and_falls_with_the_first_answer() {
    let redis = RedisOptions::new().start().unwrap();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}/0", proxy.port());
    let mut options = ConnectOptions::new("test");
    let short = Duration::from_millis(50);
    options.response_timeout = short;
    options.connect_timeout = Duration::from_secs(20);
    let endpoint = Arc::new(RedisEndpoint::from_url(&url).unwrap());
    let mut link = Supervised::new(endpoint, options, Arc::default());
    // A reset connection does not show how long an answer takes.
    for _ in 0..5 {
        let connection = link.connection().await;
        proxy.reset_all();
        let failure = connection.query(&command(&["PING"])).await.unwrap_err();
        assert!(matches!(failure, Failure::Lost(_)), "{failure:?}");
        link.failed(&failure);
    }
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(silence(&proxy, &mut link).await);
    }
    assert!(times[0] < 12 * short, "{times:?}");
    for (time, least) in times.iter().zip([1, 2, 4, 8, 16]) {
        assert!(*time >= least * short, "{times:?}");
    }
    let connection = link.connection().await;
    connection.query(&command(&["PING"])).await.unwrap();
    link.worked();
    let time = silence(&proxy, &mut link).await;
    assert!(time < 12 * short, "{time:?}");
}

/// A server that expects TLS sends an alert and closes the plain connection. The reset of the
/// connection may arrive before the alert.
#[tokio::test]
async fn an_error_says_that_the_port_speaks_tls_only() {
    let redis = RedisOptions::new().tls(ServerName::Right).start().unwrap();
    let closing = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = closing.local_addr().unwrap().port();
    std::thread::spawn(move || closing.incoming().for_each(drop));
    for port in [redis.tls_port().unwrap(), place] {
        for login in ["", ":secret@", "u:secret@"] {
            let error = why_not(&format!("redis://{login}127.0.0.1:{port}/0")).await;
            assert!(error.contains("use rediss://"), "{port}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}

/// Returns the role of the server of a connection, and its port.
async fn role_and_port(connection: &mut Connection) -> (String, String) {
    let mut answers = Vec::new();
    for section in ["replication", "server"] {
        let info = connection
            .query(&command(&["INFO", section]))
            .await
            .unwrap();
        let Value::BulkString(info) = info else {
            panic!("{info:?}")
        };
        answers.push(String::from_utf8(info).unwrap());
    }
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    (field(&answers[0], "role:"), field(&answers[1], "tcp_port:"))
}

#[tokio::test]
async fn a_role_follows_the_master_that_sentinels_name() {
    let options = RedisOptions::new().password("secret");
    let mut master = options.clone().start().unwrap();
    let replica = options.replica_of(master.port()).start().unwrap();
    let mut sentinels = Sentinels::watch(&master, 1).unwrap();
    let endpoint = Arc::new(RedisEndpoint::from_url(&sentinels.url()).unwrap());
    let health = Arc::new(Health::default());
    let mut role = Supervised::new(endpoint, ConnectOptions::new("test"), Arc::clone(&health));
    let at = |port: u16| ("master".to_owned(), port.to_string());
    assert_eq!(
        role_and_port(role.connection().await).await,
        at(master.port())
    );
    role.worked();
    sentinels.expect_fault(true).unwrap();
    // The Sentinel that is asked first is away, too.
    sentinels.sentinel(0).pause();
    master.kill9();
    let lost = role.connection().await.query(&command(&["PING"])).await;
    role.failed(&lost.unwrap_err());
    let connecting = tokio::time::timeout(Duration::from_mins(1), role.connection());
    let connection = connecting.await.unwrap();
    assert_eq!(role_and_port(connection).await, at(replica.port()));
    sentinels.sentinel(0).resume();
}

#[tokio::test]
async fn a_role_follows_the_slot_of_its_keys() {
    let options = RedisOptions::new().password("secret");
    let mut cluster = RedisCluster::start(&options, "{celery}:", 1).unwrap();
    let endpoint = Arc::new(RedisEndpoint::from_url(&cluster.url()).unwrap());
    let health = Arc::new(Health::default());
    let mut role = Supervised::new(endpoint, ConnectOptions::new("test"), Arc::clone(&health));
    let at = |node: usize| {
        (
            "master".to_owned(),
            cluster.nodes()[node].port().to_string(),
        )
    };
    let [first, third, replica] = [at(0), at(2), at(3)];
    assert_eq!(role_and_port(role.connection().await).await, first);
    role.worked();
    // The slot moves, and the role finds out by a refusal. Meanwhile, a script that removes a key
    // misses it.
    let set = command(&["SET", "{celery}:x", "1"]);
    role.connection().await.query(&set).await.unwrap();
    cluster.begin_move(0, 2).unwrap();
    let script = "redis.call('DEL', KEYS[1]) return redis.call('GET', KEYS[1])";
    let eval = command(&["EVAL", script, "1", "{celery}:x"]);
    let missed = role.connection().await.query(&eval).await.unwrap_err();
    assert!(missed.to_string().contains("non local key"), "{missed:?}");
    assert!(!missed.is_lasting(), "{missed:?}");
    cluster.end_move(0, 2).unwrap();
    let get = command(&["GET", "{celery}:a"]);
    let moved = role.connection().await.query(&get).await.unwrap_err();
    assert!(
        moved.is_refusal("MOVED") && !moved.is_lasting(),
        "{moved:?}"
    );
    role.failed(&moved);
    assert_eq!(role_and_port(role.connection().await).await, third);
    cluster.begin_move(2, 0).unwrap();
    cluster.end_move(2, 0).unwrap();
    let moved = role.connection().await.query(&get).await.unwrap_err();
    role.failed(&moved);
    role.connection().await.query(&get).await.unwrap();
    cluster.expect_fault(true).unwrap();
    cluster.node(0).kill9();
    let lost = role.connection().await.query(&get).await;
    role.failed(&lost.unwrap_err());
    let connecting = tokio::time::timeout(Duration::from_mins(1), role.connection());
    let connection = connecting.await.unwrap();
    assert_eq!(role_and_port(connection).await, replica);
}

#[tokio::test]
async fn an_owner_that_is_cut_off_does_not_keep_its_roles() {
    let cluster = RedisCluster::start(&RedisOptions::new(), "{celery}:", 0).unwrap();
    let endpoint = Arc::new(RedisEndpoint::from_url(&cluster.url()).unwrap());
    let mut role = Supervised::new(endpoint, ConnectOptions::new("test"), Arc::default());
    let get = command(&["GET", "{celery}:a"]);
    role.connection().await.query(&get).await.unwrap();
    cluster.cut_off_owner(2).unwrap();
    let refused = tokio::time::timeout(Duration::from_secs(20), async {
        let mut refusals = 0;
        while let Err(refused) = role.connection().await.query(&get).await {
            assert!(refused.is_refusal("CLUSTERDOWN"), "{refused:?}");
            role.failed(&refused);
            refusals += 1;
        }
        refusals
    });
    // It names itself once more if it is asked again before the other nodes.
    assert_eq!(refused.await, Ok(1));
}

#[tokio::test]
async fn what_the_nodes_of_a_cluster_say_is_in_the_failure() {
    let options = RedisOptions::new().password("hunter2");
    let cluster = RedisCluster::start(&options, "{celery}:", 0).unwrap();
    let right = cluster.url();
    // Without a hash tag, no node is asked.
    let untagged = why_denied("redis+cluster://localhost:1?prefix=celery:").await;
    assert!(untagged.contains("hash tag"), "{untagged}");
    // The URL of a single server.
    let single = why_denied(&cluster.nodes()[1].url()).await;
    assert!(single.contains("redis+cluster://"), "{single}");
    let mut failures = vec![why_denied(&right.replace(":hunter2@", "")).await];
    let wrong = why_denied(&right.replace(":hunter2@", ":hunter3@")).await;
    assert!(
        wrong.contains("authentication failed") && !wrong.contains("hunter"),
        "{wrong}"
    );
    // The first node of the URL names an owner that is silent, so the next attempt begins with the
    // other.
    let endpoint = RedisEndpoint::from_url(&right).unwrap();
    let mut options = ConnectOptions::new("test");
    options.connect_timeout = Duration::from_secs(1);
    cluster.nodes()[0].pause();
    for _ in 0..2 {
        let silent = Connection::open(&endpoint, &options).await;
        assert!(matches!(silent, Err(Failure::Connect(_))), "{silent:?}");
    }
    let asked = |node: usize| {
        let stats = cluster.nodes()[node].cli(&["INFO", "commandstats"]);
        let stats = stats.unwrap();
        let calls = stats.split("cmdstat_cluster|slots:calls=").nth(1);
        calls.is_some_and(|calls| !calls.starts_with("0,"))
    };
    assert!(asked(1) && asked(2));
    cluster
        .nodes()
        .iter()
        .for_each(celery_testkit::Redis::pause);
    failures.push(why_not(&right).await);
    cluster
        .nodes()
        .iter()
        .for_each(celery_testkit::Redis::resume);
    for (failure, said) in failures.iter().zip(["Authentication", "no answer within"]) {
        assert_eq!(failure.matches(said).count(), 3, "{failure}");
        assert!(!failure.contains("hunter2"), "{failure}");
    }
}

#[tokio::test]
async fn what_sentinels_say_is_in_the_failure() {
    let options = RedisOptions::new().password("hunter2");
    let master = options.clone().start().unwrap();
    let replica = options.replica_of(master.port()).start().unwrap();
    let mut sentinels = Sentinels::watch(&master, 1).unwrap();
    let right = sentinels.url();
    let no_login = right.split("&sentinel_password").next().unwrap();
    let other = right.replace(&format!("={MASTER}"), "=other");
    // Without a master name, no Sentinel is asked.
    let unnamed = why_denied("sentinel://localhost:1").await;
    assert!(unnamed.contains("master_name"), "{unnamed}");
    let mut failures = vec![why_denied(no_login).await, why_not(&other).await];
    for index in 0..3 {
        sentinels.sentinel(index).pause();
    }
    failures.push(why_not(&right).await);
    for index in 0..3 {
        sentinels.sentinel(index).resume();
    }
    let said = [
        "Authentication",
        "it watches no master of this name",
        "no answer within",
    ];
    for (failure, said) in failures.iter().zip(said) {
        assert_eq!(failure.matches(said).count(), 3, "{failure}");
        assert!(!failure.contains("hunter2"), "{failure}");
    }
    // The Sentinels have not noticed that the roles have changed.
    let port = replica.port().to_string();
    master.cli(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
    let replica = why_not(&right).await;
    assert!(replica.contains("it is a replica"), "{replica}");
}
