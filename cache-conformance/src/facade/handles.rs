use cache_core::{Cache, ErrorKind, Timeout, secs};

use crate::{
    ctx::Ctx,
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    handles_are_clone_send_and_sync,
    check_and_close_succeed_at_any_time,
    blocking_calls_match_async_calls,
    blocking_calls_on_a_worker_thread_are_an_error,
    errors_name_alias_backend_operation_and_key,
];

/// Handles are `Clone + Send + Sync`, and work from several tasks at the same time.
async fn handles_are_clone_send_and_sync(ctx: &Ctx) -> TestResult {
    fn is<T: Clone + Send + Sync + 'static>(_: &T) {}
    let cache = ctx.cache();
    is(&cache);
    is(&cache.blocking());
    let answers = ctx
        .race(8, |n, _| {
            let cache = cache.clone();
            async move { cache.set(&n.to_string(), &n, Timeout::Default).await }
        })
        .await;
    answers.into_iter().collect::<cache_core::Result<()>>()?;
    let keys: Vec<_> = (0..8).map(|it| it.to_string()).collect();
    assert_eq!(cache.get_many::<usize, _>(&keys).await?.len(), 8);
    Ok(())
}

/// `close` may be repeated, and later calls reconnect.
async fn check_and_close_succeed_at_any_time(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.close().await?;
    cache.check().await?;
    cache.set("k", &1, Timeout::Default).await?;
    cache.close().await?;
    cache.close().await?;
    cache.check().await?;
    cache.set("k", &2, Timeout::Default).await?;
    assert_eq!(cache.get::<i32>("k").await?, Some(2));
    Ok(())
}

/// `cache.blocking()` is the same cache without async: inside `spawn_blocking`, inside
/// `block_in_place` and on plain threads.
async fn blocking_calls_match_async_calls(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let theirs = cache.clone();
    tokio::task::spawn_blocking(move || all_calls(&theirs))
        .await
        .expect("the thread ended without a panic")?;
    let theirs = cache.clone();
    let thread = std::thread::spawn(move || all_calls(&theirs));
    tokio::task::spawn_blocking(|| thread.join().expect("the thread ended without a panic"))
        .await
        .expect("the thread ended without a panic")?;
    tokio::task::block_in_place(|| all_calls(&cache))?;
    assert_eq!(cache.get::<i32>("seen").await?, Some(1), "get of what blocking calls wrote");
    Ok(())
}

fn all_calls(cache: &Cache) -> cache_core::Result<()> {
    let cache = cache.blocking();
    cache.set("seen", &1, Timeout::Default)?;
    assert_eq!(cache.get::<i32>("seen")?, Some(1));
    assert!(cache.add("k", &1, Timeout::Default)? && !cache.add("k", &1, Timeout::Default)?);
    assert!(cache.replace("k", &2, Timeout::Default)?);
    assert_eq!(cache.incr("k", 1)?, 3);
    assert_eq!(cache.decr("k", 1)?, 2);
    assert_eq!(cache.incr_or("n", 1, 0, secs(60))?, 1);
    assert!(
        cache.touch("k", Timeout::Default)? && cache.has_key("k")? && cache.ttl("k")?.is_some()
    );
    assert_eq!(cache.update("k", Timeout::Default, |it: i32| it * 10)?, Some(20));
    assert_eq!(cache.upsert("new", Timeout::Default, |it: Option<i32>| it.or(Some(3)))?, Some(3));
    assert_eq!(cache.incr_version("k", 1)?, 2);
    assert_eq!(cache.at_version(2).decr_version("k", 1)?, 1);
    assert_eq!(cache.get_or_set("loaded", Timeout::Default, || 7)?, 7);
    assert!(cache.set_many([("a", 1), ("b", 2)], Timeout::Default)?.is_empty());
    assert_eq!(cache.get_many::<i32, _>(["a", "b", "c"])?.len(), 2);
    assert_eq!(cache.delete_many(["a", "b", "loaded", "n"])?, 4);
    cache.bytes().set("raw", "x", Timeout::Default)?;
    assert_eq!(cache.bytes().get("raw")?.as_deref(), Some(&b"x"[..]));
    assert_eq!(cache.pop::<i32>("k")?, Some(20));
    assert!(cache.delete("raw")?);
    Ok(())
}

/// A blocking call on a worker thread of a runtime is an error instead of a deadlock.
async fn blocking_calls_on_a_worker_thread_are_an_error(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache().blocking();
    let error = cache.get::<i32>("k").expect_err("a blocking call on a worker thread");
    assert_eq!(error.kind(), ErrorKind::Runtime, "{error}");
    assert!(error.to_string().contains("spawn_blocking"), "{error}");
    assert!(cache.set("k", &1, Timeout::Default).is_err());
    Ok(())
}

/// Errors carry alias, backend, operation and key.
async fn errors_name_alias_backend_operation_and_key(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let error = cache.incr("k", 1).await.expect_err("incr of a missing key");
    let context = ["alias", "backend", "operation", "key"].map(|it| error.context(it));
    let key = ctx.key("k");
    assert_eq!(
        context,
        [Some("conformance"), Some(ctx.store.name()), Some("incr"), Some(key.as_str())]
    );
    Ok(())
}
