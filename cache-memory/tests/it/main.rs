//! The promises of the store, one file each: operations, expiry, bounds, concurrency, comparison
//! with a model, the conformance suite, and the settings.

mod bounds;
mod conformance;
mod driver;
mod expiry;
mod model;
mod objects;
mod operations;
mod races;

use std::time::Duration;

use bytes::Bytes;
use cache_core::store::{Expiry, SetMode, SyncBackend};
use cache_memory::Memory;

const MINUTE: Expiry = Expiry::After(Duration::from_secs(60));

/// Sets an entry that lives a minute.
fn put(memory: &Memory, key: &str, value: &str) {
    assert!(memory.set(key, text(value), MINUTE, SetMode::Always).unwrap());
}

fn text(value: &str) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

fn get(memory: &Memory, key: &str) -> Option<Bytes> {
    memory.get(key).unwrap()
}
