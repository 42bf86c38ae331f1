//! Errors of servers and connections, as errors of [`cache_core`]. No message contains a value.

use std::time::Duration;

use cache_core::{Error, ErrorKind};

use crate::{address::Address, connection::Failure};

/// Returns the error for a failed exchange with the server.
pub(crate) fn of(failure: &Failure, deadline: Duration, address: &Address) -> Error {
    let (kind, what) = match failure {
        Failure::Lost(it) => (ErrorKind::Unavailable, format!("the connection was lost: {it}")),
        Failure::Refused(it) => (it.kind, it.what.to_owned()),
        Failure::NotTheProtocol => (
            ErrorKind::Unavailable,
            "protocol error: the reply is not of the meta protocol".to_owned(),
        ),
        Failure::OutOfStep => return unexpected_reply(address),
        Failure::Late => (
            ErrorKind::TimedOut,
            format!("no answer within {deadline:?}; a write may have had its effect"),
        ),
    };
    at(Error::new(kind, what), address)
}

/// Returns the error for a command that the client cannot encode, such as a command with a key that
/// is too long.
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
