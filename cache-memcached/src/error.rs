//! What went wrong, in the words and kinds of [`cache_core`]. No text shows a value.

use cache_core::{Error, ErrorKind};
use memcache::exp;

use crate::address::Address;

/// What the client says.
pub(crate) fn of(error: &exp::Error, address: &Address) -> Error {
    let (kind, what) = match error {
        exp::Error::Io(it) => {
            (ErrorKind::Unavailable, format!("the connection was lost: {}", it.kind()))
        }
        exp::Error::Server(it) if it.contains("too large") => (
            ErrorKind::TooLarge,
            "the server takes no value of this size; see its option -I".to_owned(),
        ),
        exp::Error::Server(it) if it.contains("out of memory") => {
            (ErrorKind::Backend, "the server is out of memory".to_owned())
        }
        exp::Error::Server(_) => (ErrorKind::Backend, "the server could not do it".to_owned()),
        exp::Error::Rejected(it) if it.contains("unauthenticated") => (
            ErrorKind::Backend,
            "the server wants a password (its option -Y), which this client does not send"
                .to_owned(),
        ),
        // It may quote what was sent.
        exp::Error::Rejected(_) => (
            ErrorKind::Backend,
            "the server does not understand one of the commands; memcached 1.6.18 is needed"
                .to_owned(),
        ),
        exp::Error::Protocol(_) => (
            ErrorKind::Unavailable,
            "the server answered with something that is not its protocol".to_owned(),
        ),
        exp::Error::Timeout { .. } => (ErrorKind::TimedOut, "no answer".to_owned()),
        _ => (ErrorKind::Backend, "the client failed".to_owned()),
    };
    at(Error::new(kind, what), address)
}

/// An answer that is none to the question.
pub(crate) fn surprise(address: &Address) -> Error {
    at(Error::new(ErrorKind::Unavailable, "the server's answer does not fit the question"), address)
}

/// A server that was started with `-C`.
pub(crate) fn without_stamps(address: &Address) -> Error {
    let what = "the server has compare-and-swap turned off (-C), without which this cannot be done in one step";
    at(Error::new(ErrorKind::Unsupported, what), address)
}

/// A runtime that was made without `enable_io`.
pub(crate) fn no_sockets() -> Error {
    let what = "this store needs a tokio runtime with sockets; build the runtime with `enable_io()` or `enable_all()`";
    Error::new(ErrorKind::Config, what)
}

/// With the server that it is about.
pub(crate) fn at(error: Error, address: &Address) -> Error {
    error.with_context("server", address.to_string())
}

/// A key of a batch for which there is no answer.
pub(crate) fn unanswered() -> Error {
    Error::new(ErrorKind::Unavailable, "the server did not answer for this key")
}
