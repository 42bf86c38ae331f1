//! Calls of functions that own their arguments, so that they can run in the background.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Serialize, de::DeserializeOwned};

use super::{Call, Kind, run::Run};
use crate::{fetch::Loaded, global::CACHES};

/// Calls a function that owns its arguments.
pub async fn owned<K, R, L, F>(
    call: Call<'_, R>,
    load: L,
    is_kept: impl FnOnce(&K::Stored) -> bool + Send + 'static,
) -> R
where
    K: Kind<R>,
    K::Stored: Serialize + DeserializeOwned + Send + 'static,
    R: Send + 'static,
    L: FnOnce() -> F + Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let Call { cache, key, rules, share } = call;
    let Ok(key) = key else { return load().await };
    let run = Arc::new(Mutex::new(Run::new(load, share)));
    let loader = {
        let (run, scope) = (Arc::clone(&run), CACHES.current());
        move |context: crate::LoadContext| async move {
            let load = lock(&run).begin()?;
            let result = scope.scope(load()).await;
            if K::is_absent(&result) {
                return Ok(Loaded::Absent);
            }
            let mut is_skipped = false;
            let kept = lock(&run).end::<K>(result, |stored| {
                is_skipped = !is_kept(stored);
                true
            });
            if is_skipped {
                context.skip();
            }
            kept.map(Loaded::Value)
        }
    };
    let fetched = rules.of(cache.fetch(&key)).outcome(loader).await;
    let res = fetched.map(|it| it.value);
    let finished = lock(&run).finish::<K>(res);
    match finished {
        Ok(result) => result,
        Err(load) => load().await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
