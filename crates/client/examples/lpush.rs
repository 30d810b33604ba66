//! Compares the blocking driver with a bare socket: single posts, pipelined posts, and batches.
//!
//! `cargo run --release -p celery-client --features blocking --example lpush --
//! redis://127.0.0.1:6379 [more URLs]`
//!
//! Each round measures all variants in turn. The output shows the median time of a post in µs, and
//! its ratio to the bare socket. Each measurement first deletes the server's list `bench`, so use a
//! server without valuable data.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_client::blocking::{NeverInterrupt, Wait};
use celery_client::endpoint::Address;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, ClientOptions, Pool, PoolOptions, Post, Publish};

const ROUNDS: usize = 9;
const POSTS: u32 = 4000;
const BATCH: u32 = 1000;
/// Size of a task with a few arguments, in bytes.
const MESSAGE: usize = 548;

type Failure = Box<dyn std::error::Error>;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn bare(endpoint: &RedisEndpoint) -> Result<Box<dyn Stream>, Failure> {
    Ok(match endpoint.address() {
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port))?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Address::Unix(path) => Box::new(UnixStream::connect(path)?),
    })
}

fn main() -> Result<(), Failure> {
    for url in std::env::args().skip(1) {
        measure(&Arc::new(RedisEndpoint::from_url(&url)?))?;
    }
    Ok(())
}

fn measure(endpoint: &Arc<RedisEndpoint>) -> Result<(), Failure> {
    let post = Post {
        queue: "bench".into(),
        priority: 0,
        task_id: "id".into(),
        envelope: vec![b'x'; MESSAGE],
    };
    let packed = redis::cmd("LPUSH")
        .arg("bench")
        .arg(&post.envelope[..])
        .get_packed_command();
    let batch = vec![post.clone(); BATCH as usize];
    let packed_batch = packed.repeat(BATCH as usize);
    let mut stream = bare(endpoint)?;
    let mut pool = Pool::new(PoolOptions::default());
    let mut taken: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        clear(endpoint)?;
        taken[0].push(time(POSTS, || {
            stream.write_all(&packed)?;
            let mut answer = [0; 64];
            stream.read(&mut answer).map(drop).map_err(Into::into)
        })?);
        clear(endpoint)?;
        taken[1].push(time(POSTS, || {
            let mut client = pool.take(endpoint);
            client.publish(
                &post,
                Publish::Confirmed,
                &mut Wait::new(Duration::from_secs(5), &mut NeverInterrupt),
            )?;
            pool.put(client);
            Ok(())
        })?);
        clear(endpoint)?;
        let mut client = pool.take(endpoint);
        taken[2].push(time(POSTS, || {
            client.publish_later(
                &post,
                &mut Wait::new(Duration::from_secs(5), &mut NeverInterrupt),
            )?;
            Ok(())
        })?);
        client.collect(&mut Wait::new(Duration::from_secs(5), &mut NeverInterrupt));
        pool.put(client);
        clear(endpoint)?;
        taken[3].push(
            time(POSTS / BATCH, || {
                stream.write_all(&packed_batch)?;
                let mut lines = 0;
                let mut answer = [0; 16384];
                while lines < BATCH as usize {
                    let count = stream.read(&mut answer)?;
                    let ends = answer[..count].iter().filter(|byte| **byte == b'\n');
                    lines += ends.count();
                }
                Ok(())
            })? / f64::from(BATCH),
        );
        clear(endpoint)?;
        taken[4].push(
            time(POSTS / BATCH, || {
                let mut client = pool.take(endpoint);
                let mut never = NeverInterrupt;
                let wait = &mut Wait::new(Duration::from_secs(5), &mut never);
                client
                    .publish_batch(&batch, Publish::Confirmed, wait)
                    .into_iter()
                    .collect::<Result<(), _>>()?;
                pool.put(client);
                Ok(())
            })? / f64::from(BATCH),
        );
    }
    println!("{endpoint}");
    let names = [
        "bare socket",
        "publish",
        "publish_later",
        "bare socket, batch",
        "publish_batch",
    ];
    let medians = taken.map(|mut all| {
        all.sort_by(f64::total_cmp);
        (all[ROUNDS / 2], all[0])
    });
    for (nth, (name, (median, least))) in names.iter().zip(medians).enumerate() {
        let base = if nth < 3 { medians[0].0 } else { medians[3].0 };
        println!(
            "  {name:20} {median:7.2} µs (min {least:.2})  {:.2} × bare",
            base / median
        );
    }
    Ok(())
}

fn clear(endpoint: &Arc<RedisEndpoint>) -> Result<(), Failure> {
    let mut client = Client::new(endpoint.clone(), ClientOptions::default());
    let mut stream = bare(endpoint)?;
    stream.write_all(b"*2\r\n$3\r\nDEL\r\n$5\r\nbench\r\n")?;
    // Reads `:0` or `:1` and the end of the line.
    stream.read_exact(&mut [0; 4])?;
    client
        .ping(&mut Wait::new(Duration::from_secs(5), &mut NeverInterrupt))
        .map_err(Into::into)
}

/// Returns the mean time of a call in µs.
fn time(calls: u32, mut call: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let begin = Instant::now();
    for _ in 0..calls {
        call()?;
    }
    Ok(begin.elapsed().as_secs_f64() * 1e6 / f64::from(calls))
}
