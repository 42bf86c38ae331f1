//! Shared values: `get_arc` and `fetch(..).arc()` over a store in the process, with a clock that
//! the tests move. The near tier has tests of its own.

#![allow(missing_docs)]

mod entries;
mod fetches;
mod forms;
mod lifetimes;
mod races;

use std::{sync::Arc, time::Duration};

use cache_core::{
    Cache, CacheBuilder,
    testing::{FakeClock, Faulty},
};
use cache_memory::Memory;
use serde::{Deserialize, Serialize};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    name: String,
}

fn user(name: &str) -> User {
    User { name: name.to_owned() }
}

/// Returns a cache over memory with these settings, and the clock of both.
fn cache_with(change: impl FnOnce(CacheBuilder) -> CacheBuilder) -> (Cache, FakeClock) {
    let time = FakeClock::new();
    let memory = Memory::builder().clock(time.clock()).build().unwrap();
    let cache = change(Cache::builder(memory).clock(time.clock())).build("test").unwrap();
    (cache, time)
}

fn cache() -> (Cache, FakeClock) {
    cache_with(|it| it)
}

/// Returns a cache over a store that keeps no decoded values.
fn cache_without_objects() -> Cache {
    Cache::builder(Faulty::new(Memory::new())).build("test").unwrap()
}

/// Reads the key `k`.
async fn get(cache: &Cache) -> Option<Arc<User>> {
    cache.get_arc("k").await.unwrap()
}

/// Reads the key `k` twice, and returns the value if both reads return the same object.
async fn kept(cache: &Cache) -> Option<Arc<User>> {
    let (first, second) = (get(cache).await?, get(cache).await?);
    Arc::ptr_eq(&first, &second).then_some(second)
}
