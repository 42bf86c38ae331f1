//! Loads and invalidations at the same time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{Cache, FetchOutcome, FetchSettings, Loaded, store::Backend};
use tokio::{
    sync::Notify,
    task::{JoinHandle, spawn},
    time::timeout,
};

use crate::{HOUR, MINUTE, SECOND, World, run_tasks};

/// Far longer than a load needs to begin.
const LIMIT: Duration = Duration::from_secs(60);

/// A source whose loads are counted and wait.
#[derive(Clone, Default)]
struct Source {
    value: Arc<AtomicU32>,
    began: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Source {
    /// Reads the value, and returns it when the test allows it.
    async fn read(self) -> Result<u32, io::Error> {
        let value = self.value.fetch_add(1, SeqCst) + 1;
        self.began.notify_one();
        self.go_on.notified().await;
        Ok(value)
    }

    /// Waits until a load has begun.
    async fn has_begun(&self) {
        let begun = timeout(LIMIT, self.began.notified()).await;
        begun.expect("the caller waits for a load that is no longer its own");
    }

    fn call(&self, cache: &Cache, kind: &'static str) -> JoinHandle<u32> {
        let (cache, source) = (cache.with_tags(["t"]), self.clone());
        spawn(async move {
            match kind {
                "get_or_set" => cache.get_or_try_set("k", MINUTE, || source.read()).await.unwrap(),
                "fetch" => cache.fetch("k").load(|_| source.read()).await.unwrap(),
                "tags" => {
                    let fetch = cache.fetch("k").tags(["u"]);
                    fetch.load(|_| source.read()).await.unwrap()
                }
                _ => {
                    let load = |_| {
                        let source = source.clone();
                        async move { source.read().await.map(|it| [("k", it)]) }
                    };
                    cache.get_or_try_set_many(["k"], MINUTE, load).await.unwrap()["k"]
                }
            }
        })
    }
}

const KINDS: [&str; 4] = ["get_or_set", "fetch", "tags", "get_or_set_many"];

#[tokio::test]
async fn load_that_began_before_an_invalidation_is_not_stored_nor_joined_after_it() {
    for first in KINDS {
        for second in KINDS {
            let World { here, .. } = World::new();
            let source = Source::default();
            let old = source.call(&here, first);
            source.has_begun().await;
            here.invalidate_tags(["t"]).await.unwrap();
            let new = source.call(&here, second);
            source.has_begun().await;
            source.go_on.notify_waiters();
            assert_eq!((old.await.unwrap(), new.await.unwrap()), (1, 2), "{first}, {second}");
            assert_eq!(here.get::<u32>("k").await.unwrap(), Some(2), "{first}, {second}");
        }
    }
}

#[tokio::test]
async fn late_end_of_an_old_load_does_not_replace_the_new_value_by_a_valid_one() {
    for kind in KINDS {
        let World { here, .. } = World::new();
        let (source, slow) = (Source::default(), Source::default());
        let old = slow.call(&here, kind);
        slow.has_begun().await;
        here.invalidate_tags(["t"]).await.unwrap();
        source.value.store(10, SeqCst);
        let new = source.call(&here, kind);
        source.has_begun().await;
        source.go_on.notify_one();
        assert_eq!(new.await.unwrap(), 11);
        slow.go_on.notify_one();
        assert_eq!(old.await.unwrap(), 1);
        run_tasks().await;
        let found = here.get::<u32>("k").await.unwrap();
        assert_eq!(found, Some(11), "{kind}");
    }
}

#[tokio::test]
async fn late_tag_is_stored_only_if_its_version_was_known_before_the_load() {
    let World { here, there, time, .. } = World::new();
    let load = |cache: &Cache, value: u32| {
        let cache = cache.clone();
        async move {
            let load = move |context: cache_core::LoadContext| async move {
                context.tag("late");
                Ok::<_, io::Error>(value)
            };
            cache.fetch("k").tags(["t"]).load(load).await.unwrap()
        }
    };
    assert_eq!(load(&here, 1).await, 1);
    assert_eq!(here.get::<u32>("k").await.unwrap(), None, "the version was unknown");
    // Also in the same tick of the clock.
    assert_eq!(load(&here, 2).await, 2);
    assert_eq!(here.get::<u32>("k").await.unwrap(), Some(2), "known since the load before");
    for tag in ["late", "t"] {
        there.invalidate_tags([tag]).await.unwrap();
        time.advance(SECOND);
        assert_eq!(here.get::<u32>("k").await.unwrap(), None, "{tag}");
        time.advance(SECOND);
        assert_eq!(load(&here, 4).await, 4);
        assert_eq!(there.get::<u32>("k").await.unwrap(), Some(4), "{tag}");
    }
}

#[tokio::test]
async fn late_tag_that_is_invalidated_during_the_load_does_not_store_a_valid_value() {
    for is_here in [true, false] {
        for is_read_again in [true, false] {
            let World { here, there, time, .. } = World::new();
            here.with_tags(["late"]).set("j", &1, MINUTE).await.unwrap();
            time.advance(SECOND);
            let source = Source::default();
            let load = spawn({
                let (here, source) = (here.clone(), source.clone());
                async move {
                    let load = |context: cache_core::LoadContext| async move {
                        let value = source.read().await;
                        context.tag("late");
                        value
                    };
                    here.fetch("k").load(load).await.unwrap()
                }
            });
            source.has_begun().await;
            let cache = if is_here { &here } else { &there };
            cache.invalidate_tags(["late"]).await.unwrap();
            time.advance(SECOND);
            if is_read_again {
                assert_eq!(here.get::<u32>("j").await.unwrap(), None);
            }
            source.go_on.notify_one();
            assert_eq!(load.await.unwrap(), 1);
            for cache in [&here, &there] {
                let found = cache.get::<u32>("k").await.unwrap();
                assert_eq!(found, None, "{is_here}, {is_read_again}");
            }
        }
    }
}

#[tokio::test]
async fn late_tag_on_a_cache_without_tags_and_an_empty_one_fail_the_load() {
    let World { here, store, .. } = World::new();
    let without = Cache::builder(Arc::new(store.clone())).build("test").unwrap();
    for (cache, tag) in [(&without, "late"), (&here, "")] {
        let load = move |context: cache_core::LoadContext| async move {
            context.tag(tag);
            Ok::<_, io::Error>(1)
        };
        let error = cache.fetch("k").load(load).await.unwrap_err();
        assert_eq!(error.kind(), cache_core::ErrorKind::Config);
        assert_eq!(store.get(":1:k").await.unwrap(), None);
    }
}

#[tokio::test]
async fn loads_without_the_tag_go_on() {
    let World { here, .. } = World::new();
    for kind in KINDS {
        let source = Source::default();
        let load = source.call(&here, kind);
        source.has_begun().await;
        here.invalidate_tags(["other"]).await.unwrap();
        let joined = source.call(&here, kind);
        run_tasks().await;
        source.go_on.notify_one();
        assert_eq!((load.await.unwrap(), joined.await.unwrap()), (1, 1), "{kind}");
        assert_eq!(here.get::<u32>("k").await.unwrap(), Some(1), "{kind}");
        here.delete("k").await.unwrap();
    }
}

#[tokio::test]
async fn tags_work_with_fences_grace_and_remembered_absence() {
    let mut settings = FetchSettings::with_grace(HOUR);
    settings.fenced = Some(true);
    settings.negative_ttl = Some(MINUTE.into());
    settings.ttl = Some(cache_core::secs(60));
    settings.jitter = Some(0.0);
    let World { here, there, store, time } = World::with(settings);
    let tagged = here.with_tags(["t"]);
    let load = |it: Option<u32>| move |_| async move { Ok::<_, io::Error>(it) };
    assert_eq!(tagged.fetch("k").load_optional(load(None)).await.unwrap(), None);
    assert_eq!(tagged.fetch("k").load_optional(load(Some(1))).await.unwrap(), None, "remembered");
    here.invalidate_tags(["t"]).await.unwrap();
    assert_eq!(tagged.fetch("k").load_optional(load(Some(2))).await.unwrap(), Some(2));
    // A stale value is served, and its refresh keeps the tags.
    time.advance(MINUTE);
    let again = |_| async { Ok::<_, io::Error>(Loaded::Value(3)) };
    let stale = tagged.fetch("k").outcome(again).await.unwrap();
    assert!(matches!(stale.outcome, FetchOutcome::Stale { .. }), "{stale:?}");
    run_tasks().await;
    assert_eq!(there.get::<u32>("k").await.unwrap(), Some(3));
    // Neither a stale nor a fresh value is served after an invalidation.
    time.advance(MINUTE);
    here.invalidate_tags(["t"]).await.unwrap();
    time.advance(SECOND);
    for cache in [&here, &there] {
        let fails = |_| async { Err::<u32, _>(io::Error::other("down")) };
        assert!(cache.fetch("k").load(fails).await.is_err());
        assert_eq!(cache.get::<u32>("k").await.unwrap(), None);
    }
    let loaded = tagged.fetch("k").load(|_| async { Ok::<_, io::Error>(4) }).await.unwrap();
    assert_eq!(loaded, 4);
    assert_eq!(here.get::<u32>("k").await.unwrap(), Some(4));
    assert!(store.get(":1:k").await.unwrap().is_some());
    assert_eq!(here.stats().undecodable + there.stats().undecodable, 0);
}
