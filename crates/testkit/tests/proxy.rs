//! The proxy passes data on, and misbehaves on request.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use celery_testkit::{Cut, Fault, Proxy, Redis, RedisOptions, wait_for};

const SOON: Duration = Duration::from_secs(10);
const PONG: &str = "+PONG\r\n";

fn setup() -> (Redis, Proxy) {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    (redis, proxy)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn ping(stream: &mut TcpStream) -> io::Result<String> {
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn passes_everything_on() {
    let (_redis, proxy) = setup();
    let mut stream = connect(&proxy);
    assert_eq!(ping(&mut stream).unwrap(), PONG);
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    drop(stream);
    wait_for(SOON, "the end of the connection", || proxy.open() == 0).unwrap();
}

#[test]
fn delays_and_drips() {
    let (_redis, proxy) = setup();
    let mut stream = connect(&proxy);
    for (fault, least) in [
        (Fault::Latency(Duration::from_millis(30)), 60),
        (Fault::Drip(Duration::from_millis(10)), 130),
    ] {
        proxy.set(fault);
        let started = Instant::now();
        assert_eq!(ping(&mut stream).unwrap(), PONG);
        assert!(
            started.elapsed() >= Duration::from_millis(least),
            "{fault:?}"
        );
    }
}

#[test]
fn falls_silent_and_recovers() {
    let (_redis, proxy) = setup();
    let mut stream = connect(&proxy);
    assert_eq!(ping(&mut stream).unwrap(), PONG);
    proxy.set(Fault::Silence);
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let error = ping(&mut stream).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    proxy.set(Fault::None);
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, PONG.as_bytes());
}

#[test]
fn leaves_open_connections_behind_and_serves_new_ones() {
    let (_redis, proxy) = setup();
    let mut stream = connect(&proxy);
    assert_eq!(ping(&mut stream).unwrap(), PONG);
    proxy.strand_all();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let error = ping(&mut stream).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(ping(&mut connect(&proxy)).unwrap(), PONG);
}

#[test]
fn leads_new_connections_elsewhere() {
    let (redis, proxy) = setup();
    let other = Redis::start(RedisOptions::new()).unwrap();
    let mut stream = connect(&proxy);
    assert_eq!(ping(&mut stream).unwrap(), PONG);
    proxy.retarget(([127, 0, 0, 1], other.port()).into());
    for stream in [&mut stream, &mut connect(&proxy)] {
        stream.write_all(b"INCR n\r\n").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
    }
    for server in [redis, other] {
        assert_eq!(server.cli(&["GET", "n"]).unwrap().trim(), "1");
    }
}

#[test]
fn resets_what_is_open_and_what_comes() {
    let (_redis, proxy) = setup();
    let mut stream = connect(&proxy);
    assert_eq!(ping(&mut stream).unwrap(), PONG);
    proxy.reset_all();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    proxy.set(Fault::Reset);
    let refused =
        TcpStream::connect(("127.0.0.1", proxy.port())).and_then(|mut stream| ping(&mut stream));
    assert!(refused.is_err());
    proxy.set(Fault::None);
    assert_eq!(ping(&mut connect(&proxy)).unwrap(), PONG);
}

#[test]
fn cuts_a_connection_at_a_request_or_at_its_answer() {
    let (redis, proxy) = setup();
    for (cut, counted) in [(Cut::Request, "0"), (Cut::Answer, "1")] {
        let mut stream = connect(&proxy);
        let mut other = connect(&proxy);
        proxy.cut_at("INCR", cut);
        assert_eq!(ping(&mut stream).unwrap(), PONG);
        stream.write_all(b"INCR n\r\n").unwrap();
        let mut answer = [0; 1];
        assert!(stream.read_exact(&mut answer).is_err());
        // Only that connection is cut, and only once.
        assert_eq!(ping(&mut other).unwrap(), PONG);
        let n = redis.cli(&["GET", "n"]).unwrap();
        assert!(
            n.trim() == counted || counted == "0" && n.trim().is_empty(),
            "{n}"
        );
    }
    assert_eq!(proxy.cuts(), 2);
}
