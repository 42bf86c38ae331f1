//! Floors, which deletes with a revision leave.

use cache_core::{ErrorKind, Timeout, Ttl, layer::Operation, secs, store::Backend as _};

use crate::{HOUR, MINUTE, SECOND, get, processes, row, run_tasks, world};

#[tokio::test]
async fn floor_keeps_older_values_out_until_it_ends() {
    let (cache, store, time) = world();
    cache.set_revision("k", &1, 5, HOUR).await.unwrap();
    assert!(cache.delete_revision("k", 5, MINUTE).await.unwrap());
    assert_eq!(get(&cache).await, None);
    assert_eq!(store.ttl(":1:k").await.unwrap(), Some(Ttl::Remaining(MINUTE)));
    time.advance(59 * SECOND);
    for revision in [0, 4, 5] {
        assert!(!cache.set_revision("k", &1, revision, HOUR).await.unwrap(), "{revision}");
        assert_eq!(cache.fetch("k").load(row(1, revision)).await.unwrap(), 1, "for its caller");
    }
    assert_eq!(cache.get_or_set("k", HOUR, || async { 1 }).await.unwrap(), 1);
    assert_eq!(cache.fetch("k").load(row(1, None)).await.unwrap(), 1);
    let load = |_| async { [("k", 1)] };
    assert_eq!(cache.get_or_set_many(["k"], HOUR, load).await.unwrap(), [("k", 1)].into());
    assert_eq!(get(&cache).await, None, "loads without a revision store nothing");
    assert_eq!(cache.stats().revisions_refused, 9);
    time.advance(SECOND);
    assert!(cache.set_revision("k", &1, 4, HOUR).await.unwrap(), "after its end");
}

#[tokio::test]
async fn newer_values_and_writes_without_a_revision_replace_a_floor() {
    let (cache, ..) = world();
    for call in 0..5 {
        cache.delete_revision("k", 5, MINUTE).await.unwrap();
        match call {
            0 => assert!(cache.set_revision("k", &2, 6, MINUTE).await.unwrap()),
            1 => drop(cache.fetch("k").load(row(2, 6)).await.unwrap()),
            2 => cache.fetch("k").revision(6).prime(&2).await.unwrap(),
            3 => cache.set("k", &2, MINUTE).await.unwrap(),
            _ => cache.fetch("k").prime(&2).await.unwrap(),
        }
        assert_eq!(get(&cache).await, Some(2), "call {call}");
        cache.delete("k").await.unwrap();
    }
}

#[tokio::test]
async fn second_delete_does_not_shorten_the_floor() {
    let (cache, store, _) = world();
    let ttl = || async { store.ttl(":1:k").await.unwrap().unwrap() };
    assert!(cache.delete_revision("k", 5, HOUR).await.unwrap());
    assert!(cache.delete_revision("k", 5, MINUTE).await.unwrap(), "the same again");
    assert_eq!(ttl().await, Ttl::Remaining(HOUR));
    assert!(cache.delete_revision("k", 6, MINUTE).await.unwrap(), "a newer one");
    assert_eq!(ttl().await, Ttl::Remaining(HOUR));
    assert!(cache.delete_revision("k", 7, secs(0)).await.unwrap(), "without a floor");
    assert_eq!(ttl().await, Ttl::Remaining(HOUR));
    assert!(!cache.set_revision("k", &1, 7, MINUTE).await.unwrap());
    assert!(!cache.delete_revision("k", 6, HOUR).await.unwrap(), "an older one");
    assert!(cache.delete_revision("k", 7, 2 * HOUR).await.unwrap(), "a longer one");
    assert_eq!(ttl().await, Ttl::Remaining(2 * HOUR));
    assert!(cache.delete_revision("k", 7, Timeout::Never).await.unwrap());
    assert_eq!(ttl().await, Ttl::Forever);
}

#[tokio::test]
async fn delete_without_a_floor_removes_what_is_not_newer() {
    let (cache, store, _) = world();
    cache.set_revision("k", &1, 5, HOUR).await.unwrap();
    assert!(!cache.delete_revision("k", 4, secs(0)).await.unwrap());
    assert_eq!(get(&cache).await, Some(1));
    assert!(cache.delete_revision("k", 5, secs(0)).await.unwrap());
    assert!(!store.has(":1:k").await.unwrap());
    assert!(cache.delete_revision("k", 5, secs(0)).await.unwrap(), "a missing key");
}

