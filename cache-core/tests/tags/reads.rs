//! Every read takes an entry with an invalid tag for absent.

use cache_core::{Cache, ErrorKind, Timeout, Ttl, layer::Operation, secs, store::Backend};

use crate::{MINUTE, SECOND, World, calls};

/// Stores a value with a tag that is then invalidated.
async fn invalid() -> World {
    let world = World::new();
    world.here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    assert_eq!(world.here.get::<u32>("k").await.unwrap(), Some(1));
    assert_eq!(world.here.ttl("k").await.unwrap(), Some(Ttl::Remaining(MINUTE)));
    world.here.invalidate_tags(["t"]).await.unwrap();
    world
}

#[tokio::test]
async fn invalid_value_is_missing_for_reads() {
    let World { here, store, .. } = invalid().await;
    assert_eq!(here.get::<u32>("k").await.unwrap(), None);
    assert!(here.get_many::<u32, _>(["k", "j"]).await.unwrap().is_empty());
    assert!(!here.has_key("k").await.unwrap());
    assert_eq!(here.ttl("k").await.unwrap(), None);
    assert!(!here.touch("k", Timeout::Never).await.unwrap());
    assert_eq!(here.pop::<u32>("k").await.unwrap(), None);
    assert!(!here.replace("k", &2, MINUTE).await.unwrap());
    assert_eq!(here.update("k", MINUTE, |it: u32| it + 1).await.unwrap(), None);
    assert_eq!(here.incr("k", 1).await.unwrap_err().kind(), ErrorKind::KeyNotFound);
    let missing = here.incr_version("k", 1).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::KeyNotFound);
    assert!(store.get(":1:k").await.unwrap().is_some(), "the entry is still stored");
    assert_eq!(here.stats().undecodable, 0);
}

#[tokio::test]
async fn writes_replace_an_invalid_value() {
    let check = async |cache: &Cache| cache.get::<i64>("k").await.unwrap();
    let World { here, .. } = invalid().await;
    assert!(here.add("k", &2, MINUTE).await.unwrap());
    assert_eq!(check(&here).await, Some(2));
    let World { here, .. } = invalid().await;
    assert_eq!(here.incr_or("k", 1, 10, MINUTE).await.unwrap(), 11);
    assert_eq!(check(&here).await, Some(11));
    let World { here, .. } = invalid().await;
    let first = here.upsert("k", MINUTE, |old: Option<i64>| old.or(Some(3))).await.unwrap();
    assert_eq!(first, Some(3));
    let World { here, .. } = invalid().await;
    assert_eq!(here.get_or_set("k", MINUTE, || async { 4 }).await.unwrap(), 4);
    let World { here, .. } = invalid().await;
    let load = |missing: Vec<&'static str>| async { missing.into_iter().map(|it| (it, 5)) };
    assert_eq!(here.get_or_set_many(["k"], MINUTE, load).await.unwrap(), [("k", 5)].into());
    let World { here, .. } = invalid().await;
    let load = |_| async { Ok::<_, std::io::Error>(6) };
    assert_eq!(here.fetch("k").load(load).await.unwrap(), 6);
    assert_eq!(check(&here).await, Some(6));
}

#[tokio::test]
async fn one_invalid_tag_of_several_is_enough_and_others_stay_valid() {
    let World { here, .. } = World::new();
    let many: Vec<_> = (0..64).map(|it| format!("tag:{it}")).collect();
    here.with_tags(&many).set("all", &1, MINUTE).await.unwrap();
    here.with_tags(["tag:0"]).set("one", &1, MINUTE).await.unwrap();
    here.set("none", &1, MINUTE).await.unwrap();
    here.invalidate_tags(["tag:63", "unknown"]).await.unwrap();
    let left = here.get_many::<u32, _>(["all", "one", "none"]).await.unwrap();
    assert_eq!(left, [("one", 1), ("none", 1)].into());
}

#[tokio::test]
async fn invalidation_reaches_another_process_within_the_staleness() {
    let World { here, there, time, .. } = World::new();
    here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    assert_eq!(there.get::<u32>("k").await.unwrap(), Some(1));
    here.invalidate_tags(["t"]).await.unwrap();
    assert_eq!(there.get::<u32>("k").await.unwrap(), Some(1), "it remembers the version");
    time.advance(SECOND);
    assert_eq!(there.get::<u32>("k").await.unwrap(), None);
    let fresh = there.with_tags(["t"]);
    fresh.set("k", &2, MINUTE).await.unwrap();
    assert_eq!(here.get::<u32>("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn tag_check_adds_no_call_to_a_hit_while_markers_are_remembered() {
    let World { here, there, store, time } = World::new();
    here.with_tags(["t", "u"]).set("k", &1, MINUTE).await.unwrap();
    here.with_tags(["v"]).set("j", &1, MINUTE).await.unwrap();
    here.set("plain", &1, MINUTE).await.unwrap();
    let get = |key| {
        let there = there.clone();
        async move { assert_eq!(there.get::<u32>(key).await.unwrap(), Some(1)) }
    };
    let once = (Operation::Get, 1);
    assert_eq!(calls(&store, get("plain")).await, [once], "an untagged value");
    assert_eq!(calls(&store, get("k")).await, [once, (Operation::GetMany, 1)], "the first time");
    assert_eq!(calls(&store, get("k")).await, [once]);
    time.advance(SECOND);
    let many = async {
        let found = there.get_many::<u32, _>(["k", "j", "plain"]).await.unwrap();
        assert_eq!(found.len(), 3);
    };
    assert_eq!(calls(&store, many).await, [(Operation::GetMany, 2)], "one for all markers");
    let many = there.get_many::<u32, _>(["k", "j", "plain"]);
    assert_eq!(calls(&store, many).await, [(Operation::GetMany, 1)]);
    let write = here.with_tags(["t"]);
    assert_eq!(
        calls(&store, write.set("k", &2, MINUTE)).await,
        [(Operation::Get, 1), (Operation::Set, 1)]
    );
    assert_eq!(calls(&store, write.set("k", &2, MINUTE)).await, [(Operation::Set, 1)]);
}

#[tokio::test]
async fn invalidation_is_one_write_whatever_carries_the_tags() {
    let World { here, store, .. } = World::new();
    let tagged = here.with_tags(["t"]);
    for count in [1, 300] {
        let items = (0..count).map(|it| (format!("k{it}"), it));
        tagged.set_many(items, MINUTE).await.unwrap().into_result().unwrap();
        let invalidate = calls(&store, here.invalidate_tags(["t", "u", "v"])).await;
        assert_eq!(invalidate, [(Operation::SetMany, 1)], "{count}");
        assert_eq!(here.get::<i32>("k0").await.unwrap(), None);
    }
}

#[tokio::test]
async fn touch_and_a_move_to_another_version_keep_the_tags() {
    let World { here, .. } = World::new();
    here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    assert!(here.touch("k", secs(90)).await.unwrap());
    assert_eq!(here.ttl("k").await.unwrap(), Some(Ttl::Remaining(MINUTE + MINUTE / 2)));
    assert!(here.touch("k", Timeout::Never).await.unwrap());
    assert_eq!(here.incr_version("k", 1).await.unwrap(), 2);
    let moved = here.at_version(2);
    assert_eq!(moved.get::<u32>("k").await.unwrap(), Some(1));
    here.invalidate_tags(["t"]).await.unwrap();
    assert_eq!(moved.get::<u32>("k").await.unwrap(), None);
}
