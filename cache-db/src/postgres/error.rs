//! What went wrong, in the words and kinds of [`cache_core`]. No text shows a value or a password: of what the server says only the
//! code is taken, because its words quote what they are about.

use std::{error::Error as _, io};

use cache_core::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

use super::{address::Address, transport::Failure};

/// What can be done about a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The server has undone it because of others: it can be asked again.
    Again,
    /// The connection knows an older state of the table or of its statements: asked on another, it works.
    Anew,
    /// Another session holds a lock: nothing was done, and it can be asked where it may wait.
    Wait,
    /// None here, but another connection may lead to a server that can.
    Elsewhere,
    None,
}

pub(crate) fn remedy(error: &tokio_postgres::Error) -> Remedy {
    let Some(code) = error.code() else { return Remedy::None };
    match code.code() {
        "40P01" | "40001" => Remedy::Again,
        "55P03" => Remedy::Wait,
        // A statement that is not there, a table that is not, or is another one.
        "26000" | "42P01" | "0A000" | "42703" | "42804" | "42883" => Remedy::Anew,
        "25006" => Remedy::Elsewhere,
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
        (Some(code), _) => refused(code),
        (None, Some(it)) => unreachable(it, lost),
        (None, None) if error.is_closed() => {
            (ErrorKind::Unavailable, format!("{lost}: the server hung up"))
        }
        (None, None) => failed(&error.to_string()),
    };
    let res = at(Error::new(kind, what), address);
    // What others hold, or what takes long, is no failure of the server.
    let is_of_the_statement =
        matches!(error.code().map(SqlState::code), Some("40001" | "40P01" | "55P03" | "57014"));
    if is_of_the_statement { res.ignored_by_breaker() } else { res }
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
             password into the location: postgres://user:password@host/database"
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

fn refused(code: &SqlState) -> (ErrorKind, String) {
    use ErrorKind::{Backend, TimedOut, Unavailable};
    let (kind, what) = match code.code() {
        "28P01" => {
            (Backend, "the server knows no such user, or the password is wrong; see location")
        }
        "28000" => (
            Backend,
            "the server refuses this user; check user and password in location, its pg_hba.conf, and sslmode=require \
             if it wants TLS",
        ),
        "3D000" => {
            (Backend, "the server has no database of that name; see the end of the URL in location")
        }
        "42501" => (
            Backend,
            "this user may not do that; GRANT SELECT, INSERT, UPDATE, DELETE on the table and its _meta to it, and \
             have the table made beforehand or GRANT CREATE on the schema",
        ),
        "42P01" => (Backend, "the table is gone; the next call makes it again"),
        "3F000" => (Backend, "there is no schema to make the table in; see the user's search_path"),
        "25006" => (
            Backend,
            "the server takes no writes: it is a standby, or read-only; name the leader in location, or several \
             hosts with target_session_attrs=read-write",
        ),
        "53100" => (Backend, "the server's disk is full"),
        "53200" => (Backend, "the server is out of memory"),
        "53300" => (
            Unavailable,
            "the server has too many connections; raise its max_connections or lower options.connections",
        ),
        "57P01" => (Unavailable, "the server ended the connection: it is being stopped"),
        "57P02" => (Unavailable, "the server ended the connection: it crashed"),
        "57P03" => (Unavailable, "the server is just starting or stopping"),
        "57014" => (
            TimedOut,
            "the server ended the statement, by its statement_timeout or somebody's hand",
        ),
        "55P03" => {
            (TimedOut, "somebody holds the row or the table locked for longer than the deadline")
        }
        "40P01" | "40001" => (Unavailable, "others were in the way each time; nothing was done"),
        "26000" | "0A000" => (
            Backend,
            "the server has forgotten a prepared statement; a pooler in between must keep a session for each client",
        ),
        it if it.starts_with("08") => (Unavailable, "the connection failed"),
        it => {
            return (Backend, format!("the server answered with the error {it} (SQLSTATE)"));
        }
    };
    (kind, what.to_owned())
}
