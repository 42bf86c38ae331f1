//! The errors of memcached and of its proxy, from their sources (`memcached.c`, `proto_text.c`,
//! `proto_parser.c`, `proto_proxy.c`, up to 1.6.45), with the kind and message for the caller.

use cache_core::ErrorKind;

/// An error line of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// The beginning of the line, in lower case.
    line: &'static str,
    pub(crate) kind: ErrorKind,
    /// The cause, and a remedy.
    pub(crate) what: &'static str,
    /// Whether the connection cannot be used after it. After the other errors, the replies to the
    /// following commands arrive.
    pub(crate) ends_the_connection: bool,
}

const TOO_MANY_CONNECTIONS: &str = "the server has too many open connections; raise its option -c, or lower options.connections of its clients";
const TOO_OLD: &str = "unknown command: the server does not understand one of the commands; memcached 1.6.18 is required";
const LOGIN: &str = "authentication required: the server wants a user and a password (its option -Y); set options.username and options.password";
const WRONG_LOGIN: &str =
    "authentication failed: the server does not accept options.username and options.password";
const NO_MEMORY: &str =
    "out of memory: raise the server's option -m, or let it evict (no option -M)";
const BEHIND_PROXY: &str = "the proxy received no reply from the server behind it";
const PROXY: &str = "the proxy cannot serve the command; see its log and its configuration";
const OUT_OF_STEP: &str =
    "protocol error: the server rejected the data of a value; the connection is replaced";
/// The beginning of the reply to any command before the login.
const UNAUTHENTICATED: &str = "client_error unauthenticated";

/// The first matching row applies.
const TABLE: &[ServerError] = &[
    row("error too many open connections", ErrorKind::Unavailable, TOO_MANY_CONNECTIONS).last(),
    row(
        "server_error object too large for cache",
        ErrorKind::TooLarge,
        "the value is larger than the server accepts; raise its option -I, or lower options.max_value_bytes",
    ),
    // While it stores a value, reads a request, writes a reply, or counts.
    row("server_error out of memory", ErrorKind::Backend, NO_MEMORY),
    row(
        "server_error refcount overflow during fetch",
        ErrorKind::Backend,
        "the server has too many readers of this key at once",
    ),
    row("server_error output line too long", ErrorKind::Backend, PROXY),
    row(
        "server_error unhandled storage type",
        ErrorKind::Backend,
        "the server failed in its own code (Unhandled storage type); see its log",
    ),
    // Errors of the proxy.
    row("server_error backend failure", ErrorKind::Unavailable, BEHIND_PROXY),
    row(
        "server_error active request limit reached",
        ErrorKind::Unavailable,
        "the proxy has too many requests at once; raise its limit (active_req_limit)",
    ),
    row("server_error bad response", ErrorKind::Backend, PROXY),
    row("server_error bad request", ErrorKind::Backend, PROXY),
    row("server_error lua", ErrorKind::Backend, PROXY),
    row("server_error", ErrorKind::Backend, "the server failed (SERVER_ERROR); see its log"),
    row(UNAUTHENTICATED, ErrorKind::Backend, LOGIN),
    row("client_error authentication failure", ErrorKind::Backend, WRONG_LOGIN),
    row("client_error auth token too long", ErrorKind::Backend, WRONG_LOGIN),
    row("client_error bad authentication token format", ErrorKind::Backend, WRONG_LOGIN),
    row(
        "client_error cannot increment or decrement non-numeric value",
        ErrorKind::NotAnInteger,
        "the value is not an integer",
    ),
    row("client_error bad data chunk", ErrorKind::Unavailable, OUT_OF_STEP).last(),
    row(
        "client_error flush_all not allowed",
        ErrorKind::Unsupported,
        "the server does not allow flush_all (its option -F)",
    ),
    row("client_error parsing request", ErrorKind::Backend, PROXY),
    row("client_error malformed request", ErrorKind::Backend, PROXY),
    row("client_error key too long", ErrorKind::Backend, PROXY),
    row("client_error request too long", ErrorKind::Backend, PROXY),
    // Flags and modes that an older server or a proxy does not know.
    row("client_error", ErrorKind::Backend, TOO_OLD),
    row("error", ErrorKind::Backend, TOO_OLD),
];

const fn row(line: &'static str, kind: ErrorKind, what: &'static str) -> ServerError {
    ServerError { line, kind, what, ends_the_connection: false }
}

impl ServerError {
    const fn last(mut self) -> Self {
        self.ends_the_connection = true;
        self
    }

    /// Whether the server wants a login before this command.
    pub(crate) fn wants_login(&self) -> bool {
        self.line == UNAUTHENTICATED
    }
}

