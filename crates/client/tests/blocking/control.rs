//! Commands to workers and their replies. The workers of these tests hear the commands on a
//! connection of redis-rs and reply as scripted; php-tests/interop has real ones.

use std::sync::mpsc::{Receiver, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use celery_client::ClientError;
use celery_client::blocking::{Interrupt, Interrupted, Wait};
use celery_client::redis::blocking::{Client, ClientOptions};
use celery_protocol::RawValue;
use celery_protocol::control::{Reply, Request};
use celery_protocol::message::DecodeOptions;
use celery_protocol::redis_keys::Keys;
use celery_testkit::{Fault, Proxy, Redis, wait_for};

use super::{PLENTY, at_leisure, calls, cli, client, client_with, redis};

/// What a worker of these tests does with a command.
type Act = fn(&mut redis::Connection, &Request);

/// A worker that hears one command. Joining it returns the command.
fn worker(redis: &Redis, act: Act) -> JoinHandle<Request> {
    let connect = redis::Client::open(redis.url()).unwrap();
    let (ready, subscribed): (_, Receiver<()>) = channel();
    let worker = spawn(move || {
        let mut heard = connect.get_connection().unwrap();
        let mut answers = connect.get_connection().unwrap();
        let mut pubsub = heard.as_pubsub();
        pubsub.subscribe(Keys::default().pidbox_channel(0)).unwrap();
        ready.send(()).unwrap();
        let raw: Vec<u8> = pubsub.get_message().unwrap().get_payload().unwrap();
        let request = Request::decode_redis(&raw, &DecodeOptions::default()).unwrap();
        act(&mut answers, &request);
        request
    });
    subscribed.recv().unwrap();
    worker
}

fn reply(connection: &mut redis::Connection, request: &Request, node: &str, ticket: &str) {
    let address = request.reply_to.as_ref().unwrap();
    let answer = RawValue::from_string(r#"{"ok":"pong"}"#.to_owned()).unwrap();
    let reply = Reply::new(node, answer, Some(ticket.to_owned()), 1);
    let mut push = redis::cmd("LPUSH");
    push.arg(address.list(&Keys::default()))
        .arg(reply.encode_redis(address, "a-tag"));
    push.exec(connection).unwrap();
}

fn pong(connection: &mut redis::Connection, request: &Request) {
    let ticket = request.ticket.clone().unwrap();
    reply(connection, request, "celery@one", &ticket);
}

fn two_pongs_and_a_stray(connection: &mut redis::Connection, request: &Request) {
    reply(connection, request, "celery@stray", "another ticket");
    let mut push = redis::cmd("LPUSH");
    push.arg(request.reply_to.as_ref().unwrap().list(&Keys::default()))
        .arg("not a message");
    push.exec(connection).unwrap();
    pong(connection, request);
}

fn kill_and_pong(connection: &mut redis::Connection, request: &Request) {
    // The command was delivered; now the connection of the client breaks.
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes");
    let _: Result<i64, _> = kill.query(connection);
    pong(connection, request);
}

fn huge(connection: &mut redis::Connection, request: &Request) {
    let list = request.reply_to.as_ref().unwrap().list(&Keys::default());
    for _ in 0..4 {
        let mut push = redis::cmd("LPUSH");
        push.arg(&list)
            .arg("x".repeat(60_000))
            .exec(connection)
            .unwrap();
    }
}

fn silence(_: &mut redis::Connection, _: &Request) {}

fn ask(client: &mut Client, request: Request, limit: Option<usize>, time: Duration) -> Vec<String> {
    let replies = at_leisure(|wait| client.ask_workers(request, limit, time, wait)).unwrap();
    let mut nodes: Vec<String> = replies
        .into_iter()
        .map(|reply| {
            assert_eq!(reply.answer.get(), r#"{"ok":"pong"}"#);
            reply.node
        })
        .collect();
    nodes.sort();
    nodes
}

/// Returns the keys of replies that are left, and the number of bindings. The deletion is not
/// awaited by the call, but by the next one.
fn left(redis: &Redis, client: &mut Client) -> (String, String) {
    at_leisure(|wait| client.ping(wait)).unwrap();
    (
        cli(redis, &["KEYS", "*.reply.celery.pidbox"]),
        cli(redis, &["SCARD", "_kombu.binding.reply.celery.pidbox"]),
    )
}

#[test]
fn without_a_worker_there_is_nothing_to_wait_for() {
    let redis = redis();
    let mut client = client(&redis);
    assert!(ask(&mut client, Request::new("ping"), None, PLENTY * 100).is_empty());
    assert_eq!(calls(&redis, "brpop"), 0);
    assert_eq!(left(&redis, &mut client), (String::new(), "0".to_owned()));
}

#[test]
fn a_call_ends_when_all_that_heard_it_have_replied() {
    let redis = redis();
    let mut client = client(&redis);
    let one = worker(&redis, pong);
    let nodes = ask(&mut client, Request::new("ping"), None, PLENTY * 100);
    assert_eq!(nodes, ["celery@one"]);
    let request = one.join().unwrap();
    assert_eq!((&*request.method, request.destination), ("ping", None));
    assert!(request.expires > 1.7e9);
    assert_eq!(left(&redis, &mut client), (String::new(), "0".to_owned()));
}

#[test]
fn replies_to_other_calls_and_nonsense_are_passed_over() {
    let redis = redis();
    let mut client = client(&redis);
    let workers = [
        worker(&redis, two_pongs_and_a_stray),
        worker(&redis, silence),
    ];
    let nodes = ask(&mut client, Request::new("ping"), Some(1), PLENTY * 100);
    assert_eq!(nodes, ["celery@one"]);
    for worker in workers {
        worker.join().unwrap();
    }
}

#[test]
fn the_number_of_destinations_is_the_limit() {
    let redis = redis();
    let mut client = client(&redis);
    let workers = [worker(&redis, pong), worker(&redis, silence)];
    let request = Request::new("ping").to(["celery@one"]);
    assert_eq!(
        ask(&mut client, request, None, PLENTY * 100),
        ["celery@one"]
    );
    for worker in workers {
        let heard = worker.join().unwrap().destination;
        assert_eq!(heard.as_deref(), Some(&["celery@one".to_owned()][..]));
    }
    // The other one may still reply, into a list that expires.
    let (list, bindings) = left(&redis, &mut client);
    assert_eq!(bindings, "0");
    assert!(cli(&redis, &["TTL", &list]).parse::<i32>().unwrap() > 0);
}

#[test]
fn silence_ends_with_the_time_and_keeps_the_connection() {
    let redis = redis();
    let mut client = client(&redis);
    let silent = worker(&redis, silence);
    let nodes = ask(
        &mut client,
        Request::new("ping"),
        None,
        Duration::from_millis(300),
    );
    assert!(nodes.is_empty());
    silent.join().unwrap();
    let (list, _) = left(&redis, &mut client);
    assert!(cli(&redis, &["TTL", &list]).parse::<i32>().unwrap() > 0);
    let ids = cli(&redis, &["CLIENT", "LIST"]);
    assert!(ids.contains("cmd=ping"), "the connection was kept: {ids}");
}

#[test]
fn replies_are_read_on_another_connection_if_one_is_lost() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let mut client = client_with(&url, ClientOptions::default());
    let one = worker(&redis, kill_and_pong);
    let nodes = ask(&mut client, Request::new("ping"), None, PLENTY);
    assert_eq!(nodes, ["celery@one"]);
    one.join().unwrap();
    assert_eq!(calls(&redis, "publish"), 1);
    proxy.set(Fault::None);
}

#[test]
fn a_command_is_never_sent_twice() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let mut client = client_with(&url, ClientOptions::default());
    at_leisure(|wait| client.ping(wait)).unwrap();
    proxy.cut_at("PUBLISH", celery_testkit::Cut::Answer);
    let grow = Request::new("pool_grow").argument("n", 1);
    let error = at_leisure(|wait| client.broadcast(&grow, wait)).unwrap_err();
    assert!(matches!(error, ClientError::Disconnected { .. }), "{error}");
    wait_for(PLENTY, "the command", || calls(&redis, "publish") == 1).unwrap();
    assert_eq!(at_leisure(|wait| client.broadcast(&grow, wait)), Ok(0));
    assert_eq!(calls(&redis, "publish"), 2);
}

#[test]
fn an_interrupted_call_leaves_nothing_without_an_end() {
    struct Later(u32);
    impl Interrupt for Later {
        fn check(&mut self) -> Result<(), Interrupted> {
            self.0 += 1;
            if self.0 > 3 { Err(Interrupted) } else { Ok(()) }
        }
    }
    let redis = redis();
    let mut client = client(&redis);
    let silent = worker(&redis, silence);
    let mut later = Later(0);
    let mut wait = Wait::new(PLENTY, &mut later);
    let error = client
        .ask_workers(Request::new("ping"), None, PLENTY, &mut wait)
        .unwrap_err();
    assert_eq!(error, ClientError::Interrupted);
    silent.join().unwrap();
    let (list, bindings) = left(&redis, &mut client);
    assert_eq!(bindings, "0");
    assert!(cli(&redis, &["TTL", &list]).parse::<i32>().unwrap() > 0);
}

#[test]
fn too_large_replies_are_refused() {
    let redis = redis();
    let mut options = ClientOptions::default();
    options.max_reply = 200_000;
    let mut client = client_with(&redis.url(), options);
    let one = worker(&redis, huge);
    let asked = at_leisure(|wait| client.ask_workers(Request::new("x"), None, PLENTY, wait));
    let error = asked.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(_)), "{error}");
    one.join().unwrap();
}
