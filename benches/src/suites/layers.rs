//! The cost of the facade and its layers on the way to a server: calls over a store that answers at
//! once (`ready`), or after its future was pending once (`waits`), as a call over a network does.
//! The peer is a call of the same store without the facade.
//!
//! Deadline, circuit breaker and observation are on, as in a cache without settings.

mod empty;

use std::{fmt, hint::black_box, sync::Arc, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use cache_core::{
    Cache,
    store::{Backend, Expiry, SetMode},
};
use tokio::runtime::Runtime;

use self::empty::Empty;
use crate::harness::{Bench, Case, Contest, Side, Unit};

/// The name of the suite on the command line.
pub const NAME: &str = "layers";

const LIFETIME: Duration = Duration::from_secs(3600);
const KEY: &str = "user:000123";
const STORED_KEY: &str = ":1:user:000123";

/// A store that answers at once and one that waits, each with a cache over it.
pub struct Layers {
    runtime: Runtime,
    value: Bytes,
    stores: [(&'static str, Arc<dyn Backend>, Cache<Bytes>); 2],
}

/// Measures the time of the calls.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let layers = Layers::new()?;
    layers.contests().into_iter().try_for_each(|it| bench.run(it))
}

impl Layers {
    /// Creates the stores and the caches.
    pub fn new() -> Result<Self> {
        let value = Bytes::from(vec![b'x'; 100]);
        // The first clone of a buffer makes its reference count.
        drop(value.clone());
        let store = |name, waits| {
            let store: Arc<dyn Backend> = Arc::new(Empty::new(value.clone(), waits));
            let cache = Cache::builder(Arc::clone(&store)).build("bench")?;
            anyhow::Ok((name, store, cache.bytes()))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(Self { runtime, stores: [store("ready", false)?, store("waits", true)?], value })
    }

    /// Returns the contests of all calls.
    pub fn contests(&self) -> Vec<Contest<'_>> {
        self.stores
            .iter()
            .flat_map(|(name, store, cache)| {
                let case = |call| Case::new(format!("{call}_{name}"), Unit::Nanos, 100);
                let get = vec![
                    self.side("cache-core", || cache.get::<Bytes>(KEY)),
                    self.side("store", || store.get(STORED_KEY)),
                ];
                let (expiry, mode) = (Expiry::After(LIFETIME), SetMode::Always);
                let set = vec![
                    self.side("cache-core", || cache.set(KEY, &self.value, LIFETIME)),
                    self.side("store", move || {
                        store.set(STORED_KEY, self.value.clone(), expiry, mode)
                    }),
                ];
                [
                    Contest { case: case("get_bytes"), sides: get },
                    Contest { case: case("set_bytes"), sides: set },
                ]
            })
            .collect()
    }

    fn side<'a, F: Future>(&'a self, name: &'static str, call: impl Fn() -> F + 'a) -> Side<'a> {
        Side::busy(name, move |count| {
            self.runtime.block_on(async {
                for _ in 0..count {
                    drop(black_box(call().await));
                }
            });
        })
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers").finish_non_exhaustive()
    }
}
