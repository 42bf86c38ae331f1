use cache_core::{ErrorKind, Timeout, Ttl, secs};

use crate::{
    backend::limits::too_large,
    ctx::Ctx,
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    add_writes_only_what_is_absent,
    replace_writes_only_what_is_there,
    d01_d02_touch_is_true_for_what_is_live_and_makes_nothing,
    delete_tells_whether_it_was_there,
    pop_gives_the_value_once,
    has_key_reads_no_value,
    ttl_tells_what_remains,
    d07_one_of_many_callers_adds,
    one_of_many_callers_pops,
    too_large_is_told_and_the_old_value_gone,
];

/// `add`: "atomic set-if-absent".
async fn add_writes_only_what_is_absent(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert!(cache.add("k", "first", secs(60)).await?);
    assert!(!cache.add("k", "second", secs(600)).await?);
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("first"));
    assert!(matches!(cache.ttl("k").await?, Some(Ttl::Remaining(it)) if it.as_secs() < 100));
    Ok(())
}

/// `replace`: "atomic set-if-present".
async fn replace_writes_only_what_is_there(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert!(!cache.replace("k", "none", secs(60)).await?);
    assert_eq!(cache.get::<String>("k").await?, None);
    cache.set("k", "first", secs(60)).await?;
    assert!(cache.replace("k", "second", Timeout::Never).await?);
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("second"));
    assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    Ok(())
}

/// `touch`: "true iff live, also for `Never` on a persistent key (D2); never revives (D1)".
async fn d01_d02_touch_is_true_for_what_is_live_and_makes_nothing(ctx: &Ctx) -> TestResult {
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

/// `delete`: "true iff a live entry was removed".
async fn delete_tells_whether_it_was_there(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert!(!cache.delete("k").await?);
    cache.set("k", &1, None).await?;
    assert!(cache.delete("k").await?);
    assert!(!cache.delete("k").await?);
    assert_eq!(cache.get::<i32>("k").await?, None);
    Ok(())
}

/// `pop`: "get and delete in one step".
async fn pop_gives_the_value_once(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert_eq!(cache.pop::<String>("k").await?, None);
    cache.set("k", "v", None).await?;
    assert_eq!(cache.pop::<String>("k").await?.as_deref(), Some("v"));
    assert_eq!(cache.pop::<String>("k").await?, None);
    Ok(())
}

/// `has_key`: "does not transfer or decode the value": what nobody can decode is there all the same.
async fn has_key_reads_no_value(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert!(!cache.has_key("k").await?);
    ctx.put(&ctx.key("k"), &[0xff, 0xfe][..]).await?;
    assert!(cache.has_key("k").await?);
    assert!(cache.strict().has_key("k").await?);
    assert!(cache.ttl("k").await?.is_some());
    assert!(cache.touch("k", None).await?);
    Ok(())
}

/// `ttl`: "`Forever`, `Remaining(d)`", "`None` = missing".
async fn ttl_tells_what_remains(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert_eq!(cache.ttl("k").await?, None);
    cache.set("k", &1, Timeout::Never).await?;
    assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    let start = ctx.now();
    cache.set("k", &1, secs(600)).await?;
    ctx.assert_remains(cache.ttl("k").await?, std::time::Duration::from_secs(600), start, "ttl");
    Ok(())
}

/// `add`: "exactly one winner under any race (D7)".
async fn d07_one_of_many_callers_adds(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for round in 0..30 {
        let key = format!("k{round}");
        let answers = ctx
            .race(8, |n, _| {
                let (cache, key) = (cache.clone(), key.clone());
                async move { cache.add(&key, &n, None).await }
            })
            .await;
        let answers = answers.into_iter().collect::<cache_core::Result<Vec<_>>>()?;
        let winners: Vec<_> = (0..8).filter(|&n| answers[n]).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(cache.get::<usize>(&key).await?, Some(winners[0]));
    }
    Ok(())
}

/// `pop`: "one of several callers gets it".
async fn one_of_many_callers_pops(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for round in 0..30 {
        let key = format!("k{round}");
        cache.set(&key, "v", None).await?;
        let answers = ctx
            .race(8, |_, _| {
                let (cache, key) = (cache.clone(), key.clone());
                async move { cache.pop::<String>(&key).await }
            })
            .await;
        let answers = answers.into_iter().collect::<cache_core::Result<Vec<_>>>()?;
        assert_eq!(answers.iter().flatten().count(), 1, "that many got one value");
    }
    Ok(())
}

/// "A value over the store's limit is `TooLarge`, and the old value is gone"; it is "always returned"; and `set_many` lists it,
/// and it alone (D25).
async fn too_large_is_told_and_the_old_value_gone(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let value = too_large(ctx)?;
    cache.set("k", "old", None).await?;
    let error = cache.set_bytes("k", value.clone(), None).await.expect_err("it is over the limit");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(!cache.has_key("k").await?, "the old value is gone");
    cache.set("k", "old", None).await?;
    let text = "x".repeat(value.len());
    let failed = cache.set_many([("a", "1"), ("k", text.as_str()), ("b", "2")], None).await?;
    let failed: Vec<_> = failed.iter().map(|it| (it.key.as_str(), it.error.kind())).collect();
    assert_eq!(failed, [("k", ErrorKind::TooLarge)]);
    assert!(!cache.has_key("k").await?, "the old value is gone");
    cache.set("k", "old", None).await?;
    let res = cache.update("k", None, |_: String| text.clone()).await;
    assert_eq!(res.expect_err("it is over the limit").kind(), ErrorKind::TooLarge);
    assert!(!cache.has_key("k").await?, "the old value is gone");
    for old in [None, Some("old")] {
        if let Some(old) = old {
            cache.set("k", old, None).await?;
        }
        let res = cache.upsert("k", None, |_: Option<String>| Some(text.clone())).await;
        assert_eq!(res.expect_err("it is over the limit").kind(), ErrorKind::TooLarge);
        assert!(!cache.has_key("k").await?, "the old value is gone");
    }
    assert_eq!(cache.get_many::<String, _>(["a", "b", "k"]).await?.len(), 2);
    // The loaded value is given all the same.
    assert_eq!(cache.get_or_set("k", None, || async { text.clone() }).await?.len(), text.len());
    Ok(())
}
