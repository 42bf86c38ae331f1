//! What went wrong, in the words and kinds of [`cache_core`]. No text shows a value.

use std::time::Duration;

use cache_core::{Error, ErrorKind};

use crate::{address::Address, connection::Failure};

/// Why an exchange with the server came to no good end.
pub(crate) fn of(failure: &Failure, deadline: Duration, address: &Address) -> Error {
    let (kind, what) = match failure {
        Failure::Lost(it) => (ErrorKind::Unavailable, format!("the connection was lost: {it}")),
        Failure::Refused(it) => (it.kind, it.what.to_owned()),
        Failure::NotTheProtocol => (
            ErrorKind::Unavailable,
            "the server answered with something that is not its protocol".to_owned(),
        ),
        Failure::OutOfStep => return unexpected_reply(address),
        Failure::Late => (
            ErrorKind::TimedOut,
            format!("no answer within {deadline:?}; a write may have had its effect"),
        ),
    };
    at(Error::new(kind, what), address)
}

/// A command that the client does not send, such as one with a key that is too long.
pub(crate) fn unsendable(address: &Address) -> Error {
    at(Error::new(ErrorKind::Backend, "the command cannot be sent"), address)
}

/// An answer that is none to the question.
pub(crate) fn unexpected_reply(address: &Address) -> Error {
    at(Error::new(ErrorKind::Unavailable, "the server's answer does not fit the question"), address)
}

/// A server that was started with `-C`.
pub(crate) fn cas_disabled(address: &Address) -> Error {
    let what = "the server has compare-and-swap turned off (-C), without which this cannot be done in one step";
    at(Error::new(ErrorKind::Unsupported, what), address)
}

/// With the server that it is about.
pub(crate) fn at(error: Error, address: &Address) -> Error {
    error.with_context("server", address.to_string())
}

/// A key of a batch for which there is no answer.
pub(crate) fn missing_reply() -> Error {
    Error::new(ErrorKind::Unavailable, "the server did not answer for this key")
}
