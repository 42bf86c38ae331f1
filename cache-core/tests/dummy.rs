//! The backend `dummy`, which stores nothing: every read is a miss, and only calls that need an
//! entry fail.

#![allow(missing_docs)]

use cache_core::{Cache, Caches, ErrorKind, Result, Timeout, secs};

fn dummy() -> Result<Cache> {
    Ok(Caches::from_toml("caches.default.backend = 'dummy'")?.get("default")?.clone())
}

#[tokio::test]
async fn writes_succeed_and_leave_nothing() -> Result<()> {
    let cache = dummy()?;
    cache.set("k", &1, Timeout::Default).await?;
    cache.bytes().set("k", "raw", Timeout::Default).await?;
    assert!(cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?.is_empty());
    assert_eq!(cache.get::<i32>("k").await?, None);
    assert_eq!(cache.bytes().get("k").await?, None);
    assert!(cache.get_many::<i32, _>(["a", "b"]).await?.is_empty());
    assert!(!cache.has_key("k").await?);
    assert_eq!(cache.ttl("k").await?, None);
    Ok(())
}

#[tokio::test]
async fn calls_that_need_an_entry_find_it_absent() -> Result<()> {
    let cache = dummy()?;
    cache.set("k", &1, Timeout::Default).await?;
    assert!(!cache.replace("k", &2, Timeout::Default).await?);
    assert!(!cache.touch("k", secs(9)).await?);
    assert!(!cache.delete("k").await?);
    assert_eq!(cache.delete_many(["k", "l"]).await?, 0);
    assert_eq!(cache.pop::<i32>("k").await?, None);
    assert_eq!(cache.update::<i32>("k", Timeout::Default, |it| it + 1).await?, None);
    for error in
        [cache.incr("k", 1).await, cache.decr("k", 1).await, cache.incr_version("k", 1).await]
    {
        assert_eq!(error.unwrap_err().kind(), ErrorKind::KeyNotFound);
    }
    Ok(())
}

#[tokio::test]
async fn calls_that_create_an_entry_always_create_it() -> Result<()> {
    let cache = dummy()?;
    for n in 0..3 {
        assert!(cache.add("k", &n, Timeout::Default).await?);
        assert_eq!(cache.incr_or("n", 2, 5, Timeout::Default).await?, 7);
        assert_eq!(
            cache.upsert("u", Timeout::Default, |it: Option<i32>| it.or(Some(n))).await?,
            Some(n)
        );
        assert_eq!(
            cache.get_or_set("l", Timeout::Default, || async { n }).await?,
            n,
            "each call loads"
        );
    }
    assert_eq!(
        cache.incr_or("n", 1, i64::MAX, Timeout::Default).await.unwrap_err().kind(),
        ErrorKind::Overflow
    );
    Ok(())
}

#[tokio::test]
async fn invalid_keys_and_values_are_refused_and_other_calls_succeed() -> Result<()> {
    let cache = dummy()?;
    assert_eq!(cache.get::<i32>("a b").await.unwrap_err().kind(), ErrorKind::InvalidKey);
    let bad = std::collections::HashMap::from([((1, 2), 3)]);
    assert_eq!(cache.set("k", &bad, Timeout::Default).await.unwrap_err().kind(), ErrorKind::Codec);
    cache.clear().await?;
    cache.clear_store().await?;
    cache.check().await?;
    cache.close().await
}
