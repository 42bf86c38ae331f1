//! Writes of this process: no read that starts after a write returns an older value.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{
    Cache, CacheSettings, Caches, ErrorKind, Result, Settings,
    layer::Operation,
    secs,
    store::{Backend, Expiry, SetMode},
    testing::{Fault, Faulty},
};
use cache_memory::Memory;

use crate::support::{KEY, LONG, TIMEOUT, near, world};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Write = fn(&Cache) -> BoxFuture<'_, Result<()>>;

/// Each write, and the value of the key after it, which was 1.
const WRITES: &[(&str, Write, Option<i32>)] = &[
    ("set", |it| Box::pin(it.set("k", &2, secs(60))), Some(2)),
    ("set of zero", |it| Box::pin(it.set("k", &2, secs(0))), None),
    (
        "set_many",
        |it| Box::pin(async { it.set_many([("k", 2)], secs(60)).await.map(drop) }),
        Some(2),
    ),
    ("replace", |it| Box::pin(async { it.replace("k", &2, secs(60)).await.map(drop) }), Some(2)),
    ("touch of zero", |it| Box::pin(async { it.touch("k", secs(0)).await.map(drop) }), None),
    ("delete", |it| Box::pin(async { it.delete("k").await.map(drop) }), None),
    ("delete_many", |it| Box::pin(async { it.delete_many(["k"]).await.map(drop) }), None),
    ("pop", |it| Box::pin(async { it.pop::<i32>("k").await.map(drop) }), None),
    ("incr", |it| Box::pin(async { it.incr("k", 1).await.map(drop) }), Some(2)),
    ("incr_or", |it| Box::pin(async { it.incr_or("k", 1, 7, secs(60)).await.map(drop) }), Some(2)),
    (
        "update",
        |it| Box::pin(async { it.update("k", secs(60), |n: i32| n + 1).await.map(drop) }),
        Some(2),
    ),
    ("incr_version", |it| Box::pin(async { it.incr_version("k", 1).await.map(drop) }), None),
    ("clear", |it| Box::pin(it.clear()), None),
    ("clear_store", |it| Box::pin(it.clear_store()), None),
];

#[tokio::test]
async fn every_write_is_visible_at_once() {
    for (name, write, expected) in WRITES {
        let world = world();
        world.put("1", LONG).await;
        assert_eq!(world.get().await, Some(1));
        assert!(!world.is_far().await, "{name}: the key is near");
        write(&world.cache).await.unwrap();
        assert_eq!(world.get().await, *expected, "after {name}");
    }
}

/// The far store has answered a read, and the answer arrives after the write.
#[tokio::test]
async fn read_that_began_before_a_write_is_not_kept() {
    for (name, write, expected) in WRITES {
        let world = world();
        world.put("1", LONG).await;
        let read = world.read_late().await;
        write(&world.cache).await.unwrap();
        world.late.release();
        assert_eq!(read.await.unwrap(), Some(1));
        assert_eq!(world.get().await, *expected, "after {name}");
    }
}

/// The far store answers a read while a write is under way, before it takes effect.
#[tokio::test]
async fn read_during_a_write_is_not_kept() {
    for (name, write, expected) in WRITES {
        let world = world();
        world.put("1", LONG).await;
        assert_eq!(world.get().await, Some(1));
        let operations =
            [Operation::Set, Operation::SetMany, Operation::Replace, Operation::Delete];
        let others = [Operation::DeleteMany, Operation::Pop, Operation::Incr, Operation::Update];
        let all = [Operation::IncrVersion, Operation::Clear, Operation::ClearStore];
        let all: Vec<_> = operations.into_iter().chain(others).chain(all).collect();
        let held: Vec<_> = all.iter().map(|it| world.far.hold(*it)).collect();
        let calls = || all.iter().map(|it| world.far.calls(*it)).sum::<u64>();
        let before = calls();
        let cache = world.cache.clone();
        let writing = tokio::spawn(async move { write(&cache).await });
        while calls() == before {
            tokio::task::yield_now().await;
        }
        assert!(world.is_far().await, "{name}: the near entry is gone before the write is sent");
        let read = world.read_late().await;
        drop(held);
        writing.await.unwrap().unwrap();
        world.late.release();
        read.await.unwrap();
        assert_eq!(world.get().await, *expected, "after {name}");
    }
}

