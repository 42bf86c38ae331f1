//! What went wrong, in the words and kinds of [`cache_core`]. No text shows a value or a password.

use cache_core::{Error, ErrorKind};
use redis::{RedisError, ServerError, Value};

use crate::address::Address;

/// A reply that is not what the command answers. Its text does not show it.
pub(crate) fn unexpected(value: &Value) -> Error {
    match value {
        Value::ServerError(it) => refused(it),
        _ => Error::new(ErrorKind::Backend, "the server answered with something of another form"),
    }
}

/// What the server said instead of an answer.
pub(crate) fn refused(error: &ServerError) -> Error {
    let details = error.details().unwrap_or_default();
    let (kind, what): (_, &str) = match error.code() {
        "WRONGTYPE" => (ErrorKind::Codec, "under the key is something that is no string"),
        "OOM" => (
            ErrorKind::Backend,
            "the server is out of memory, and its maxmemory-policy lets it evict nothing",
        ),
        "READONLY" => (
            ErrorKind::Backend,
            "the server takes no writes, because it is a replica; \
             set options.topology to replicas, sentinel or cluster, and list the leader first",
        ),
        "LOADING" => (ErrorKind::Unavailable, "the server is still loading its data"),
        "MASTERDOWN" => (ErrorKind::Unavailable, "the replica has lost its leader"),
        "BUSY" => (ErrorKind::Unavailable, "the server is busy with somebody's script"),
        "CLUSTERDOWN" => {
            (ErrorKind::Unavailable, "the cluster is down: some of its slots are served by nobody")
        }
        "TRYAGAIN" => {
            (ErrorKind::Unavailable, "the keys are on their way to another server of the cluster")
        }
        "MOVED" | "ASK" => (
            ErrorKind::Backend,
            "the server is part of a Cluster and does not hold this key; set options.topology = \"cluster\"",
        ),
        "NOAUTH" => (ErrorKind::Backend, NO_PASSWORD),
        "WRONGPASS" => {
            (ErrorKind::Backend, "the server knows no such user, or the password is wrong")
        }
        "NOPERM" => {
            (ErrorKind::Backend, "the server lets this user not do that; see ACL LOG on the server")
        }
        "NOREPLICAS" => {
            (ErrorKind::Backend, "the server takes no writes, because it has too few replicas")
        }
        "MISCONF" => {
            (ErrorKind::Backend, "the server takes no writes, because it cannot save to its disk")
        }
        "EXECABORT" => (ErrorKind::Backend, "the server refused one of the commands"),
        _ if details.starts_with("unknown command") => (ErrorKind::Backend, UNKNOWN_COMMAND),
        _ if details.contains("not an integer or out of range") => {
            (ErrorKind::NotAnInteger, "the stored value is not a decimal integer within i64")
        }
        _ if details.contains("would overflow") => {
            (ErrorKind::Overflow, "the result is outside i64")
        }
        _ if details.contains("DB index is out of range") => (
            ErrorKind::Backend,
            "the server has no database of that number; see the end of the URL in location",
        ),
        _ if details.contains("cluster support disabled") => (
            ErrorKind::Backend,
            "the server is not part of a Cluster; set options.topology = \"single\"",
        ),
        _ if details.contains("max number of clients") => {
            (ErrorKind::Unavailable, "the server has too many clients")
        }
        // Details may quote what was sent.
        code => {
            return Error::new(
                ErrorKind::Backend,
                format!("the server answered with the error {}", shown(code)),
            );
        }
    };
    Error::new(kind, what)
}

const UNKNOWN_COMMAND: &str =
    "the server does not know one of the commands; Redis 7.0 or Valkey 7.2 are needed";

/// Whether the server did not know a command.
pub(crate) fn is_unknown_command(error: &Error) -> bool {
    error.message() == UNKNOWN_COMMAND
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
        let what = "cannot connect: the server hung up at once; is it Redis or Valkey, and is the location rediss:// if, and \
                    only if, it wants TLS?";
        return at(Error::new(ErrorKind::Unavailable, what), address);
    }
    failed(error, ["cannot connect", NO_REDIS], address)
}

fn failed(error: &RedisError, [lost, foreign]: [&str; 2], address: &Address) -> Error {
    use redis::ErrorKind as Theirs;
    let (kind, what) = match error.kind() {
        Theirs::AuthenticationFailed => (
            ErrorKind::Backend,
            "the server knows no such user, or the password is wrong".to_owned(),
        ),
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
pub(crate) fn knows_no_resp3(error: &RedisError) -> bool {
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
        return refused(it);
    }
    // Of what it said to `SELECT`, the crate keeps the words only.
    let what = match error.detail().unwrap_or_default() {
        it if it.contains("out of range") => {
            "the server has no database of that number; see the end of the URL in location"
        }
        it if it.starts_with("Authentication required") => NO_PASSWORD,
        _ => "the server did not let us in, or not into that database",
    };
    Error::new(ErrorKind::Backend, what)
}

const NO_PASSWORD: &str =
    "the server wants a password; write it into the location: redis://:password@host";

/// A code is one word of capitals; all else could be anything.
fn shown(code: &str) -> &str {
    let is_code =
        !code.is_empty() && code.len() <= 32 && code.bytes().all(|it| it.is_ascii_uppercase());
    if is_code { code } else { "of an unknown sort" }
}
