//! For each serde type and codec, `set` refuses a value, or `get` returns it equal.

mod depth;
mod newer;
mod shapes;
mod types;

use std::fmt::Debug;

use cache_core::{BlockingCache, Cache, Codec, ErrorKind, Timeout, store::Inline};
use cache_memory::Memory;
use serde::{Serialize, de::DeserializeOwned};

/// The outcome of `set` for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Refused,
}

struct Caches(Vec<BlockingCache>);

impl Caches {
    /// Returns one strict cache per codec: undecodable bytes are an error.
    fn new() -> Self {
        let cache = |codec| {
            let store = std::sync::Arc::new(Inline::new(Memory::new()));
            let cache = Cache::builder(store).codec(codec).build("values").unwrap();
            cache.strict().blocking()
        };
        Self([Codec::Json, Codec::MsgPack].map(cache).into())
    }

    /// Returns what each codec does with a value, in the order JSON, `MessagePack`.
    #[track_caller]
    fn fates<T>(&self, value: &T) -> [Fate; 2]
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        [0, 1].map(|n| fate(&self.0[n], value))
    }

    #[track_caller]
    fn kept<T>(&self, value: &T)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        assert_eq!(self.fates(value), [Fate::Kept; 2], "{value:?}");
    }
}

#[track_caller]
fn fate<T>(cache: &BlockingCache, value: &T) -> Fate
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    match cache.set("k", value, Timeout::Never) {
        Ok(()) => {
            let read = cache.get::<T>("k").unwrap_or_else(|error| panic!("{error}: {value:?}"));
            assert_eq!(read.as_ref(), Some(value));
            Fate::Kept
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
            assert!(error.context("type").is_some(), "the error names the type: {error}");
            Fate::Refused
        }
    }
}
