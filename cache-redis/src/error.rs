//! What went wrong, in the words and kinds of [`cache_core`]. No text shows a value or a password.

use cache_core::{Error, ErrorKind};
use redis::{RedisError, ServerError, Value};

use crate::{address::Address, server_errors};

/// A reply that is not what the command answers. Its text does not show it.
pub(crate) fn unexpected(value: &Value) -> Error {
    match value {
        Value::ServerError(it) => from_reply(it),
        _ => Error::new(ErrorKind::Backend, "the server answered with something of another form"),
    }
}

/// What the server said instead of an answer. Details may quote what was sent.
pub(crate) fn from_reply(error: &ServerError) -> Error {
    match server_errors::find(error.code(), error.details().unwrap_or_default()) {
        Some((kind, what)) => Error::new(kind, what),
        None => Error::new(
            ErrorKind::Backend,
            format!("the server answered with the error {}", shown(error.code())),
        ),
    }
}

/// Whether the server did not know a command.
pub(crate) fn is_unknown_command(error: &Error) -> bool {
    error.message() == server_errors::UNKNOWN_COMMAND
}

/// The connection failed, with all that was under way on it.
pub(crate) fn lost(error: &RedisError, address: &Address) -> Error {
    failed(
        error,
        ["the connection was lost", "the server answered with something that is not its protocol"],
        address,
    )
}

/// There is no connection yet: whoever listens there has not answered as a server does.
pub(crate) fn connecting(error: &RedisError, address: &Address) -> Error {
    const NO_REDIS: &str = "cannot connect: what answers there is no Redis or Valkey";
    if error.is_connection_dropped() {
        let what = "cannot connect: the server hung up at once; has it as many clients as it may (maxclients), is it Redis or \
                    Valkey, and is the location rediss:// if, and only if, it wants TLS?";
        return at(Error::new(ErrorKind::Unavailable, what), address);
    }
    failed(error, ["cannot connect", NO_REDIS], address)
}

fn failed(error: &RedisError, [lost, foreign]: [&str; 2], address: &Address) -> Error {
    use redis::ErrorKind as Theirs;
    let (kind, what) = match error.kind() {
        Theirs::AuthenticationFailed => (ErrorKind::Backend, server_errors::NO_LOGIN.to_owned()),
        // What TLS is refused for does not pass by itself.
        Theirs::Io if error.to_string().contains("fatal alert") => {
            (ErrorKind::Backend, format!("the server refused the connection: {error}"))
        }
        Theirs::Io => (ErrorKind::Unavailable, format!("{lost}: {error}")),
        Theirs::Parse => (ErrorKind::Unavailable, foreign.to_owned()),
        Theirs::Server(_) | Theirs::Extension => return at(from_setup(error), address),
        other => (ErrorKind::Backend, format!("the client failed: {other:?}")),
    };
    at(Error::new(kind, what), address)
}

/// With the server that it is about.
pub(crate) fn at(error: Error, address: &Address) -> Error {
    error.with_context("server", address.to_string())
}

/// Whether a server does not know `HELLO`, or not this protocol. The crate sees that only of older ones.
pub(crate) fn lacks_resp3(error: &RedisError) -> bool {
    let said = error.clone().into_server_errors();
    let said = said.as_deref().and_then(|it| it.first()).map(|(_, it)| it);
    error.kind() == redis::ErrorKind::RESP3NotSupported
        || said.is_some_and(|it| {
            it.code() == "NOPROTO"
                || it.details().is_some_and(|it| it.starts_with("unknown command"))
        })
}

/// What a server said to `HELLO`, `AUTH` or `SELECT`.
fn from_setup(error: &RedisError) -> Error {
    if let Some([(_, it), ..]) = error.clone().into_server_errors().as_deref() {
        return from_reply(it);
    }
    // Of what it said to `SELECT`, the crate keeps the words only.
    let (kind, what) = match error.detail().unwrap_or_default() {
        it if it.starts_with("Authentication required") => {
            (ErrorKind::Backend, server_errors::NO_PASSWORD)
        }
        it => server_errors::find("ERR", it).unwrap_or((
            ErrorKind::Backend,
            "the server did not let us in, or not into that database",
        )),
    };
    Error::new(kind, what)
}

/// A code is one word of capitals; all else could be anything.
fn shown(code: &str) -> &str {
    let is_code =
        !code.is_empty() && code.len() <= 32 && code.bytes().all(|it| it.is_ascii_uppercase());
    if is_code { code } else { "of an unknown sort" }
}
