//! The idle connections of a process, or of a thread if PHP is thread-safe.
//!
//! The pool is a plain value: it takes no locks, and its only I/O is closing sockets. A client is
//! taken out before it is used and put back after, so that the caller may be aborted at any point.
//! A forked child finds the connections of its parent here and only closes its copies of the
//! descriptors. It sends nothing on them, so the parent is not disturbed.

use std::sync::Arc;

use super::client::{Client, ClientOptions};
use crate::blocking::Process;
use crate::redis::RedisEndpoint;

/// The number of idle connections, and the options of the clients.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolOptions {
    /// Limit for idle connections to all endpoints. The one unused for longest is closed first.
    pub max_connections: usize,
    /// Options of every client that is taken.
    pub client: ClientOptions,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            max_connections: 8,
            client: ClientOptions::default(),
        }
    }
}

/// A pool of idle connections.
pub struct Pool {
    options: PoolOptions,
    /// Idle clients; the most recently used is the last.
    resting: Vec<Client>,
    /// The process that opened these connections.
    owner: Process,
}

impl Pool {
    /// Creates an empty pool, without opening a connection.
    pub fn new(options: PoolOptions) -> Self {
        Self {
            options,
            resting: Vec::new(),
            owner: Process::current(),
        }
    }

    /// Sets the options of all later `take` and `put` calls.
    pub fn set_options(&mut self, options: PoolOptions) {
        self.options = options;
    }

    /// Returns the options.
    pub fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// Returns a client for `endpoint`, with an idle connection if there is one. Otherwise it
    /// connects at its first call.
    ///
    /// Only equal endpoints share a connection: two passwords for one database need two
    /// connections.
    pub fn take(&mut self, endpoint: &Arc<RedisEndpoint>) -> Client {
        self.check_owner();
        let same = |client: &Client| {
            Arc::ptr_eq(client.endpoint(), endpoint) || client.endpoint() == endpoint
        };
        // The most recently used connection is most likely alive.
        match self.resting.iter().rposition(same) {
            Some(index) => {
                let mut client = self.resting.remove(index);
                client.options = self.options.client.clone();
                client
            }
            None => Client::new(endpoint.clone(), self.options.client.clone()),
        }
    }

    /// Takes a client back. Its connection is closed instead if it is broken, if it is in the
    /// middle of an exchange, or if answers of pipelined posts are missing:
    /// [`collect`](Client::collect) the answers first.
    pub fn put(&mut self, client: Client) {
        self.check_owner();
        // A client that was taken out before a fork belongs to the parent; the child drops it.
        if client.is_own() && client.is_whole() && client.is_settled() {
            self.resting.push(client);
            self.close_surplus();
        }
    }

    /// Returns the number of idle connections.
    pub fn len(&self) -> usize {
        self.resting.len()
    }

    /// Returns `true` if the pool holds no idle connection.
    pub fn is_empty(&self) -> bool {
        self.resting.is_empty()
    }

    /// Closes all idle connections.
    pub fn clear(&mut self) {
        self.resting.clear();
    }

    fn close_surplus(&mut self) {
        let surplus = self
            .resting
            .len()
            .saturating_sub(self.options.max_connections);
        self.resting.drain(..surplus);
    }

    /// Drops the connections of the parent in a process that has just found out that it is a fork.
    fn check_owner(&mut self) {
        let process = Process::current();
        if self.owner != process {
            self.owner = process;
            self.resting.clear();
        }
    }

    /// Makes the pool behave as in a fork of the process that filled it.
    #[cfg(test)]
    pub(super) fn pretend_fork(&mut self) {
        self.owner = Process::another();
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
        let mut clients: Vec<Client> = (0..10).map(|_| pool.take(&endpoint)).collect();
        clients.iter_mut().for_each(ping);
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
        out.iter_mut().for_each(ping);
        pool.put(resting);
        pool.pretend_fork();
        out.iter_mut().for_each(Client::pretend_fork);
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