#[tokio::test]
async fn every_call_takes_a_floor_for_an_absent_key() {
    let (cache, ..) = world();
    let floor = || async { assert!(cache.delete_revision("k", 5, MINUTE).await.unwrap()) };
    floor().await;
    assert_eq!(get(&cache.strict()).await, None);
    assert_eq!(cache.get_many::<u32, _>(["k"]).await.unwrap(), [].into());
    assert!(!cache.has_key("k").await.unwrap());
    assert_eq!(cache.ttl("k").await.unwrap(), None);
    assert!(!cache.touch("k", HOUR).await.unwrap());
    assert!(!cache.replace("k", &1, HOUR).await.unwrap());
    assert_eq!(cache.pop::<u32>("k").await.unwrap(), None);
    assert_eq!(cache.update("k", HOUR, |it: u32| it + 1).await.unwrap(), None);
    assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::KeyNotFound);
    assert_eq!(cache.incr_version("k", 1).await.unwrap_err().kind(), ErrorKind::KeyNotFound);
    assert!(!cache.set_revision("k", &1, 5, HOUR).await.unwrap(), "the floor is left");
    assert!(!cache.delete("k").await.unwrap(), "it is not a value");
    assert!(cache.set_revision("k", &1, 5, HOUR).await.unwrap(), "a delete removes it");
    cache.delete("k").await.unwrap();
    floor().await;
    assert_eq!(cache.delete_many(["k"]).await.unwrap(), 0);
    floor().await;
    assert!(cache.add("k", &1, HOUR).await.unwrap());
    cache.delete("k").await.unwrap();
    floor().await;
    assert_eq!(cache.incr_or("k", 1, 0, HOUR).await.unwrap(), 1);
    cache.delete("k").await.unwrap();
    floor().await;
    let upserted = cache.upsert("k", HOUR, |it: Option<u32>| Some(it.unwrap_or(7))).await.unwrap();
    assert_eq!(upserted, Some(7));
    cache.delete("k").await.unwrap();
    floor().await;
    cache.clear().await.unwrap();
    assert!(cache.set_revision("k", &1, 5, HOUR).await.unwrap(), "`clear` removes it");
}

#[tokio::test]
async fn floor_that_replaced_the_value_is_not_moved_to_another_version() {
    let ([one, two], store, _) = processes(|it| it);
    one.set_revision("k", &1, 5, MINUTE).await.unwrap();
    one.at_version(2).set("k", &9, MINUTE).await.unwrap();
    let held = store.hold(Operation::IncrVersion);
    let moving = tokio::spawn({
        let cache = one.clone();
        async move { cache.incr_version("k", 1).await }
    });
    store.arrived(Operation::IncrVersion, 1).await;
    assert!(two.delete_revision("k", 5, HOUR).await.unwrap());
    held.release();
    assert_eq!(moving.await.unwrap().unwrap_err().kind(), ErrorKind::KeyNotFound);
    assert_eq!(store.get(":2:k").await.unwrap(), None);
    assert_eq!(store.ttl(":1:k").await.unwrap(), Some(Ttl::Remaining(HOUR)));
    assert!(!two.set_revision("k", &1, 5, MINUTE).await.unwrap(), "the floor is back");
}

#[tokio::test]
async fn touch_does_not_prolong_a_floor_that_replaced_the_value() {
    let ([one, two], store, _) = processes(|it| it);
    for revision in [None, Some(5)] {
        match revision {
            None => one.set("k", &1, MINUTE).await.unwrap(),
            Some(it) => drop(one.set_revision("k", &1, it, MINUTE).await.unwrap()),
        }
        let held = [Operation::Touch, Operation::Update].map(|it| store.hold(it));
        let before = store.calls(Operation::Update) + store.calls(Operation::Touch);
        let touching = tokio::spawn({
            let cache = one.clone();
            async move { cache.touch("k", HOUR).await }
        });
        while store.calls(Operation::Update) + store.calls(Operation::Touch) == before {
            run_tasks().await;
        }
        // First, because a compare-and-set would be held, too.
        two.delete("k").await.unwrap();
        assert!(two.delete_revision("k", 5, MINUTE).await.unwrap());
        drop(held);
        assert!(!touching.await.unwrap().unwrap(), "the key was missing");
        let Some(Ttl::Remaining(left)) = store.ttl(":1:k").await.unwrap() else { panic!() };
        assert!(left <= MINUTE, "{left:?}");
        one.delete("k").await.unwrap();
    }
}
