use std::time::Duration;

use cache_core::{ErrorKind, MAX_KEY_LEN, Timeout, Ttl, secs};

use crate::{
    ctx::Ctx,
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    incr_version_moves_the_entry,
    incr_version_moves_the_lifetime,
    incr_version_overwrites_the_target,
    incr_version_of_a_missing_key_is_key_not_found,
    decr_version_moves_the_entry_back,
    incr_version_by_zero_changes_nothing,
    version_outside_i64_is_overflow,
    too_long_target_key_is_refused,
];

/// `incr_version` moves the entry and returns the new version.
async fn incr_version_moves_the_entry(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", "v", Timeout::Default).await?;
    assert_eq!(cache.incr_version("k", 2).await?, 3);
    assert_eq!(cache.get::<String>("k").await?, None);
    assert_eq!(cache.at_version(3).get::<String>("k").await?.as_deref(), Some("v"));
    assert_eq!(cache.at_version(3).incr_version("k", -5).await?, -2);
    assert_eq!(cache.at_version(-2).get::<String>("k").await?.as_deref(), Some("v"));
    Ok(())
}

/// `incr_version` moves the remaining lifetime.
async fn incr_version_moves_the_lifetime(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let start = ctx.now();
    cache.set("long", &1, secs(7200)).await?;
    cache.set("never", &1, Timeout::Never).await?;
    cache.incr_version("long", 1).await?;
    cache.incr_version("never", 1).await?;
    let two = cache.at_version(2);
    ctx.assert_ttl(
        two.ttl("long").await?,
        Duration::from_secs(7200),
        start,
        "the ttl at the new version",
    );
    assert_eq!(two.ttl("never").await?, Some(Ttl::Forever));
    Ok(())
}

/// `incr_version` replaces value and lifetime of a live target.
async fn incr_version_overwrites_the_target(ctx: &Ctx) -> TestResult {
    let (cache, two) = (ctx.cache(), ctx.cache().at_version(2));
    two.set("k", "old", Timeout::Never).await?;
    cache.set("k", "new", secs(600)).await?;
    assert_eq!(cache.incr_version("k", 1).await?, 2);
    assert_eq!(two.get::<String>("k").await?.as_deref(), Some("new"));
    assert!(matches!(two.ttl("k").await?, Some(Ttl::Remaining(_))));
    assert!(!cache.has_key("k").await?);
    Ok(())
}

/// `incr_version` and `decr_version` of a missing key return `KeyNotFound` and leave the target
/// alone.
async fn incr_version_of_a_missing_key_is_key_not_found(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.at_version(2).set("k", "stays", Timeout::Default).await?;
    for answer in [
        cache.incr_version("k", 1).await,
        cache.decr_version("k", -1).await,
        cache.incr_version("k", 0).await,
    ] {
        let error = answer.expect_err("a move of a missing key");
        assert_eq!(error.kind(), ErrorKind::KeyNotFound, "{error}");
    }
    assert_eq!(cache.at_version(2).get::<String>("k").await?.as_deref(), Some("stays"));
    Ok(())
}

/// `decr_version` is `incr_version` by `-delta`.
async fn decr_version_moves_the_entry_back(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", "v", Timeout::Default).await?;
    cache.incr_version("k", 1).await?;
    assert_eq!(cache.at_version(2).decr_version("k", 1).await?, 1);
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("v"));
    assert_eq!(cache.decr_version("k", 1).await?, 0);
    let below = cache.at_version(-1);
    below.set("k", "least", Timeout::Default).await?;
    assert_eq!(below.decr_version("k", i64::MIN).await?, i64::MAX);
    assert!(cache.at_version(0).has_key("k").await?);
    Ok(())
}

/// `incr_version` by zero leaves the entry where it is.
async fn incr_version_by_zero_changes_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let start = ctx.now();
    cache.set("k", "v", secs(600)).await?;
    assert_eq!(cache.incr_version("k", 0).await?, 1);
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("v"));
    ctx.assert_ttl(
        cache.ttl("k").await?,
        Duration::from_secs(600),
        start,
        "the ttl at the same version",
    );
    Ok(())
}

/// A version outside `i64` is `Overflow`.
async fn version_outside_i64_is_overflow(ctx: &Ctx) -> TestResult {
    let (least, greatest) = (ctx.cache().at_version(i64::MIN), ctx.cache().at_version(i64::MAX));
    least.set("k", &1, Timeout::Default).await?;
    greatest.set("k", &1, Timeout::Default).await?;
    for answer in [
        greatest.incr_version("k", 1).await,
        least.decr_version("k", 1).await,
        greatest.decr_version("k", i64::MIN).await,
    ] {
        let error = answer.expect_err("a version outside i64");
        assert_eq!(error.kind(), ErrorKind::Overflow, "{error}");
    }
    assert!(least.has_key("k").await? && greatest.has_key("k").await?);
    Ok(())
}

/// If the key is too long at the new version, the call returns `InvalidKey` and the entry stays.
async fn too_long_target_key_is_refused(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let key = "k".repeat(MAX_KEY_LEN - ctx.key("").len());
    cache.set(&key, &1, Timeout::Default).await?;
    let error =
        cache.incr_version(&key, 9).await.expect_err("a key that is too long at version 10");
    assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}");
    assert_eq!(cache.get::<i32>(&key).await?, Some(1));
    assert_eq!(cache.incr_version(&key, 8).await?, 9);
    Ok(())
}
