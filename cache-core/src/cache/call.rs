//! Calls of the store: without a future if the store never waits.

use crate::error::{Error, ErrorKind};

/// Calls the store. A store that never waits is called without a future.
macro_rules! call {
    ($cache:ident.$method:ident($($arg:expr),*)) => {
        match &$cache.shared.sync {
            Some(store) => store.$method($($arg),*),
            None => $cache.store().$method($($arg),*).await,
        }
    };
}
pub(super) use call;

/// Calls a write of the store under this write guard.
macro_rules! call_write {
    ($cache:ident, $writing:ident, $method:ident($($arg:expr),*)) => {
        match &$cache.shared.sync {
            Some(store) => store.$method($($arg),*),
            None => match $writing.run($cache.store().$method($($arg),*)).await {
                Some(res) => res,
                None => Err(put_aside()),
            },
        }
    };
}
pub(super) use call_write;

/// Creates the error of a write whose future was not polled for longer than a write may take.
#[cold]
pub(super) fn put_aside() -> Error {
    Error::new(
        ErrorKind::TimedOut,
        "the future of the write was not polled for longer than a write may take; the write may have taken effect",
    )
    .ignored_by_breaker()
}

/// Calls a read that must not be stale.
macro_rules! call_leader {
    ($cache:ident.$method:ident($($arg:expr),*)) => {
        match &$cache.shared.sync {
            Some(store) => store.$method($($arg),*),
            None => $cache.leader().$method($($arg),*).await,
        }
    };
}
pub(super) use call_leader;