#[tokio::test]
async fn key_is_not_near_after_a_write_of_unknown_outcome() {
    let world = world();
    world.put("1", LONG).await;
    assert_eq!(world.get().await, Some(1));
    world.far.inject(|call| match call.operation {
        Operation::Touch => Fault::Error(ErrorKind::TimedOut),
        _ => Fault::None,
    });
    let error = world.cache.strict().touch("k", secs(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    for _ in 0..3 {
        assert!(world.is_far().await, "the write may still arrive");
    }
    world.time.advance(TIMEOUT);
    assert!(world.is_far().await);
    assert!(!world.is_far().await);
}

#[tokio::test]
async fn key_is_not_near_after_a_write_that_was_dropped() {
    let world = world();
    world.put("1", LONG).await;
    let held = world.far.hold(Operation::Touch);
    let cache = world.cache.clone();
    let writing = tokio::spawn(async move { cache.touch("k", secs(60)).await });
    world.far.arrived(Operation::Touch, 1).await;
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());
    drop(held);
    for _ in 0..3 {
        assert!(world.is_far().await, "the write may still arrive");
    }
    world.time.advance(TIMEOUT);
    assert!(world.is_far().await);
    assert!(!world.is_far().await);
}

#[tokio::test]
async fn no_key_is_near_after_a_clear_of_unknown_outcome() {
    let world = world();
    world.put("1", LONG).await;
    assert_eq!(world.get().await, Some(1));
    world.far.inject(|call| match call.operation {
        Operation::Clear => Fault::Error(ErrorKind::TimedOut),
        _ => Fault::None,
    });
    world.cache.clear().await.unwrap_err();
    for _ in 0..3 {
        assert!(world.is_far().await, "the clear may still arrive");
    }
    world.time.advance(TIMEOUT);
    assert!(world.is_far().await);
    assert!(!world.is_far().await);
}

#[tokio::test]
async fn deleted_value_is_not_served_after_a_delete_that_failed_open() {
    let world = world();
    world.put("1", LONG).await;
    assert_eq!(world.get().await, Some(1));
    world.far.inject(|call| match call.operation {
        Operation::Get | Operation::GetMany => Fault::None,
        _ => Fault::Error(ErrorKind::Unavailable),
    });
    world.cache.delete("k").await.unwrap();
    for _ in 0..3 {
        assert_eq!(world.get().await, None);
    }
    world.far.heal();
    for _ in 0..3 {
        assert_eq!(world.get().await, None);
    }
}

#[tokio::test]
async fn aliases_with_the_same_keys_share_a_tier() {
    let far: Arc<dyn Backend> = Arc::new(Faulty::new(Memory::new()));
    let build = |other: bool| {
        let mut settings = Settings::new();
        for (alias, has_near) in [("default", true), ("other", other)] {
            let mut alias_settings = CacheSettings::new("memory");
            alias_settings.near = has_near.then(near);
            settings.insert(alias, alias_settings);
        }
        let builder = Caches::builder().settings(settings);
        builder.backend("default", Arc::clone(&far)).backend("other", Arc::clone(&far)).build()
    };
    let caches = build(true).unwrap();
    let (one, other) = (caches.get("default").unwrap(), caches.get("other").unwrap());
    one.set("k", &1, secs(60)).await.unwrap();
    assert_eq!(one.get::<i32>("k").await.unwrap(), Some(1));
    other.delete("k").await.unwrap();
    assert_eq!(one.get::<i32>("k").await.unwrap(), None);

    let error = build(false).unwrap_err().to_string();
    for part in ["caches.other.near", "`default`", "same keys"] {
        assert!(error.contains(part), "{error}");
    }
}

/// Four readers and two writers of a few keys, in threads. Each writer publishes a number after its
/// write was acknowledged, and no read that begins afterwards may find a smaller one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn read_after_an_acknowledged_write_is_never_older() {
    const ROUNDS: u64 = 20_000;
    let far = Faulty::new(Memory::new());
    // A call that stands still for a moment must not fail open.
    let cache = Cache::builder(far.clone()).near(near()).deadline(Duration::from_secs(60));
    let cache = cache.build("near").unwrap();
    let published: Arc<[AtomicU64; 2]> = Arc::default();
    let writers: Vec<_> = (0..2_usize)
        .map(|n| {
            let (cache, published) = (cache.clone(), Arc::clone(&published));
            tokio::spawn(async move {
                for round in 1..=ROUNDS {
                    cache.set(&format!("k{n}"), &round, secs(60)).await.unwrap();
                    published[n].store(round, SeqCst);
                    if round % 4 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..4_usize)
        .map(|n| {
            let (cache, published) = (cache.clone(), Arc::clone(&published));
            tokio::spawn(async move {
                let (key, mut hits) = (format!("k{}", n % 2), 0);
                loop {
                    let expected = published[n % 2].load(SeqCst);
                    let found = cache.get::<u64>(&key).await.unwrap().unwrap_or_default();
                    assert!(found >= expected, "{found} after {expected}");
                    hits += 1;
                    if expected == ROUNDS {
                        return hits;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for it in writers {
        it.await.unwrap();
    }
    for it in readers {
        assert!(it.await.unwrap() > 0);
    }
    assert!(cache.stats().near.unwrap().hits > 0);
}

/// A read is answered before the write of another process, and kept: the bound is the timeout.
#[tokio::test]
async fn write_of_another_process_during_a_read_is_visible_after_the_timeout() {
    let world = world();
    world.put("1", LONG).await;
    let read = world.read_late().await;
    let write = world.far.set(KEY, "2".into(), Expiry::Never, SetMode::Always);
    assert!(write.await.unwrap());
    world.late.release();
    assert_eq!(read.await.unwrap(), Some(1));
    world.time.advance(TIMEOUT);
    assert_eq!(world.get().await, Some(2));
    world.time.advance(Duration::from_secs(1));
    assert_eq!(world.get().await, Some(2));
}
