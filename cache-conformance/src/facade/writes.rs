use cache_core::{ErrorKind, Timeout, Ttl, secs};

use crate::{
    backend::limits::too_large,
    ctx::Ctx,
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    add_writes_only_an_absent_key,
    replace_writes_only_a_live_key,
    touch_is_true_for_a_live_key_and_creates_nothing,
    delete_returns_whether_the_key_was_live,
    pop_returns_the_value_once,
    has_key_does_not_decode_the_value,
    ttl_returns_the_remaining_lifetime,
    one_of_eight_concurrent_adds_wins,
    one_of_eight_concurrent_pops_wins,
    too_large_value_is_an_error_and_removes_the_old_value,
];

/// `add` writes an absent key and leaves a live one.
async fn add_writes_only_an_absent_key(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert!(cache.add("k", "first", secs(60)).await?);
    assert!(!cache.add("k", "second", secs(600)).await?);
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("first"));
    assert!(matches!(cache.ttl("k").await?, Some(Ttl::Remaining(it)) if it.as_secs() < 100));
    Ok(())
}

/// `replace` writes a live key and leaves an absent one.
async fn replace_writes_only_a_live_key(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert!(!cache.replace("k", "none", secs(60)).await?);
    assert_eq!(cache.get::<String>("k").await?, None);
    cache.set("k", "first", secs(60)).await?;
    assert!(cache.replace("k", "second", Timeout::Never).await?);
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("second"));
    assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    Ok(())
}

/// `touch` returns whether the key is live, also for `Never`, and creates nothing.
async fn touch_is_true_for_a_live_key_and_creates_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert!(!cache.touch("k", secs(60)).await?);
    assert!(!cache.touch("k", Timeout::Never).await?);
    assert!(!cache.has_key("k").await?);
    cache.set("k", &1, Timeout::Never).await?;
    assert!(cache.touch("k", Timeout::Never).await?);
    assert!(cache.touch("k", secs(60)).await?);
    assert!(cache.touch("k", Timeout::Never).await?);
    assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    assert_eq!(cache.get::<i32>("k").await?, Some(1));
    Ok(())
}

/// `delete` returns whether it removed a live entry.
async fn delete_returns_whether_the_key_was_live(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert!(!cache.delete("k").await?);
    cache.set("k", &1, Timeout::Default).await?;
    assert!(cache.delete("k").await?);
    assert!(!cache.delete("k").await?);
    assert_eq!(cache.get::<i32>("k").await?, None);
    Ok(())
}

/// `pop` returns the value and removes the entry.
async fn pop_returns_the_value_once(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert_eq!(cache.pop::<String>("k").await?, None);
    cache.set("k", "v", Timeout::Default).await?;
    assert_eq!(cache.pop::<String>("k").await?.as_deref(), Some("v"));
    assert_eq!(cache.pop::<String>("k").await?, None);
    Ok(())
}

/// `has_key`, `ttl` and `touch` find an entry that does not decode.
async fn has_key_does_not_decode_the_value(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert!(!cache.has_key("k").await?);
    ctx.put(&ctx.key("k"), &[0xff, 0xfe][..]).await?;
    assert!(cache.has_key("k").await?);
    assert!(cache.strict().has_key("k").await?);
    assert!(cache.ttl("k").await?.is_some());
    assert!(cache.touch("k", Timeout::Default).await?);
    Ok(())
}

/// `ttl` returns `Forever`, what remains, or `None` for a missing key.
async fn ttl_returns_the_remaining_lifetime(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert_eq!(cache.ttl("k").await?, None);
    cache.set("k", &1, Timeout::Never).await?;
    assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    let start = ctx.now();
    cache.set("k", &1, secs(600)).await?;
    ctx.assert_ttl(cache.ttl("k").await?, std::time::Duration::from_secs(600), start, "ttl");
    Ok(())
}

/// One of several concurrent `add` calls succeeds, and its value is stored.
async fn one_of_eight_concurrent_adds_wins(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for round in 0..30 {
        let key = format!("k{round}");
        let answers = ctx
            .race(8, |n, _| {
                let (cache, key) = (cache.clone(), key.clone());
                async move { cache.add(&key, &n, Timeout::Default).await }
            })
            .await;
        let answers = answers.into_iter().collect::<cache_core::Result<Vec<_>>>()?;
        let winners: Vec<_> = (0..8).filter(|&n| answers[n]).collect();
        assert_eq!(winners.len(), 1, "the tasks that got true from add: {winners:?}");
        assert_eq!(cache.get::<usize>(&key).await?, Some(winners[0]));
    }
    Ok(())
}

/// One of several concurrent `pop` calls gets the value.
async fn one_of_eight_concurrent_pops_wins(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for round in 0..30 {
        let key = format!("k{round}");
        cache.set(&key, "v", Timeout::Default).await?;
        let answers = ctx
            .race(8, |_, _| {
                let (cache, key) = (cache.clone(), key.clone());
                async move { cache.pop::<String>(&key).await }
            })
            .await;
        let answers = answers.into_iter().collect::<cache_core::Result<Vec<_>>>()?;
        assert_eq!(answers.iter().flatten().count(), 1, "pop calls that got the value");
    }
    Ok(())
}

/// A value over the limit is `TooLarge`, never fails open, and removes the old value; `set_many`
/// lists its key and no other.
async fn too_large_value_is_an_error_and_removes_the_old_value(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let value = too_large(ctx)?;
    cache.set("k", "old", Timeout::Default).await?;
    let error =
        cache.bytes().set("k", &value, Timeout::Default).await.expect_err("a value over the limit");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    returned!(cache.has_key("k").await?, false, "has_key after a value over the limit");
    cache.set("k", "old", Timeout::Default).await?;
    let text = "x".repeat(value.len());
    let failed =
        cache.set_many([("a", "1"), ("k", text.as_str()), ("b", "2")], Timeout::Default).await?;
    let failed: Vec<_> = failed.iter().map(|it| (it.key.as_str(), it.error.kind())).collect();
    assert_eq!(failed, [("k", ErrorKind::TooLarge)]);
    returned!(cache.has_key("k").await?, false, "has_key after a value over the limit");
    cache.set("k", "old", Timeout::Default).await?;
    let res = cache.update("k", Timeout::Default, |_: String| text.clone()).await;
    assert_eq!(res.expect_err("a value over the limit").kind(), ErrorKind::TooLarge);
    returned!(cache.has_key("k").await?, false, "has_key after a value over the limit");
    for old in [None, Some("old")] {
        if let Some(old) = old {
            cache.set("k", old, Timeout::Default).await?;
        }
        let res = cache.upsert("k", Timeout::Default, |_: Option<String>| Some(text.clone())).await;
        assert_eq!(res.expect_err("a value over the limit").kind(), ErrorKind::TooLarge);
        returned!(cache.has_key("k").await?, false, "has_key after a value over the limit");
    }
    assert_eq!(cache.get_many::<String, _>(["a", "b", "k"]).await?.len(), 2);
    // A loaded value that cannot be stored is still returned.
    assert_eq!(
        cache.get_or_set("k", Timeout::Default, || async { text.clone() }).await?.len(),
        text.len()
    );
    Ok(())
}
