//! Loads of values with a revision, which may be late.

use std::{convert::Infallible, sync::Arc};

use cache_core::{
    Cache, CacheBuilder, FetchOutcome, FetchSettings, Fetched, LoadContext, Loaded,
    store::Backend as _,
};
use tokio::{sync::Notify, task::JoinHandle};

use crate::{HOUR, MINUTE, SECOND, get, processes, row, run_tasks, world};

fn with(change: impl Fn(&mut FetchSettings)) -> impl Fn(CacheBuilder) -> CacheBuilder {
    move |builder| {
        let mut settings = FetchSettings::default();
        (settings.ttl, settings.jitter) = (Some(MINUTE.into()), Some(0.0));
        change(&mut settings);
        builder.fetch(settings)
    }
}

/// A load of `k` that waits in its loader.
struct Paused {
    go_on: Arc<Notify>,
    caller: JoinHandle<cache_core::Result<Fetched<u32>>>,
}

impl Paused {
    async fn begin(cache: &Cache, loaded: Loaded<u32>, revision: Option<u64>) -> Self {
        Self::begin_by(cache, false, loaded, revision).await
    }

    /// Also if there is a value.
    async fn begin_forced(cache: &Cache, loaded: Loaded<u32>, revision: Option<u64>) -> Self {
        Self::begin_by(cache, true, loaded, revision).await
    }

    async fn begin_by(
        cache: &Cache,
        forced: bool,
        loaded: Loaded<u32>,
        revision: Option<u64>,
    ) -> Self {
        let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let caller = tokio::spawn({
            let (cache, began, go_on) = (cache.clone(), Arc::clone(&began), Arc::clone(&go_on));
            let load = move |context: LoadContext| async move {
                began.notify_one();
                go_on.notified().await;
                if let Some(revision) = revision {
                    context.revision(revision);
                }
                Ok::<_, Infallible>(loaded)
            };
            async move {
                let fetch = cache.fetch("k");
                if forced { fetch.force().outcome(load).await } else { fetch.outcome(load).await }
            }
        });
        began.notified().await;
        Self { go_on, caller }
    }

    async fn end(self) -> Option<u32> {
        self.go_on.notify_one();
        let value = self.caller.await.unwrap().unwrap().value;
        run_tasks().await;
        value
    }
}

/// The loader has read the old row when the new one is written or deleted, in another process and
/// in the same one.
#[tokio::test]
async fn late_load_of_an_old_row_stores_nothing() {
    for fenced in [None, Some(true)] {
        let ([one, two], ..) = processes(with(|it| it.fenced = fenced));
        for (call, other) in [(0, &one), (1, &one), (0, &two), (1, &two), (2, &two)] {
            let late = Paused::begin(&one, Loaded::Value(1), Some(5)).await;
            let left = match call {
                0 => {
                    assert!(other.set_revision("k", &2, 6, MINUTE).await.unwrap());
                    Some(2)
                }
                1 => {
                    assert!(other.delete_revision("k", 6, MINUTE).await.unwrap());
                    None
                }
                _ => {
                    other.fetch("k").force().load(row(2, 6)).await.unwrap();
                    Some(2)
                }
            };
            assert_eq!(late.end().await, Some(1), "for the caller of the load");
            assert_eq!(get(&one).await, left, "{fenced:?}, {call}");
            one.delete("k").await.unwrap();
        }
    }
}

/// The load began first and has the newer row.
#[tokio::test]
async fn late_load_of_a_new_row_replaces_an_old_one() {
    let ([one, two], ..) = processes(|it| it);
    let late = Paused::begin(&one, Loaded::Value(2), Some(6)).await;
    assert!(two.set_revision("k", &1, 5, MINUTE).await.unwrap());
    late.end().await;
    assert_eq!(get(&one).await, Some(2));
    one.delete("k").await.unwrap();
    let late = Paused::begin(&one, Loaded::Value(3), Some(7)).await;
    assert!(two.delete_revision("k", 6, MINUTE).await.unwrap());
    late.end().await;
    assert_eq!(get(&one).await, Some(3));
}

/// A load without a revision may have read the deleted row, also if the floor came during it.
#[tokio::test]
async fn load_without_a_revision_stores_nothing_over_a_floor() {
    for fenced in [None, Some(true)] {
        let ([one, two], ..) = processes(with(|it| it.fenced = fenced));
        let late = Paused::begin(&one, Loaded::Value(1), None).await;
        assert!(two.delete_revision("k", 5, MINUTE).await.unwrap());
        assert_eq!(late.end().await, Some(1));
        assert_eq!(get(&one).await, None, "{fenced:?}");
        // And if the floor was there before.
        assert_eq!(one.fetch("k").load(row(1, None)).await.unwrap(), 1);
        assert_eq!(one.get_or_set("k", MINUTE, || async { 1 }).await.unwrap(), 1);
        assert_eq!(get(&one).await, None, "{fenced:?}");
        assert!(!two.set_revision("k", &1, 5, MINUTE).await.unwrap(), "the floor is left");
    }
}

