//! Errors of stores over a network, in the words that operators search for.

use std::io;

use cache_core::{Error, ErrorKind, Result};

/// Returns the error of a connection that failed with this I/O error. `event` says during what,
/// such as "cannot connect" or "the connection was lost".
///
/// ```
/// use std::io;
///
/// use cache_core::ErrorKind;
/// use cache_net::connection_error;
///
/// let error = connection_error(&io::ErrorKind::ConnectionReset.into(), "the connection was lost");
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert_eq!(error.message(), "the connection was lost: connection reset");
///
/// let error = connection_error(&io::ErrorKind::ConnectionRefused.into(), "cannot connect");
/// assert_eq!(error.message(), "cannot connect: connection refused");
/// ```
pub fn connection_error(error: &io::Error, event: &str) -> Error {
    let (kind, message) = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            (ErrorKind::Unavailable, "cannot connect: connection refused".to_owned())
        }
        io::ErrorKind::TimedOut => (ErrorKind::TimedOut, format!("{event}: {error}")),
        // rustls uses this kind. A TLS handshake that fails will fail again.
        io::ErrorKind::InvalidData => {
            (ErrorKind::Backend, format!("cannot connect: TLS handshake failed: {error}"))
        }
        _ => (ErrorKind::Unavailable, format!("{event}: {error}")),
    };
    Error::new(kind, message)
}

/// Returns the error of a call whose runtime is shutting down. It says nothing about the server, so
/// circuit breakers ignore it.
///
/// ```
/// assert_eq!(cache_net::runtime_closed().kind(), cache_core::ErrorKind::Unavailable);
/// ```
pub fn runtime_closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the runtime of this call is shutting down")
        .ignored_by_breaker()
}

/// Returns the first error of several results, after all of them are known: a server that is down
/// does not keep a call from the others.
///
/// # Errors
/// The first one.
///
/// ```
/// use cache_core::{Error, ErrorKind};
/// use cache_net::first_error;
///
/// let failed = || Error::new(ErrorKind::Unavailable, "cannot connect");
/// assert!(first_error([Ok(1), Err(failed()), Ok(2)]).is_err());
/// assert!(first_error([Ok(1), Ok(2)]).is_ok());
/// ```
pub fn first_error<T>(results: impl IntoIterator<Item = Result<T>>) -> Result<()> {
    results.into_iter().find_map(Result::err).map_or(Ok(()), Err)
}
