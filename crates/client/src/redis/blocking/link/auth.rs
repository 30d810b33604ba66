//! The command that logs in, and its refusal.

use redis::Cmd;

use crate::error::{ClientError, ServerError};
use crate::redis::RedisEndpoint;
use crate::secret::Secret;

/// Returns the command that logs in, if there is a password.
pub(super) fn auth(endpoint: &RedisEndpoint) -> Option<Cmd> {
    let password = endpoint.password()?;
    let mut auth = redis::cmd("AUTH");
    if let Some(user) = endpoint.username() {
        auth.arg(user);
    }
    auth.arg(password.reveal());
    Some(auth)
}

/// Returns the error for a login that was refused. Some servers repeat the password.
pub(super) fn refused(endpoint: &RedisEndpoint, answer: ServerError) -> ClientError {
    let secret = endpoint.password().map_or("", Secret::reveal);
    endpoint.refused(answer.without(secret))
}