#[tokio::test]
async fn fenced_load_over_a_floor_keeps_its_protection() {
    let ([one, two], ..) = processes(with(|it| it.fenced = Some(true)));
    assert!(two.delete_revision("k", 5, MINUTE).await.unwrap());
    for revision in [4, 5] {
        let late = Paused::begin(&one, Loaded::Value(1), Some(revision)).await;
        assert!(!two.set_revision("k", &2, 5, MINUTE).await.unwrap(), "during the load");
        late.end().await;
        assert_eq!(get(&one).await, None);
    }
    let load = |missing: Vec<&'static str>| async { missing.into_iter().map(|it| (it, 1)) };
    one.get_or_set_many(["k", "other"], MINUTE, load).await.unwrap();
    assert_eq!(get(&one).await, None, "a batch");
    assert_eq!(one.get::<u32>("other").await.unwrap(), Some(1));
    let new = Paused::begin(&one, Loaded::Value(3), Some(6)).await;
    new.end().await;
    assert_eq!(get(&one).await, Some(3));
}

#[tokio::test]
async fn refresh_keeps_or_raises_the_revision() {
    let ([one, two], _, time) = processes(with(|it| it.grace = Some(HOUR.into())));
    let refresh = async |loaded, revision| {
        time.advance(MINUTE);
        let paused = Paused::begin(&one, loaded, revision).await;
        paused.end().await;
    };
    one.fetch("k").load(row(1, 5)).await.unwrap();
    refresh(Loaded::NotModified, None).await;
    assert_eq!(get(&one).await, Some(1), "a new lifetime");
    assert!(!two.set_revision("k", &0, 4, MINUTE).await.unwrap(), "the revision is kept");
    refresh(Loaded::Value(1), None).await;
    assert!(!two.set_revision("k", &0, 4, MINUTE).await.unwrap(), "of the same value, too");
    refresh(Loaded::Value(2), Some(5)).await;
    assert_eq!(get(&one).await, Some(2), "an equal revision replaces what is past its timeout");
    refresh(Loaded::Value(3), Some(4)).await;
    assert_eq!(get(&one).await, None, "an older one does not");
    assert_eq!(one.fetch("k").load(row(4, 6)).await.unwrap(), 2, "it is still served stale");
    run_tasks().await;
    assert_eq!(get(&one).await, Some(4));
    refresh(Loaded::Value(5), None).await;
    assert_eq!(get(&one).await, Some(5));
    assert!(two.set_revision("k", &0, 1, MINUTE).await.unwrap(), "the revision is cleared");
}

#[tokio::test]
async fn answer_that_there_is_no_value_has_a_revision() {
    let ([one, two], store, time) = processes(with(|it| it.negative_ttl = Some(MINUTE.into())));
    Paused::begin(&one, Loaded::Absent, Some(5)).await.end().await;
    assert!(!two.set_revision("k", &1, 5, MINUTE).await.unwrap());
    assert!(two.set_revision("k", &1, 6, MINUTE).await.unwrap());
    let late = Paused::begin_forced(&one, Loaded::Absent, Some(5)).await;
    late.end().await;
    assert_eq!(get(&one).await, Some(1), "an older absence");
    time.advance(HOUR);
    assert!(store.get(":1:k").await.unwrap().is_none());

    // Without `negative_ttl`, an absence removes the old value.
    for fenced in [None, Some(true)] {
        let ([one, two], ..) = processes(with(|it| it.fenced = fenced));
        for (revision, left) in [(Some(4), Some(1)), (Some(5), None), (None, None)] {
            assert!(two.set_revision("k", &1, 5, MINUTE).await.unwrap());
            Paused::begin_forced(&one, Loaded::Absent, revision).await.end().await;
            assert_eq!(get(&one).await, left, "{fenced:?}, {revision:?}");
            one.delete("k").await.unwrap();
        }
        assert!(two.set_revision("k", &1, 5, MINUTE).await.unwrap());
        let late = Paused::begin_forced(&one, Loaded::Absent, None).await;
        assert!(two.delete_revision("k", 6, MINUTE).await.unwrap());
        late.end().await;
        assert!(!two.set_revision("k", &1, 6, MINUTE).await.unwrap(), "{fenced:?}: the floor");
    }
}

#[tokio::test]
async fn revision_of_a_fetch_is_that_of_its_value() {
    let (cache, ..) = world();
    let fetch = |revision| cache.fetch("k").ttl(MINUTE).revision(revision);
    fetch(5).prime(&1).await.unwrap();
    fetch(4).prime(&2).await.unwrap();
    assert_eq!(get(&cache).await, Some(1));
    fetch(6).force().load(row(3, None)).await.unwrap();
    assert_eq!(get(&cache).await, Some(3));
    fetch(9).force().load(row(4, 5)).await.unwrap();
    assert_eq!(get(&cache).await, Some(3), "the loader knows better");
    let outcome = fetch(9).outcome(|_| async { Ok::<_, Infallible>(Loaded::Value(5)) });
    assert!(matches!(outcome.await.unwrap().outcome, FetchOutcome::Hit { .. }));
    assert!(cache.set_revision("k", &5, 7, SECOND).await.unwrap());
}
