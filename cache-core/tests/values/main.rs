//! For each serde type and codec, `set` refuses a value, or `get` returns it equal.

mod compression;
mod depth;
mod examples;
mod newer;
mod postcard;
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

/// Strict caches, one per codec: undecodable bytes are an error.
struct Caches(Vec<BlockingCache>);

impl Caches {
    /// Returns caches with all codecs, in the order JSON, `MessagePack`, postcard.
    fn new() -> Self {
        Self::of(&[Codec::Json, Codec::MsgPack, Codec::Postcard])
    }

    /// Returns caches with the codecs that describe their values, for types that need this.
    fn describing() -> Self {
        Self::of(&[Codec::Json, Codec::MsgPack])
    }

    fn of(codecs: &[Codec]) -> Self {
        let cache = |codec: &Codec| {
            let store = std::sync::Arc::new(Inline::new(Memory::new()));
            let cache = Cache::builder(store).codec(*codec).build("values").unwrap();
            cache.strict().blocking()
        };
        Self(codecs.iter().map(cache).collect())
    }

    /// Returns what each codec does with a value.
    #[track_caller]
    fn fates<T>(&self, value: &T) -> Vec<Fate>
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        self.0.iter().map(|it| fate(it, value)).collect()
    }

    #[track_caller]
    fn all<T>(&self, fate: Fate, value: &T)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        assert!(self.fates(value).iter().all(|it| *it == fate), "{value:?}");
    }

    #[track_caller]
    fn kept<T>(&self, value: &T)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        self.all(Fate::Kept, value);
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
