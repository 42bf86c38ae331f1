//! Calls of the store: without a future if the store never waits. Before them, the key of a call
//! gets the generation of its namespace.

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

/// Writes the generation of the namespace into the key of a call. Without a namespace, and while
/// the generation is remembered, this needs no future.
macro_rules! enter {
    ($cache:expr, $key:expr) => {
        match &$cache.subspace {
            None => Ok(()),
            Some(subspace) => match $cache.known_generation(subspace) {
                Some(generation) => {
                    $cache.head.put_generation(&generation.text(), $key);
                    Ok(())
                }
                // Boxed because it is rare: it would enlarge the future of every call.
                None => Box::pin($cache.enter(subspace, $key, $cache.shared.tag_staleness)).await,
            },
        }
    };
}
pub(super) use enter;

/// Writes the generation into the key of a write. It is read in the call: a write under a
/// generation that another process has replaced would be lost, and a delete would miss its entry.
macro_rules! enter_write {
    ($cache:expr, $key:expr) => {
        match &$cache.subspace {
            None => Ok(()),
            Some(subspace) => Box::pin($cache.enter(subspace, $key, Duration::ZERO)).await,
        }
    };
}
pub(super) use enter_write;
