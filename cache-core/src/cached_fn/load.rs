//! Calls of functions that borrow their arguments.

use serde::{Serialize, de::DeserializeOwned};

use super::{Call, Kind, run::Run};
use crate::fetch::Overrides;

/// Calls a function that borrows its arguments.
pub async fn borrowed<K, R, L, F>(
    call: Call<'_, R>,
    load: L,
    is_kept: impl FnOnce(&K::Stored) -> bool,
) -> R
where
    K: Kind<R>,
    K::Stored: Serialize + DeserializeOwned,
    L: FnOnce() -> F,
    F: Future<Output = R>,
{
    let Call { cache, key, rules, share } = call;
    let Ok(key) = key else { return load().await };
    let ttl = rules.ttl.unwrap_or_default();
    let overrides = Overrides { ttl, grace: None, codec: None, keyspace: None, force: rules.force };
    let mut run = Run::new(load, share);
    let res = {
        let run = &mut run;
        let loader = || async move {
            let load = run.begin()?;
            let result = load().await;
            run.end::<K>(result, is_kept)
        };
        cache.load_through(&key, &overrides, None, loader).await
    };
    match run.finish::<K>(res.map(Some)) {
        Ok(result) => result,
        Err(load) => load().await,
    }
}

/// Gives an async block its type, so that `?` works in it.
pub const fn typed<R, F: Future<Output = R>>(future: F) -> F {
    future
}
