//! What went wrong, in the words and kinds of [`cache_core`]. No text shows a value or a password: of what the server says only the
//! code is taken, because its words quote what they are about.

use std::{error::Error as _, io};

use cache_core::{Error, ErrorKind};

use super::{
    address::Address,
    sqlstate::{describe, is_of_the_statement},
    statements::Statement,
    transport::Failure,
};

/// What can be done about a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The server has undone it because of others: it can be asked again.
    Retry,
    /// The connection knows an older state of the table or of its statements: asked on another, it works.
    Reconnect,
    /// Another session holds a lock: nothing was done, and it can be asked where it may wait.
    WaitForLock,
    /// None here, but another connection may lead to a server that can.
    OtherServer,
    None,
}

pub(crate) fn remedy(error: &tokio_postgres::Error) -> Remedy {
    let Some(code) = error.code() else { return Remedy::None };
    match code.code() {
        "40P01" | "40001" => Remedy::Retry,
        "55P03" => Remedy::WaitForLock,
        // A statement that is not there, a table that is not, or is another one.
        "26000" | "42P01" | "0A000" | "42703" | "42804" | "42883" => Remedy::Reconnect,
        "25006" => Remedy::OtherServer,
        _ => Remedy::None,
    }
}

/// What the client says of a connection that was there.
pub(crate) fn of(error: &tokio_postgres::Error, address: &Address) -> Error {
    say(error, "the connection was lost", address)
}

/// What it says before there is one.
pub(crate) fn connecting(failure: &Failure, address: &Address) -> Error {
    let (kind, what) = match failure {
        Failure::Server(it) => return say(it, "cannot connect", address),
        Failure::Io(it) => unreachable(it, "cannot connect"),
        Failure::Attributes => (
            ErrorKind::Unavailable,
            "cannot connect: no host is what target_session_attrs in location asks for".into(),
        ),
    };
    at(Error::new(kind, what), address)
}

fn say(error: &tokio_postgres::Error, lost: &str, address: &Address) -> Error {
    let (kind, what) = match (error.code(), cause(error)) {
        (Some(code), _) => describe(code.code()),
        (None, Some(it)) => unreachable(it, lost),
        (None, None) if error.is_closed() => {
            (ErrorKind::Unavailable, format!("{lost}: the server hung up"))
        }
        (None, None) => failed(&error.to_string()),
    };
    let res = at(Error::new(kind, what), address);
    // What others hold, or what takes long, is no failure of the server.
    match error.code() {
        Some(code) if is_of_the_statement(code.code()) => res.ignored_by_breaker(),
        _ => res,
    }
}

/// A write that waits for a row says nothing about the server. A read waits for no row: if it waits,
/// the whole table is locked.
#[cold]
pub(crate) fn locked(statement: Statement, address: &Address) -> Error {
    let what = "another session holds the row or the table locked for longer than the deadline; end its transaction";
    let error = at(Error::new(ErrorKind::TimedOut, what), address);
    if statement.writes() { error.ignored_by_breaker() } else { error }
}

/// With the server that it is about.
pub(crate) fn at(error: Error, address: &Address) -> Error {
    error.with_context("server", address.to_string())
}

fn cause(error: &tokio_postgres::Error) -> Option<&io::Error> {
    error.source().and_then(|it| it.downcast_ref())
}

fn unreachable(error: &io::Error, lost: &str) -> (ErrorKind, String) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            (ErrorKind::Unavailable, "cannot connect: nobody listens there".into())
        }
        io::ErrorKind::TimedOut => (ErrorKind::TimedOut, format!("{lost}: {error}")),
        // What TLS is refused for does not pass by itself.
        io::ErrorKind::InvalidData => (ErrorKind::Backend, format!("no trust: {error}")),
        _ => (ErrorKind::Unavailable, format!("{lost}: {error}")),
    }
}

/// The crate does not show what sort of error it is; its words begin with it, and only the beginning is known to hold no values.
fn failed(words: &str) -> (ErrorKind, String) {
    let what = match words.split(':').next().unwrap_or_default() {
        "authentication error" | "invalid configuration" => {
            "the server wants a password, or a way to prove who one is that is not supported; write the \
             password into the location, postgres://user:password@host/database, or into options.password"
        }
        "error performing TLS handshake" => {
            "the server does not speak TLS; remove sslmode=require, or turn `ssl` on there"
        }
        "error connecting to server" => {
            return (ErrorKind::Unavailable, "cannot connect: no server was found there".into());
        }
        "error communicating with the server" | "unexpected message from server" => {
            let what = "the server answered with something that is not its protocol";
            return (ErrorKind::Unavailable, what.into());
        }
        _ => "the client failed",
    };
    (ErrorKind::Backend, what.into())
}
