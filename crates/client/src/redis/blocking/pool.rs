//! The pool of clients of Redis.

use std::sync::Arc;

use super::client::{Client, ClientOptions};
use crate::blocking::pool::{self, Pooled};
use crate::redis::RedisEndpoint;

/// The number of idle connections, and the options of the clients.
pub type PoolOptions = pool::PoolOptions<ClientOptions>;

/// A pool of idle connections. It closes a connection that owes answers of pipelined posts:
/// [`collect`](Client::collect) the answers first.
pub type Pool = pool::Pool<Client>;

impl Pooled for Client {
    type Endpoint = RedisEndpoint;
    type Options = ClientOptions;

    fn unconnected(endpoint: Arc<RedisEndpoint>, options: ClientOptions) -> Self {
        Self::new(endpoint, options)
    }

    fn endpoint(&self) -> &Arc<RedisEndpoint> {
        self.endpoint()
    }

    fn set_options(&mut self, options: ClientOptions) {
        self.set_options(options);
    }

    fn may_rest(&self) -> bool {
        self.is_own() && self.is_whole() && self.is_settled()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use celery_testkit::{Redis, RedisOptions};

    use super::super::Post;
    use super::*;
    use crate::blocking::{NeverInterrupt, Wait};
    use crate::error::ClientError;

    fn redis() -> (Redis, Arc<RedisEndpoint>) {
        let redis = Redis::start(RedisOptions::new()).unwrap();
        let endpoint = RedisEndpoint::from_url(&redis.url()).unwrap().into();
        (redis, endpoint)
    }

    fn ping(client: &mut Client) {
        client
            .ping(&mut Wait::new(Duration::from_secs(20), &mut NeverInterrupt))
            .unwrap();
    }

    /// Returns the number of connections, not counting that of the `redis-cli` that asks.
    fn connections(redis: &Redis) -> usize {
        redis
            .cli(&["CLIENT", "LIST"])
            .unwrap()
            .lines()
            .filter(|line| !line.contains("cmd=client"))
            .count()
    }

    #[test]
    fn a_connection_is_used_again() {
        let (redis, endpoint) = redis();
        let mut pool = Pool::new(PoolOptions::default());
        for _ in 0..5 {
            let mut client = pool.take(&endpoint);
            ping(&mut client);
            pool.put(client);
        }
        let stats = redis.cli(&["INFO", "stats"]).unwrap();
        let received = stats
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"))
            .unwrap();
        assert_eq!((pool.len(), connections(&redis)), (1, 1));
        // One connection of the pool, one of each `redis-cli`, and one or two from the check that
        // the server has started.
        assert!(received.trim().parse::<u32>().unwrap() < 6, "{received}");
    }

    #[test]
    fn equal_endpoints_share_and_others_do_not() {
        let (redis, endpoint) = redis();
        let mut pool = Pool::new(PoolOptions::default());
        let mut client = pool.take(&endpoint);
        ping(&mut client);
        pool.put(client);
        let other = Arc::new(RedisEndpoint::from_url(&redis.url_of_db(1)).unwrap());
        assert!(!pool.take(&other).is_whole());
        let equal = Arc::new(RedisEndpoint::from_url(&redis.url()).unwrap());
        assert!(pool.take(&equal).is_whole());
    }

    #[test]
    fn idle_connections_are_bounded() {
        let (redis, endpoint) = redis();
        let options = PoolOptions {
            max_connections: 3,
            ..PoolOptions::default()
        };
        let mut pool = Pool::new(options);
        let mut clients: Vec<Box<Client>> = (0..10).map(|_| pool.take(&endpoint)).collect();
        for client in &mut clients {
            ping(client);
        }
        for client in clients {
            pool.put(client);
        }
        assert_eq!(pool.len(), 3);
        celery_testkit::wait_for(Duration::from_secs(20), "closed connections", || {
            connections(&redis) == 3
        })
        .unwrap();
    }

    #[test]
    fn a_fork_leaves_its_parents_connections_alone() {
        let (_redis, endpoint) = redis();
        let mut pool = Pool::new(PoolOptions::default());
        let mut resting = pool.take(&endpoint);
        let mut out = [pool.take(&endpoint), pool.take(&endpoint)];
        ping(&mut resting);
        for client in &mut out {
            ping(client);
        }
        pool.put(resting);
        pool.pretend_fork();
        for client in &mut out {
            client.pretend_fork();
        }
        // These clients were taken before the fork, so the child takes none of them back, also if
        // it has used the pool in between.
        let [first, second] = out;
        pool.put(first);
        assert!(pool.is_empty());
        let mut between = pool.take(&endpoint);
        ping(&mut between);
        pool.put(between);
        pool.put(second);
        assert_eq!(pool.len(), 1);
        pool.clear();
        let mut own = pool.take(&endpoint);
        assert!(!own.is_whole());
        ping(&mut own);
        pool.put(own);
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn a_connection_that_owes_answers_is_not_pooled() {
        let (redis, endpoint) = redis();
        let mut pool = Pool::new(PoolOptions::default());
        let mut interrupt = NeverInterrupt;
        let mut wait = Wait::new(Duration::from_secs(20), &mut interrupt);
        let post = Post {
            queue: "q".into(),
            priority: 0,
            task_id: "a".into(),
            envelope: b"{}".to_vec(),
        };
        let mut client = pool.take(&endpoint);
        client.publish_later(&post, &mut wait).unwrap();
        pool.put(client);
        assert!(pool.is_empty());
        celery_testkit::wait_for(Duration::from_secs(20), "the post", || {
            redis.cli(&["LLEN", "q"]).unwrap().trim() == "1"
        })
        .unwrap();
        let mut client = pool.take(&endpoint);
        client.publish_later(&post, &mut wait).unwrap();
        assert!(client.collect(&mut wait).is_empty());
        pool.put(client);
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn an_idle_connection_has_the_limit_of_its_next_user() {
        let (redis, endpoint) = redis();
        let stored = "x".repeat(1000);
        redis.cli(&["SET", "celery-task-meta-x", &stored]).unwrap();
        let mut pool = Pool::new(PoolOptions::default());
        let mut read = |id, max_reply| {
            let mut options = PoolOptions::default();
            options.client.max_reply = max_reply;
            pool.set_options(options);
            let mut client = pool.take(&endpoint);
            let mut never = NeverInterrupt;
            let read = client.get_result(id, &mut Wait::new(Duration::from_secs(20), &mut never));
            pool.put(client);
            read
        };
        assert_eq!(read("none", 100), Ok(None));
        assert_eq!(read("x", 2000), Ok(Some(stored.into_bytes())));
        assert!(matches!(read("x", 100), Err(ClientError::Protocol(_))));
    }

    #[test]
    fn a_connection_that_was_idle_for_long_is_checked_first() {
        let (redis, endpoint) = redis();
        let client = ClientOptions {
            idle_check: Duration::ZERO,
            ..ClientOptions::default()
        };
        let options = PoolOptions {
            client,
            ..PoolOptions::default()
        };
        let mut pool = Pool::new(options);
        for _ in 0..3 {
            let mut client = pool.take(&endpoint);
            client
                .forget(
                    "x",
                    &mut Wait::new(Duration::from_secs(20), &mut NeverInterrupt),
                )
                .unwrap();
            pool.put(client);
        }
        let stats = redis.cli(&["INFO", "commandstats"]).unwrap();
        // One PING each before the second and the third use.
        assert!(stats.contains("cmdstat_ping:calls=2,"), "{stats}");
    }
}
