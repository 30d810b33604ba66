//! The pool of clients of RabbitMQ.

use std::sync::Arc;

use super::client::{Client, ClientOptions};
use crate::amqp::AmqpEndpoint;
use crate::blocking::pool::{self, Pooled};

/// The number of idle connections, and the options of the clients.
pub type PoolOptions = pool::PoolOptions<ClientOptions>;

/// A pool of idle connections.
pub type Pool = pool::Pool<Client>;

impl Pooled for Client {
    type Endpoint = AmqpEndpoint;
    type Options = ClientOptions;

    fn unconnected(endpoint: Arc<AmqpEndpoint>, options: ClientOptions) -> Self {
        Self::new(endpoint, options)
    }

    fn endpoint(&self) -> &Arc<AmqpEndpoint> {
        self.endpoint()
    }

    fn set_options(&mut self, options: ClientOptions) {
        self.set_options(options);
    }

    fn may_rest(&self) -> bool {
        self.may_rest()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use celery_testkit::RabbitMq;

    use super::*;
    use crate::blocking::{NeverInterrupt, Wait};

    /// Time for a call that should succeed, also on a busy machine.
    const LONG: Duration = Duration::from_secs(30);

    fn ping(client: &mut Client) {
        client
            .ping(&mut Wait::new(LONG, &mut NeverInterrupt))
            .unwrap();
    }

    #[test]
    fn connections_outlive_a_call_and_stay_in_their_process() {
        let node = RabbitMq::shared().unwrap();
        let endpoint = Arc::new(AmqpEndpoint::from_url(&node.url()).unwrap());
        let mut pool = Pool::new(PoolOptions {
            max_connections: 2,
            client: ClientOptions {
                connect_timeout: LONG,
                ..ClientOptions::default()
            },
        });

        // A client without a connection is not kept.
        let unused = pool.take(&endpoint);
        pool.put(unused);
        assert!(pool.is_empty());

        // The limit holds, and an equal endpoint shares the connection that was used last.
        let mut clients = [0; 3].map(|_| pool.take(&endpoint));
        for client in &mut clients {
            ping(client);
        }
        for client in clients {
            pool.put(client);
        }
        assert_eq!(pool.len(), 2);
        let equal = Arc::new(AmqpEndpoint::from_url(&node.url()).unwrap());
        let mut shared = pool.take(&equal);
        assert!(shared.is_connected());
        let elsewhere = format!("{}?heartbeat=9", node.url());
        let elsewhere = Arc::new(AmqpEndpoint::from_url(&elsewhere).unwrap());
        assert!(!pool.take(&elsewhere).is_connected());

        // A fork keeps neither what rests nor what is in use.
        pool.pretend_fork();
        shared.pretend_fork();
        pool.put(shared);
        assert!(pool.is_empty());
        let mut own = pool.take(&endpoint);
        assert!(!own.is_connected());
        ping(&mut own);
        pool.put(own);
        assert_eq!(pool.len(), 1);
    }
}
