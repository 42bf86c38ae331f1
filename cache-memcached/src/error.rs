//! Errors of servers and connections, as errors of [`cache_core`]. No message contains a value.

use std::time::Duration;

use cache_core::{Error, ErrorKind};

use crate::{address::Address, server_errors::ServerError};

/// Returns the error for an error line of the server.
pub(crate) fn of_server(error: &ServerError, address: &Address) -> Error {
    at(Error::new(error.kind, error.what), address)
}

/// Returns the error for a call without a reply.
pub(crate) fn no_answer(deadline: Duration, address: &Address) -> Error {
    let what = format!("no answer within {deadline:?}; a write may have had its effect");
    at(Error::new(ErrorKind::TimedOut, what), address)
}

/// Returns the error for a command that cannot be sent, such as a command with a key that is too
/// long.
pub(crate) fn unsendable(address: &Address) -> Error {
    at(Error::new(ErrorKind::Backend, "the command cannot be encoded"), address)
}

/// Returns the error for a reply that does not fit the command.
pub(crate) fn unexpected_reply(address: &Address) -> Error {
    at(Error::new(ErrorKind::Unavailable, "unexpected reply: it does not fit the command"), address)
}

/// Returns the error for a server that was started with `-C`.
pub(crate) fn cas_disabled(address: &Address) -> Error {
    let what = "compare-and-swap is disabled on the server (-C), so the operation cannot be atomic";
    at(Error::new(ErrorKind::Unsupported, what), address)
}

/// Adds the server's address to an error.
pub(crate) fn at(error: Error, address: &Address) -> Error {
    error.with_context("server", address.to_string())
}

/// Returns the error for a key of a batch without a reply.
pub(crate) fn missing_reply() -> Error {
    Error::new(ErrorKind::Unavailable, "the server sent no reply for this key")
}
