//! Calls of functions without async.

use serde::{Serialize, de::DeserializeOwned};

use super::{Call, Kind, load::borrowed, owned::owned};
use crate::{cache::on_a_thread, runtime};

/// Calls a function without async that borrows its arguments.
///
/// On a thread that runs async tasks, it uses only a store that never waits. With other stores it
/// runs the function, because waiting for the store would stop all tasks of the thread.
pub fn blocking<K, R, L>(call: Call<'_, R>, load: L, is_kept: impl FnOnce(&K::Stored) -> bool) -> R
where
    K: Kind<R>,
    K::Stored: Serialize + DeserializeOwned,
    L: FnOnce() -> R,
{
    if !call.cache.never_waits() && runtime::is_async_context() {
        return load();
    }
    let cache = call.cache.blocking();
    let call = Call { cache: cache.as_async(), ..call };
    let load = || async { load() };
    runtime::block_on(borrowed::<K, R, _, _>(call, load, is_kept))
}

/// Calls a function without async that owns its arguments.
pub fn blocking_owned<K, R, L>(
    call: Call<'_, R>,
    load: L,
    is_kept: impl FnOnce(&K::Stored) -> bool + Send + 'static,
) -> R
where
    K: Kind<R>,
    K::Stored: Serialize + DeserializeOwned + Send + 'static,
    R: Send + 'static,
    L: FnOnce() -> R + Send + 'static,
{
    if runtime::is_async_context() {
        return load();
    }
    let cache = call.cache.blocking();
    let call = Call { cache: cache.as_async(), ..call };
    let load = || on_a_thread(load);
    runtime::block_on(owned::<K, R, _, _>(call, load, is_kept))
}
