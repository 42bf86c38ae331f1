//! The cost of the typed cache over its store and over the engine of the store.
//!
//! Direct use has the whole key ready and decodes with `serde_json`. `cache-memory` is the store,
//! called directly. `quick_cache` is its engine, which has neither expiry nor atomic operations.

mod fixture;

use std::hint::black_box;

use anyhow::Result;
use bytes::Bytes;
use cache_core::store::{SetMode, SyncBackend};

pub use self::fixture::Fixture;
use self::fixture::{LIFE, LIFETIME, MANY, User};
use crate::harness::{Bench, Case, Contest, Side, Unit};

/// The name of the suite on the command line.
pub const NAME: &str = "facade";

/// Measures the time of all calls.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let fixture = Fixture::new()?;
    contests(&fixture).into_iter().try_for_each(|it| bench.run(it))
}

/// Returns the contests of all calls. The binary `allocations` counts their allocations.
pub fn contests(fixture: &Fixture) -> Vec<Contest<'_>> {
    vec![
        get_bytes(fixture),
        blocking_get_bytes(fixture),
        get(fixture),
        get_arc(fixture),
        get_or_set_hit(fixture),
        fetch_hit(fixture),
        fetch_arc_hit(fixture),
        get_many(fixture),
        set_bytes(fixture),
        set(fixture),
        incr(fixture),
    ]
}

fn get_bytes(it: &Fixture) -> Contest<'_> {
    let ours = it.side(async move |n| it.bytes.get(it.name(n)).await);
    Contest { case: it.case("get_bytes"), sides: vec![ours, it.store_get(), it.engine_get()] }
}

fn blocking_get_bytes(it: &Fixture) -> Contest<'_> {
    let ours = plain("cache-core", |n| it.blocking_bytes.get(it.name(n)));
    let case = it.case("blocking_get_bytes").on_threads(1);
    Contest { case, sides: vec![ours, it.store_get(), it.engine_get()] }
}

fn get(it: &Fixture) -> Contest<'_> {
    let ours = it.side(async move |n| it.cache.get::<User>(it.name(n)).await);
    Contest { case: it.case("get"), sides: vec![ours, it.store_decode(), it.engine_decode()] }
}

/// Compares with `moka`, in which a program keeps decoded values by hand.
fn get_arc(it: &Fixture) -> Contest<'_> {
    let ours = it.side(async move |n| it.cache.get_arc::<User>(it.name(n)).await);
    Contest { case: it.case("get_arc"), sides: vec![ours, it.moka_get()] }
}

fn get_or_set_hit(it: &Fixture) -> Contest<'_> {
    let load = async || User::ada();
    let ours = it.side(async move |n| it.cache.get_or_set(it.name(n), LIFETIME, load).await);
    Contest {
        case: it.case("get_or_set"),
        sides: vec![ours, it.store_decode(), it.engine_decode()],
    }
}

fn fetch_hit(it: &Fixture) -> Contest<'_> {
    let load = |_| async { Ok::<_, std::convert::Infallible>(User::ada()) };
    let ours = it.side(async move |n| it.cache.fetch(it.name(n)).ttl(LIFETIME).load(load).await);
    Contest { case: it.case("fetch"), sides: vec![ours, it.store_decode(), it.engine_decode()] }
}

fn fetch_arc_hit(it: &Fixture) -> Contest<'_> {
    let load = |_| async { Ok::<_, std::convert::Infallible>(User::ada()) };
    let fetch = |n| it.cache.fetch(it.name(n)).ttl(LIFETIME).arc();
    let ours = it.side(async move |n| fetch(n).load(load).await);
    Contest { case: it.case("fetch_arc"), sides: vec![ours, it.moka_get()] }
}

/// Compares with a loop that fills the same type of map, because the contenders have no batches.
fn get_many(it: &Fixture) -> Contest<'_> {
    let ours = it.side(async move |n| it.cache.get_many::<User, _>(it.many(n)).await);
    let store = plain("cache-memory", |n| it.collect(n, |key| it.memory.get(key).ok()?));
    let engine = plain("quick_cache", |n| it.collect(n, |key| it.engine.get(key)));
    let case = it.case(&format!("get_many_{MANY}"));
    Contest { case, sides: vec![ours, store, engine] }
}

fn set_bytes(it: &Fixture) -> Contest<'_> {
    let value = || Bytes::copy_from_slice(&it.json);
    let ours = it.side(async move |n| it.bytes.set(it.name(n), &value(), LIFETIME).await);
    Contest {
        case: it.case("set_bytes"),
        sides: vec![ours, it.store_set(value), it.engine_set(value)],
    }
}

fn set(it: &Fixture) -> Contest<'_> {
    let value = || Bytes::from(serde_json::to_vec(black_box(&it.user)).unwrap_or_default());
    let ours =
        it.side(async move |n| it.cache.set(it.name(n), black_box(&it.user), LIFETIME).await);
    Contest { case: it.case("set"), sides: vec![ours, it.store_set(value), it.engine_set(value)] }
}

fn incr(it: &Fixture) -> Contest<'_> {
    let ours = it.side(async move |_| it.cache.incr("counter", 1).await);
    let store = plain("cache-memory", |_| it.memory.incr(":1:counter", 1, None));
    let case = Case::new("incr", Unit::Nanos, 8);
    Contest { case, sides: vec![ours, store] }
}

impl Fixture {
    fn case(&self, name: &str) -> Case {
        Case::new(name, Unit::Nanos, self.json.len())
    }

    fn side<'a, R>(&'a self, call: impl AsyncFn(usize) -> R + 'a) -> Side<'a> {
        Side::busy("cache-core", move |count| {
            self.runtime.block_on(async {
                for n in 0..count {
                    black_box(call(Self::place(n)).await);
                }
            });
        })
    }

    fn store_get(&self) -> Side<'_> {
        plain("cache-memory", |n| seen(self.memory.get(self.key(n)).ok()?))
    }

    fn engine_get(&self) -> Side<'_> {
        plain("quick_cache", |n| seen(self.engine.get(self.key(n))))
    }

    fn store_decode(&self) -> Side<'_> {
        plain("cache-memory", |n| User::decode(&self.memory.get(self.key(n)).ok()??))
    }

    fn engine_decode(&self) -> Side<'_> {
        plain("quick_cache", |n| User::decode(&self.engine.get(self.key(n))?))
    }

    fn moka_get(&self) -> Side<'_> {
        plain("moka", |n| self.moka.get(self.key(n)))
    }

    fn store_set<'a>(&'a self, value: impl Fn() -> Bytes + 'a) -> Side<'a> {
        plain("cache-memory", move |n| self.memory.set(self.key(n), value(), LIFE, SetMode::Always))
    }

    fn engine_set<'a>(&'a self, value: impl Fn() -> Bytes + 'a) -> Side<'a> {
        plain("quick_cache", move |n| self.engine.insert(self.key(n).into(), value()))
    }
}

/// Reads the bytes, as the facade does for its header, so that every contender pays for the access.
fn seen(bytes: Option<Bytes>) -> Option<Bytes> {
    black_box(bytes.as_ref().and_then(|it| it.first()));
    bytes
}

fn plain<'a, R>(name: &'static str, call: impl Fn(usize) -> R + 'a) -> Side<'a> {
    Side::busy(name, move |count| {
        for n in 0..count {
            black_box(call(Fixture::place(n)));
        }
    })
}
