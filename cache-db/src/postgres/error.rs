//! Errors of the server and the client, as errors of [`cache_core`]. No text shows a value or a
//! password: only the server's error code is used, because its messages quote data.

use std::{error::Error as _, io};

use cache_core::{Error, ErrorKind};
use cache_net::connection_error;

use super::{
    address::Address,
    sqlstate::{describe, is_of_the_statement},
    statements::Statement,
    transport::Failure,
};

/// The remedy for a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The server rolled the statement back because of another session. It can run again.
    Retry,
    /// The connection holds an outdated table or statement. The statement works on a new
    /// connection.
    Reconnect,
    /// Another session holds a lock. The statement did nothing, and can run where it may wait.
    WaitForLock,
    /// Another connection may lead to a server that accepts the statement.
    OtherServer,
    None,
}

pub(crate) fn remedy(error: &tokio_postgres::Error) -> Remedy {
    let Some(code) = error.code() else { return Remedy::None };
    match code.code() {
        "40P01" | "40001" => Remedy::Retry,
        "55P03" => Remedy::WaitForLock,
        // The prepared statement or the table does not exist, or the table is another one.
        "26000" | "42P01" | "0A000" | "42703" | "42804" | "42883" => Remedy::Reconnect,
        "25006" => Remedy::OtherServer,
        _ => Remedy::None,
    }
}

/// Converts an error on an established connection.
pub(crate) fn of(error: &tokio_postgres::Error, address: &Address) -> Error {
    say(error, "the connection was lost", address)
}

/// Converts an error of a connection attempt.
pub(crate) fn connecting(failure: &Failure, address: &Address) -> Error {
    let error = match failure {
        Failure::Server(it) => return say(it, "cannot connect", address),
        Failure::Io(it) => connection_error(it, "cannot connect"),
        Failure::Attributes => Error::new(
            ErrorKind::Unavailable,
            "cannot connect: no host matches target_session_attrs in location",
        ),
    };
    at(error, address)
}

fn say(error: &tokio_postgres::Error, event: &str, address: &Address) -> Error {
    let res = match (error.code(), cause(error)) {
        (Some(code), _) => {
            let (kind, message) = describe(code.code());
            Error::new(kind, message)
        }
        (None, Some(it)) => connection_error(it, event),
        (None, None) if error.is_closed() => {
            Error::new(ErrorKind::Unavailable, format!("{event}: closed by the server"))
        }
        (None, None) => failed(&error.to_string()),
    };
    let res = at(res, address);
    // A lock of another session or a slow statement says nothing about the server.
    match error.code() {
        Some(code) if is_of_the_statement(code.code()) => res.ignored_by_breaker(),
        _ => res,
    }
}

/// Returns the error of a statement that met a lock. A write that waits for a row says nothing
/// about the server. A read waits for no row, so if it waits, the whole table is locked.
#[cold]
pub(crate) fn locked(statement: Statement, address: &Address) -> Error {
    let what = "lock timeout: another session has locked the row or the table for longer than the deadline; end its transaction";
    let error = at(Error::new(ErrorKind::TimedOut, what), address);
    if statement.writes() { error.ignored_by_breaker() } else { error }
}

/// Adds the address of the server to an error.
pub(crate) fn at(error: Error, address: &Address) -> Error {
    error.with_context("server", address.to_string())
}

fn cause(error: &tokio_postgres::Error) -> Option<&io::Error> {
    error.source().and_then(|it| it.downcast_ref())
}

/// The client does not expose the category of its error, but its text begins with it. Only this
/// beginning is known to hold no values.
fn failed(words: &str) -> Error {
    let what = match words.split(':').next().unwrap_or_default() {
        "authentication error" | "invalid configuration" => {
            "the server requires a password, or an unsupported authentication method; set the password in \
             location (postgres://user:password@host/database) or in options.password"
        }
        "error performing TLS handshake" => {
            "the server does not support TLS; remove sslmode=require, or set ssl = on at the server"
        }
        "error connecting to server" => {
            let what = "cannot connect: no server found at this address";
            return Error::new(ErrorKind::Unavailable, what);
        }
        "error communicating with the server" | "unexpected message from server" => {
            let what = "unexpected protocol message from the server";
            return Error::new(ErrorKind::Unavailable, what);
        }
        _ => "the client library failed",
    };
    Error::new(ErrorKind::Backend, what)
}
