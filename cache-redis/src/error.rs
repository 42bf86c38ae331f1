//! Errors of servers and connections, as errors of [`cache_core`]. No message contains a value or a
//! password.

use cache_core::{Error, ErrorKind};
use redis::{RedisError, ServerError, Value};

use crate::{address::Address, server_errors};

/// Returns the error for a reply whose type does not fit the command. The message does not contain
/// the reply.
pub(crate) fn unexpected(value: &Value) -> Error {
    match value {
        Value::ServerError(it) => from_reply(it),
        _ => Error::new(ErrorKind::Backend, "unexpected reply type"),
    }
}

/// Returns the error for an error reply. The message leaves the details out, because they may quote
/// the request.
pub(crate) fn from_reply(error: &ServerError) -> Error {
    match server_errors::find(error.code(), error.details().unwrap_or_default()) {
        Some((kind, what)) => Error::new(kind, what),
        None => Error::new(
            ErrorKind::Backend,
            format!("the server replied with the error {}", shown(error.code())),
        ),
    }
}

/// Whether the server does not know a command.
pub(crate) fn is_unknown_command(error: &Error) -> bool {
    error.message() == server_errors::UNKNOWN_COMMAND
}

/// Returns the error for a connection that failed with all calls on it.
pub(crate) fn lost(error: &RedisError, address: &Address) -> Error {
    failed(error, ["the connection was lost", "protocol error: the reply is not RESP"], address)
}

/// Returns the error for a server that did not complete the handshake.
pub(crate) fn connecting(error: &RedisError, address: &Address) -> Error {
    const NOT_REDIS: &str =
        "cannot connect: the server does not speak the protocol of Redis or Valkey";
    if error.is_connection_dropped() {
        let what = "cannot connect: the server closed the connection; check whether it has too many clients \
                    (maxclients), whether it is Redis or Valkey, and that the location is rediss:// \
                    if, and only if, the server uses TLS";
        return at(Error::new(ErrorKind::Unavailable, what), address);
    }
    failed(error, ["cannot connect", NOT_REDIS], address)
}

fn failed(error: &RedisError, [lost, foreign]: [&str; 2], address: &Address) -> Error {
    use redis::ErrorKind as RedisKind;
    let (kind, what) = match error.kind() {
        RedisKind::AuthenticationFailed => (ErrorKind::Backend, server_errors::NO_LOGIN.to_owned()),
        // A failed TLS handshake is an error of configuration, which does not pass by itself.
        RedisKind::Io if error.to_string().contains("fatal alert") => {
            (ErrorKind::Backend, format!("the server refused the connection: {error}"))
        }
        RedisKind::Io => (ErrorKind::Unavailable, format!("{lost}: {error}")),
        RedisKind::Parse => (ErrorKind::Unavailable, foreign.to_owned()),
        RedisKind::Server(_) | RedisKind::Extension => return at(from_setup(error), address),
        other => (ErrorKind::Backend, format!("the client library failed: {other:?}")),
    };
    at(Error::new(kind, what), address)
}

/// Adds the server's address to an error.
pub(crate) fn at(error: Error, address: &Address) -> Error {
    error.with_context("server", address.to_string())
}

/// Whether the server does not know `HELLO`, or does not support this version. The crate `redis`
/// detects only old servers.
pub(crate) fn lacks_resp3(error: &RedisError) -> bool {
    let said = error.clone().into_server_errors();
    let said = said.as_deref().and_then(|it| it.first()).map(|(_, it)| it);
    error.kind() == redis::ErrorKind::RESP3NotSupported
        || said.is_some_and(|it| {
            it.code() == "NOPROTO"
                || it.details().is_some_and(|it| it.starts_with("unknown command"))
        })
}

/// Returns the error for a reply to `HELLO`, `AUTH` or `SELECT`.
fn from_setup(error: &RedisError) -> Error {
    if let Some([(_, it), ..]) = error.clone().into_server_errors().as_deref() {
        return from_reply(it);
    }
    // For a reply to `SELECT`, the crate `redis` keeps only the text.
    let (kind, what) = match error.detail().unwrap_or_default() {
        it if it.starts_with("Authentication required") => {
            (ErrorKind::Backend, server_errors::NO_PASSWORD)
        }
        it => server_errors::find("ERR", it)
            .unwrap_or((ErrorKind::Backend, "the server rejected the login or the database")),
    };
    Error::new(kind, what)
}

/// Returns the code if it is a word of capital letters. Any other text could contain data.
fn shown(code: &str) -> &str {
    let is_code =
        !code.is_empty() && code.len() <= 32 && code.bytes().all(|it| it.is_ascii_uppercase());
    if is_code { code } else { "of an unknown kind" }
}
