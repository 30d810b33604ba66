//! The connections that are kept, and the queue for them.
//!
//! A *place* is the right to have a connection. The setting says how many places there are. They
//! are given in the order of the requests. If a task has to wait for a place, this does not mean
//! that the server is away. A connection that goes back must be between two transactions; in any
//! other state it is dropped, which closes it. So no connection can be handed on half-used, and a
//! future that holds one may be dropped at any time.
//!
//! After trouble with the server, all earlier connections are distrusted: idle ones are dropped at
//! once, used ones when they come back. New ones look the server's name up again, and find the
//! server that has taken its place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Begun, CONNECT_TIMEOUT, Connection};
use super::url::Address;
use super::zone::Zone;
use super::{DatabaseError, Dialect, Kind};

/// Idle connections are closed after this time: firewalls forget them, and they cost the servers.
const IDLE: Duration = Duration::from_mins(10);
/// The longest life of a connection, so that the servers behind one name share the load again.
const LIFE: Duration = Duration::from_mins(30);

/// The longest time to begin a transaction on an idle connection. If it takes longer, the
/// connection or its server is dead. A new connection is then tried, which finds out whether the
/// server is dead.
const ALIVE: Duration = Duration::from_secs(2);

/// The kept connections of one database, and the queue for them.
pub(super) struct Pool {
    address: Address,
    places: Arc<Semaphore>,
    idle: Mutex<Idle>,
    /// Counts the connections that are open, idle or in use.
    open: Open,
}

/// A count of connections: each holds a clone.
#[derive(Clone, Default)]
pub(super) struct Open(Arc<()>);

impl Open {
    /// Returns `true` if there is a connection.
    fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

#[derive(Default)]
struct Idle {
    /// The connection used last is used next.
    connections: Vec<Connection>,
    /// Connections of an older generation do not come back.
    generation: u64,
}

/// The right to have a connection; given back when dropped.
pub(super) struct Place(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

/// A connection on which a transaction has begun.
pub(super) struct Taken<P = Place> {
    pub(super) connection: Connection,
    pub(super) begun: Begun,
    generation: u64,
    _place: P,
}

impl Taken<()> {
    fn with(self, place: Place) -> Taken {
        Taken {
            connection: self.connection,
            begun: self.begun,
            generation: self.generation,
            _place: place,
        }
    }
}

impl Pool {
    /// Makes a pool without connections.
    pub(super) fn new(address: Address, places: usize) -> Self {
        Pool {
            address,
            places: Arc::new(Semaphore::new(places)),
            idle: Mutex::default(),
            open: Open::default(),
        }
    }

    /// Sets the zone of the sessions that are made from now on.
    pub(super) fn set_zone(&mut self, zone: Option<Zone>) {
        self.address.zone = zone;
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for a place, without limit.
    pub(super) async fn place(&self) -> Result<Place, DatabaseError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place
            .map(Place)
            .map_err(|_| DatabaseError::unavailable("the worker is stopping"))
    }

    /// Returns a place if one is free.
    pub(super) fn free_place(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(Place)
    }

    pub(super) fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    /// Begins a transaction on an idle connection or a new one. If the idle connection turns out to
    /// be dead, a new one replaces it: nothing was done on the dead one.
    pub(super) async fn begin(&self, place: Place) -> Result<Taken, DatabaseError> {
        let (idle, generation) = {
            let mut idle = self.idle();
            (idle.connections.pop(), idle.generation)
        };
        if let Some(idle) = idle.filter(|idle| idle.is_fresh(IDLE, LIFE)) {
            match self.begin_on(idle, generation, ALIVE).await {
                Err(error) if error.kind() != Kind::Transient => self.give_up(),
                begun => return begun.map(|begun| begun.with(place)),
            }
        }
        let generation = self.idle().generation;
        let made = self.make().await?;
        let begun = self.begin_on(made, generation, CONNECT_TIMEOUT).await?;
        Ok(begun.with(place))
    }

    /// Makes a connection, with or without a place.
    ///
    /// If the server refuses the connection while the worker has other connections, or is making
    /// some, the server is not away but full: the caller waits as for a free place. If the server
    /// refuses several connections at the same time, the last refusal counts as an outage, because
    /// by then the worker has no other connection.
    pub(super) async fn make(&self) -> Result<Connection, DatabaseError> {
        let open = self.open.clone();
        let error = match Connection::make(&self.address).await {
            Ok(made) => return Ok(made.counted(open)),
            Err(error) => error,
        };
        drop(open);
        Err(if self.open.is_shared() {
            error.for_want_of_room()
        } else {
            error
        })
    }

    async fn begin_on(
        &self,
        mut connection: Connection,
        generation: u64,
        limit: Duration,
    ) -> Result<Taken<()>, DatabaseError> {
        match connection.begin(limit).await {
            Ok(begun) => Ok(Taken {
                connection,
                begun,
                generation,
                _place: (),
            }),
            Err(error) => {
                // Another process has SQLite's lock.
                if error.kind() == Kind::Transient {
                    self.put_back(connection, generation);
                }
                Err(error)
            }
        }
    }

    /// Takes back a connection whose transaction has ended.
    pub(super) fn take_back(&self, taken: Taken) {
        self.put_back(taken.connection, taken.generation);
    }

    fn put_back(&self, connection: Connection, generation: u64) {
        let mut idle = self.idle();
        if idle.generation == generation {
            // Connections at the bottom are used only under load, so they age first.
            idle.connections.retain(|idle| idle.is_fresh(IDLE, LIFE));
            idle.connections.push(connection);
        }
    }

    /// Closes a connection, and frees its place.
    pub(super) async fn part_with(&self, taken: Taken) {
        taken.connection.close().await;
    }

    /// Gives up every connection: the idle ones now, the others when they come back.
    pub(super) fn give_up(&self) {
        let mut idle = self.idle();
        // A database in memory ends with its only connection.
        if self.address.dialect() != Dialect::Sqlite {
            idle.generation += 1;
            idle.connections.clear();
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // The values are valid at every moment.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
