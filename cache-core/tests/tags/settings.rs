//! Caches without the setting, and tags that are refused.

use std::sync::Arc;

use cache_core::{Cache, Caches, ErrorKind, store::Backend};

use crate::{MINUTE, World, marker};

#[tokio::test]
async fn cache_without_the_setting_refuses_tags_and_stores_nothing() {
    let World { store, .. } = World::new();
    let cache = Cache::builder(Arc::new(store.clone())).build("test").unwrap();
    let tagged = cache.with_tags(["t"]);
    let load = |_| async { Ok::<_, std::io::Error>(1) };
    let load_many = |_| async { [("k", 1)] };
    for refused in [
        tagged.set("k", &1, MINUTE).await.err(),
        tagged.add("k", &1, MINUTE).await.err(),
        tagged.replace("k", &1, MINUTE).await.err(),
        tagged.set_many([("k", 1)], MINUTE).await.err(),
        tagged.upsert("k", MINUTE, |_: Option<u32>| Some(1)).await.err(),
        tagged.get_or_set("k", MINUTE, || async { 1 }).await.err(),
        tagged.get_or_set_many(["k"], MINUTE, load_many).await.err(),
        tagged.fetch("k").load(load).await.err(),
        cache.fetch("k").tags(["t"]).load(load).await.err(),
        tagged.fetch("k").prime(&1).await.err(),
        cache.invalidate_tags(["t"]).await.err(),
        cache.expire_tags(["t"]).await.err(),
    ] {
        let error = refused.expect("refused");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`tags = true`"), "{error}");
    }
    assert_eq!(store.get(":1:k").await.unwrap(), None);
    assert_eq!(store.get(&marker("t")).await.unwrap(), None);
    assert_eq!(tagged.get::<u32>("k").await.unwrap(), None, "reads have no tags");
}

#[tokio::test]
async fn cache_without_the_setting_does_not_serve_values_with_tags_and_keeps_them() {
    let World { here, store, .. } = World::new();
    here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    let graced = cache_core::FetchSettings::with_grace(MINUTE);
    for builder in [
        Cache::builder(Arc::new(store.clone())),
        Cache::builder(Arc::new(store.clone())).fetch(graced),
    ] {
        let without = builder.build("without").unwrap();
        assert_eq!(without.get::<u32>("k").await.unwrap(), None);
        assert!(without.get_many::<u32, _>(["k"]).await.unwrap().is_empty());
        let error = without.strict().get::<u32>("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec);
        assert!(error.message().contains("`tags = true`"), "{error}");
        assert!(!without.add("k", &2, MINUTE).await.unwrap(), "as with bytes of another release");
        assert!(without.touch("k", 2 * MINUTE).await.unwrap());
    }
    assert_eq!(here.get::<u32>("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn empty_tag_and_too_many_tags_are_refused() {
    let World { here, .. } = World::new();
    let many: Vec<_> = (0..65).map(|it| it.to_string()).collect();
    for (tagged, what) in
        [(here.with_tags([""]), "empty"), (here.with_tags(&many), "65 of at most 64")]
    {
        let error = tagged.set("k", &1, MINUTE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(what), "{error}");
        let error = tagged.get_or_set("k", MINUTE, || async { 1 }).await.unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
    here.with_tags(&many[1..]).set("k", &1, MINUTE).await.unwrap();
    let error = here.with_tags(["x"]).update("k", MINUTE, |it: u32| it).await.unwrap_err();
    assert!(error.to_string().contains("65 of at most 64"), "{error}");
    assert_eq!(here.invalidate_tags([""]).await.unwrap_err().kind(), ErrorKind::Config);
    here.invalidate_tags(&many).await.unwrap();
    here.invalidate_tags::<&str>([]).await.unwrap();
    assert_eq!(here.get::<u32>("k").await.unwrap(), None);
}

#[test]
fn any_text_is_a_tag() {
    let World { here, .. } = World::new();
    let cache = here.blocking();
    for tag in ["a b\n", "ü", &"long".repeat(100), "\0"] {
        cache.with_tags([tag]).set("k", &1, MINUTE).unwrap();
        assert_eq!(cache.get::<u32>("k").unwrap(), Some(1));
        cache.invalidate_tags([tag]).unwrap();
        assert_eq!(cache.get::<u32>("k").unwrap(), None, "{tag:?}");
    }
}

#[tokio::test]
async fn clear_removes_markers_and_later_values_are_valid() {
    let World { here, store, .. } = World::new();
    here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    assert!(store.get(&marker("t")).await.unwrap().is_some());
    here.clear().await.unwrap();
    assert_eq!(store.get(&marker("t")).await.unwrap(), None);
    here.with_tags(["t"]).set("k", &2, MINUTE).await.unwrap();
    assert_eq!(here.get::<u32>("k").await.unwrap(), Some(2));
    assert!(store.get(&marker("t")).await.unwrap().is_some(), "made again");
}

#[test]
fn setting_is_read_from_toml() {
    let toml = |rest: &str| {
        let text = format!("[caches.default]\nbackend = \"memory\"\n{rest}\n");
        Caches::builder().driver(cache_memory::DRIVER).toml(&text)?.build()
    };
    let caches = toml("tags = true\ntag_staleness = \"5s\"").unwrap();
    let cache = caches.get("default").unwrap().blocking();
    cache.with_tags(["t"]).set("k", &1, MINUTE).unwrap();
    assert!(toml("tags = 1").is_err());
}
