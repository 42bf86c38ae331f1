//! Entries that say more than their value: the grace, tags, revisions, absences and leases.

use std::{convert::Infallible, sync::Arc};

use cache_core::{Cache, FetchOutcome, FetchSettings, Loaded, secs, testing::FakeClock};
use tokio::sync::Notify;

use crate::{HOUR, MINUTE, SECOND, User, cache_with, get, kept, user};

/// Returns a cache with all kinds of entries.
fn cache() -> (Cache, FakeClock) {
    let mut fetch = FetchSettings::with_grace(HOUR);
    fetch.negative_ttl = Some(MINUTE.into());
    fetch.jitter = Some(0.0);
    cache_with(|it| it.fetch(fetch).tags(true).revisions(true).tag_staleness(SECOND))
}

#[tokio::test]
async fn value_in_its_grace_is_missing_and_served_stale_by_a_fetch() {
    let (cache, time) = cache();
    cache.fetch("k").ttl(MINUTE).prime(&user("Ada")).await.unwrap();
    let value = kept(&cache).await.unwrap();
    time.advance(59 * SECOND);
    assert!(Arc::ptr_eq(&value, &get(&cache).await.unwrap()));
    time.advance(SECOND);
    assert_eq!(get(&cache).await, None, "the value is stale");

    let (begin, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let load = {
        let (begin, end) = (Arc::clone(&begin), Arc::clone(&end));
        |_| async move {
            begin.notify_one();
            end.notified().await;
            Ok::<_, Infallible>(Loaded::Value(user("Bob")))
        }
    };
    let stale = cache.fetch("k").ttl(MINUTE).arc().outcome(load).await.unwrap();
    assert!(matches!(stale.outcome, FetchOutcome::Stale { .. }), "{stale:?}");
    assert!(Arc::ptr_eq(&value, &stale.value.unwrap()), "decoded no second time");
    begin.notified().await;
    end.notify_one();
    while cache.stats().active_loads > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*kept(&cache).await.unwrap(), user("Bob"));
    assert_eq!(Arc::strong_count(&value), 1);
}

/// The entry is touched in place, with the same bytes or with others.
#[tokio::test]
async fn touch_of_a_value_with_a_grace_counts() {
    let (cache, time) = cache();
    cache.fetch("k").ttl(MINUTE).prime(&user("Ada")).await.unwrap();
    kept(&cache).await.unwrap();
    assert!(cache.touch("k", 2 * MINUTE).await.unwrap());
    time.advance(MINUTE);
    assert!(kept(&cache).await.is_some());
    time.advance(MINUTE);
    assert_eq!(get(&cache).await, None);
}

#[tokio::test]
async fn age_of_a_shared_value_is_that_of_the_entry() {
    let (cache, time) = cache();
    cache.fetch("k").ttl(MINUTE).prime(&user("Ada")).await.unwrap();
    let never = |_| async { Err::<Loaded<User>, _>("not called") };
    for secs in [0, 10] {
        time.advance(SECOND * secs);
        let by_value = cache.fetch("k").outcome(never).await.unwrap();
        let by_arc = cache.fetch("k").arc().outcome(never).await.unwrap();
        assert_eq!(format!("{:?}", by_arc.outcome), format!("{:?}", by_value.outcome));
        let FetchOutcome::Hit { age, .. } = by_arc.outcome else { panic!("{by_arc:?}") };
        assert_eq!(age, Some(SECOND * secs));
    }
}

#[tokio::test]
async fn invalidated_and_expired_tags_count_at_once() {
    let (cache, _) = cache();
    let tagged = cache.with_tags(["t", "u"]);
    for round in 0..3 {
        tagged.set("k", &user("Ada"), HOUR).await.unwrap();
        let value = kept(&cache).await.unwrap();
        match round {
            0 => cache.invalidate_tags(["u"]).await.unwrap(),
            1 => cache.expire_tags(["t"]).await.unwrap(),
            _ => assert!(cache.delete("k").await.unwrap()),
        }
        assert_eq!(get(&cache).await, None);
        tagged.set("k", &user("Bob"), HOUR).await.unwrap();
        let new = kept(&cache).await.unwrap();
        assert!(*new == user("Bob") && !Arc::ptr_eq(&new, &value));
    }
}

/// Another process invalidates the tag: it is noticed after `tag_staleness`, as by `get`.
#[tokio::test]
async fn markers_are_read_again_after_their_staleness() {
    let time = FakeClock::new();
    let memory = Arc::new(cache_memory::Memory::builder().clock(time.clock()).build().unwrap());
    let process = || {
        let store = cache_core::store::Inline::from_arc(Arc::clone(&memory)).with_objects();
        let builder = Cache::builder(Arc::new(store)).clock(time.clock()).tags(true);
        builder.tag_staleness(SECOND).build("test").unwrap()
    };
    let (here, there) = (process(), process());
    here.with_tags(["t"]).set("k", &user("Ada"), HOUR).await.unwrap();
    kept(&here).await.unwrap();
    there.invalidate_tags(["t"]).await.unwrap();
    time.advance(SECOND);
    assert_eq!(get(&here).await, None);
}

#[tokio::test]
async fn revisions_decide_which_value_is_shared() {
    let (cache, _) = cache();
    assert!(cache.set_revision("k", &user("Bob"), 2, HOUR).await.unwrap());
    let value = kept(&cache).await.unwrap();
    assert!(!cache.set_revision("k", &user("Ada"), 1, HOUR).await.unwrap());
    assert!(Arc::ptr_eq(&value, &kept(&cache).await.unwrap()));
    assert!(cache.set_revision("k", &user("Eve"), 3, HOUR).await.unwrap());
    assert_eq!(*kept(&cache).await.unwrap(), user("Eve"));
    assert!(cache.delete_revision("k", 4, MINUTE).await.unwrap());
    assert_eq!(get(&cache).await, None, "a floor");
    assert!(!cache.set_revision("k", &user("Eve"), 3, HOUR).await.unwrap());
    assert_eq!(get(&cache).await, None);
}

#[tokio::test]
async fn remembered_absence_is_no_value() {
    let (cache, time) = cache();
    let nobody = |_| async { Ok::<_, Infallible>(None::<User>) };
    let ada = |_| async { Ok::<_, Infallible>(Some(user("Ada"))) };
    let fetch = || cache.fetch("k").ttl(MINUTE).arc();
    assert_eq!(fetch().load_optional(nobody).await.unwrap(), None);
    assert_eq!(get(&cache).await, None);
    assert_eq!(fetch().load_optional(ada).await.unwrap(), None, "remembered");
    time.advance(MINUTE);
    assert_eq!(fetch().load_optional(ada).await.unwrap().as_deref(), Some(&user("Ada")));
    assert!(kept(&cache).await.is_some());
    cache.fetch("k").force().arc().load_optional(nobody).await.unwrap();
    assert_eq!(get(&cache).await, None);
}

#[tokio::test]
async fn lease_of_a_fenced_load_is_no_value() {
    let (cache, _) = cache_with(|it| {
        let mut fetch = FetchSettings::default();
        fetch.fenced = Some(true);
        it.fetch(fetch)
    });
    let inner = cache.clone();
    let load = async move |_| {
        assert_eq!(get(&inner).await, None, "the lease is stored");
        Ok::<_, Infallible>(user("Ada"))
    };
    let loaded = cache.fetch("k").ttl(secs(60)).arc().load(load).await.unwrap();
    assert_eq!(*loaded, user("Ada"));
    assert_eq!(*kept(&cache).await.unwrap(), user("Ada"));
}