/// Returns the error for a line of a reply, if the line is one.
pub(crate) fn find(line: &[u8]) -> Option<&'static ServerError> {
    let begins = |with: &str| {
        line.get(..with.len()).is_some_and(|it| it.eq_ignore_ascii_case(with.as_bytes()))
            && line.get(with.len()).is_none_or(|it| !it.is_ascii_alphanumeric() && *it != b'_')
    };
    TABLE.iter().find(|it| begins(it.line))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages are from the sources.
    #[test]
    fn each_error_line_has_its_kind_and_message() {
        use ErrorKind::{Backend, NotAnInteger, TooLarge, Unavailable, Unsupported};
        for (line, kind, what) in [
            ("ERROR", Backend, "1.6.18"),
            ("ERROR Too many open connections", Unavailable, "-c"),
            ("ERROR an unknown error happened", Backend, "1.6.18"),
            ("CLIENT_ERROR", Backend, "1.6.18"),
            ("CLIENT_ERROR bad command line format", Backend, "1.6.18"),
            ("CLIENT_ERROR bad command line", Backend, "1.6.18"),
            ("CLIENT_ERROR bad token in command line format", Backend, "1.6.18"),
            ("CLIENT_ERROR error decoding key", Backend, "1.6.18"),
            ("CLIENT_ERROR duplicate flag", Backend, "1.6.18"),
            ("CLIENT_ERROR invalid or duplicate flag", Backend, "1.6.18"),
            ("CLIENT_ERROR invalid flag", Backend, "1.6.18"),
            ("CLIENT_ERROR invalid exptime argument", Backend, "1.6.18"),
            ("CLIENT_ERROR invalid mode for ma M token", Backend, "1.6.18"),
            ("CLIENT_ERROR invalid mode for ms M token", Backend, "1.6.18"),
            ("CLIENT_ERROR invalid numeric delta value", Backend, "1.6.18"),
            ("CLIENT_ERROR invalid numeric initial value", Backend, "1.6.18"),
            ("CLIENT_ERROR opaque token too long", Backend, "1.6.18"),
            ("CLIENT_ERROR options flags are too long", Backend, "1.6.18"),
            ("CLIENT_ERROR unauthenticated", Backend, "authentication required"),
            ("CLIENT_ERROR authentication failure", Backend, "authentication failed"),
            ("CLIENT_ERROR auth token too long", Backend, "authentication failed"),
            ("CLIENT_ERROR bad authentication token format", Backend, "authentication failed"),
            (
                "CLIENT_ERROR cannot increment or decrement non-numeric value",
                NotAnInteger,
                "not an integer",
            ),
            ("CLIENT_ERROR bad data chunk", Unavailable, "replaced"),
            ("CLIENT_ERROR flush_all not allowed", Unsupported, "-F"),
            ("CLIENT_ERROR parsing request", Backend, "proxy"),
            ("CLIENT_ERROR malformed request", Backend, "proxy"),
            ("CLIENT_ERROR key too long", Backend, "proxy"),
            ("CLIENT_ERROR request too long", Backend, "proxy"),
            ("SERVER_ERROR", Backend, "log"),
            ("SERVER_ERROR object too large for cache", TooLarge, "-I"),
            ("SERVER_ERROR out of memory", Backend, "-m"),
            ("SERVER_ERROR out of memory storing object", Backend, "-m"),
            ("SERVER_ERROR out of memory reading request", Backend, "-m"),
            ("SERVER_ERROR out of memory writing get response", Backend, "-m"),
            ("SERVER_ERROR out of memory writing stats", Backend, "-m"),
            ("SERVER_ERROR Out of memory allocating new item", Backend, "-m"),
            ("SERVER_ERROR Out of memory during read", Backend, "-m"),
            ("SERVER_ERROR Out of memory incrementing value", Backend, "-m"),
            ("SERVER_ERROR refcount overflow during fetch", Backend, "readers"),
            ("SERVER_ERROR output line too long", Backend, "proxy"),
            ("SERVER_ERROR Unhandled storage type.", Backend, "own code"),
            ("SERVER_ERROR backend failure", Unavailable, "behind"),
            ("SERVER_ERROR active request limit reached", Unavailable, "limit"),
            ("SERVER_ERROR bad response", Backend, "proxy"),
            ("SERVER_ERROR bad request", Backend, "proxy"),
            ("SERVER_ERROR lua failure", Backend, "proxy"),
            ("SERVER_ERROR lua start failure", Backend, "proxy"),
            ("SERVER_ERROR something new", Backend, "log"),
        ] {
            let found = find(line.as_bytes()).unwrap();
            assert_eq!(found.kind, kind, "{line}");
            assert!(found.what.contains(what), "{line}: {}", found.what);
        }
    }

    #[test]
    fn reply_is_not_an_error() {
        for line in ["", "EN", "HD", "ERRORS", "SERVER_ERRORX", "-ERR unknown command"] {
            assert_eq!(find(line.as_bytes()), None, "{line}");
        }
    }
}
