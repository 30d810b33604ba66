//! Opening a connection: finding the server, login, and the greeting that shows its kind, all before
//! one deadline.

use redis::{AsyncConnectionConfig, Pipeline, ProtocolVersion, PushInfo, PushKind, Value};
use tokio::time::{Instant, timeout_at};

use super::connection::{
    ConnectOptions, Connection, Failure, NO_RESP3, Push, checked, closed, not_entered,
};
use super::locate::locate;
use crate::error::ServerError;
use crate::redis::{RedisEndpoint, mode};

impl Connection {
    /// Connects, authenticates and selects the database, all before one deadline.
    ///
    /// # Errors
    ///
    /// [`Failure::Denied`] if the server rejects the login, has no such database, or is a node of a
    /// Redis Cluster; [`Failure::Connect`] for everything else, including the deadline.
    pub async fn open(endpoint: &RedisEndpoint, options: &ConnectOptions) -> Result<Self, Failure> {
        Self::open_with(
            endpoint,
            options,
            ProtocolVersion::RESP2,
            AsyncConnectionConfig::new(),
        )
        .await
    }

    /// Opens a connection like [`open`](Self::open) and calls `heard` for each push of the server.
    ///
    /// Pushes need RESP3. If the server (or a proxy before it) speaks only RESP2, the connection
    /// opens without them, and [`hears`](Self::hears) returns `false`.
    ///
    /// # Errors
    ///
    /// Like [`open`](Self::open).
    pub async fn open_listening(
        endpoint: &RedisEndpoint,
        options: &ConnectOptions,
        heard: impl Fn(Push) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let sender = move |push: PushInfo| -> Result<(), ()> {
            match push.kind {
                PushKind::Invalidate => heard(Push::Invalidated),
                // The pattern, if there is one, and the channel come first, the message last.
                PushKind::Message | PushKind::PMessage => {
                    if let Some(redis::Value::BulkString(message)) = push.data.into_iter().last() {
                        heard(Push::Message(message));
                    }
                }
                PushKind::Disconnection => heard(Push::Disconnected),
                _ => {}
            }
            Ok(())
        };
        let config = AsyncConnectionConfig::new().set_push_sender(sender);
        match Self::open_with(endpoint, options, ProtocolVersion::RESP3, config).await {
            Err(Failure::Connect(why)) if why.starts_with(NO_RESP3) => {
                Self::open(endpoint, options).await
            }
            other => other,
        }
    }

    async fn open_with(
        endpoint: &RedisEndpoint,
        options: &ConnectOptions,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
    ) -> Result<Self, Failure> {
        let config = config.set_response_timeout(Some(options.response_timeout));
        let deadline = Instant::now() + options.connect_timeout;
        let timed_out = |_| Failure::Connect("timed out while connecting".into());
        let locating = timeout_at(deadline, locate(endpoint, deadline));
        let (located, lead) = locating.await.map_err(timed_out)??;
        let entering = Self::enter(&located, endpoint, options, protocol, config, deadline);
        let entered = timeout_at(deadline, entering)
            .await
            .map_err(timed_out)
            .flatten();
        if let (Err(_), Some(lead)) = (&entered, &lead) {
            endpoint.misled(lead);
        }
        entered.map(|connection| connection.led_by(lead))
    }

    /// Opens a connection to this server itself, authenticates and selects the database. `sought` is
    /// the endpoint as the caller has it: a server that was named must be a master.
    async fn enter(
        endpoint: &RedisEndpoint,
        sought: &RedisEndpoint,
        options: &ConnectOptions,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let mut connection = Self::log_in(endpoint, protocol, config, deadline).await?;
        // The commands take one round trip. The name only helps operators, so a server that
        // forbids it is still accepted. The driver does not select the database, because then
        // its error would hide the kind of the server, which may not know the command.
        let mut greeting = Pipeline::new();
        let selects = endpoint.database() > 0;
        if selects {
            greeting.cmd("SELECT").arg(endpoint.database());
        }
        greeting.cmd("CLIENT").arg("SETNAME").arg(&options.name);
        greeting.cmd("HELLO");
        let count = greeting.len();
        let sent = connection.inner.send_packed_commands(&greeting, 0, count);
        let mut answers = sent.await.map_err(|error| closed(error, endpoint))?;
        let hello = answers.last();
        if let Some(kind) = hello.and_then(|hello| sought.unsupported_kind(hello)) {
            return Err(Failure::Denied(format!("it is {kind}")));
        }
        let role = answers.last().and_then(mode::role).map(str::to_owned);
        // A server with a password lets a client connect without one, but refuses each of its
        // commands.
        if let Some(Err(Failure::Refused(answer))) = answers.pop().map(checked)
            && answer.is_auth()
        {
            let asks = format!("it asks for a password ({answer})");
            return Err(Failure::Denied(asks));
        }
        if let Some(Value::ServerError(error)) = answers.into_iter().next().filter(|_| selects) {
            let answer = ServerError::new(error.code(), error.details().unwrap_or_default());
            return Err(not_entered(answer, false));
        }
        match sought.inquiry() {
            Ok(Some(inquiry)) if role.as_deref() != Some("master") => {
                let why = inquiry.not_the_master(endpoint.address(), role.as_deref());
                Err(Failure::Connect(why))
            }
            _ => Ok(connection),
        }
    }
}
