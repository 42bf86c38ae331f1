use cache_core::{ErrorKind, Timeout, Ttl, secs};

use crate::{
    ctx::Ctx,
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    incr_and_decr_return_the_new_value,
    incr_of_a_missing_key_is_key_not_found,
    incr_and_decr_keep_the_lifetime,
    incr_and_decr_go_below_zero,
    incr_of_other_types_is_refused_and_changes_nothing,
    counter_overflow_is_refused_and_changes_nothing,
    incr_or_starts_at_initial_with_its_lifetime,
    concurrent_incr_or_calls_are_all_counted,
];

/// `incr` and `decr` return the new value, and `get` reads it as any integer type.
async fn incr_and_decr_return_the_new_value(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &10, Timeout::Default).await?;
    assert_eq!(cache.incr("k", 5).await?, 15);
    assert_eq!(cache.decr("k", 1).await?, 14);
    assert_eq!(cache.incr("k", -4).await?, 10);
    assert_eq!(cache.decr("k", -4).await?, 14);
    assert_eq!(cache.get::<u8>("k").await?, Some(14));
    assert_eq!(cache.get::<i64>("k").await?, Some(14));
    Ok(())
}

/// `incr` and `decr` of a missing key return `KeyNotFound`, never fail open, and store nothing.
async fn incr_of_a_missing_key_is_key_not_found(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for error in [cache.incr("k", 1).await, cache.decr("k", 1).await] {
        let error = error.expect_err("incr or decr of a missing key");
        assert_eq!(error.kind(), ErrorKind::KeyNotFound, "{error}");
        assert_eq!(error.context("alias"), Some("conformance"));
        assert_eq!(error.context("operation"), Some("incr"));
        assert_eq!(error.context("key"), Some(ctx.key("k").as_str()));
    }
    assert!(!cache.has_key("k").await?);
    Ok(())
}

/// `incr`, `decr` and `incr_or` keep the lifetime of a live counter.
async fn incr_and_decr_keep_the_lifetime(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let start = ctx.now();
    cache.set("k", &1, secs(600)).await?;
    cache.incr("k", 1).await?;
    cache.decr("k", 1).await?;
    cache.incr_or("k", 1, 0, secs(5)).await?;
    ctx.assert_ttl(cache.ttl("k").await?, std::time::Duration::from_secs(600), start, "ttl");
    cache.set("k", &1, Timeout::Never).await?;
    cache.incr("k", 1).await?;
    assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    Ok(())
}

/// Counters are signed.
async fn incr_and_decr_go_below_zero(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &1, Timeout::Default).await?;
    assert_eq!(cache.decr("k", 3).await?, -2);
    assert_eq!(cache.incr("k", 1).await?, -1);
    assert_eq!(cache.decr("k", 1).await?, -2);
    assert_eq!(cache.incr("k", 5).await?, 3);
    assert_eq!(cache.get::<i32>("k").await?, Some(3));
    Ok(())
}

/// `incr`, `decr` and `incr_or` of a value that is not an integer return `NotAnInteger` and leave
/// the entry as it was.
async fn incr_of_other_types_is_refused_and_changes_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("text", "41", Timeout::Default).await?;
    cache.set("bool", &true, Timeout::Default).await?;
    cache.set("float", &1.5, Timeout::Default).await?;
    cache.set("null", &None::<i32>, Timeout::Default).await?;
    cache.set("list", &[1], Timeout::Default).await?;
    cache.set("large", &u64::MAX, Timeout::Default).await?;
    for text in ["+5", "007", "-0", "12abc", "", " 1", "1 ", "1.0"] {
        cache.bytes().set(&format!("raw-{}", text.trim()), text, Timeout::Default).await?;
    }
    let keys = [
        "text",
        "bool",
        "float",
        "null",
        "list",
        "large",
        "raw-+5",
        "raw-007",
        "raw--0",
        "raw-12abc",
        "raw-",
        "raw-1",
        "raw-1.0",
    ];
    for key in keys {
        let before = cache.bytes().get(key).await?;
        for answer in [
            cache.incr(key, 1).await,
            cache.decr(key, 1).await,
            cache.incr_or(key, 1, 0, Timeout::Default).await,
        ] {
            let error = answer.expect_err(key);
            assert_eq!(error.kind(), ErrorKind::NotAnInteger, "{key}: {error}");
        }
        assert_eq!(
            cache.bytes().get(key).await?,
            before,
            "the value of {key} after a refused incr"
        );
    }
    assert_eq!(cache.get::<String>("text").await?.as_deref(), Some("41"));
    Ok(())
}

/// A sum outside `i64` is `Overflow`, also if `-delta` is outside `i64`, and leaves the entry as it
/// was.
async fn counter_overflow_is_refused_and_changes_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let overflows = |answer: cache_core::Result<i64>, what: &str| {
        let error = answer.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Overflow, "{what}: {error}");
    };
    cache.set("max", &i64::MAX, Timeout::Default).await?;
    cache.set("min", &i64::MIN, Timeout::Default).await?;
    cache.set("zero", &0, Timeout::Default).await?;
    overflows(cache.incr("max", 1).await, "incr");
    overflows(cache.decr("max", -1).await, "decr by a negative number");
    overflows(cache.decr("min", 1).await, "decr");
    overflows(cache.decr("zero", i64::MIN).await, "decr by i64::MIN");
    overflows(cache.incr_or("max", 1, 0, Timeout::Default).await, "incr_or of a live key");
    overflows(
        cache.incr_or("new", 1, i64::MAX, Timeout::Default).await,
        "incr_or of an absent key",
    );
    overflows(cache.incr_or("new", 1, i64::MAX, secs(0)).await, "incr_or with a timeout of zero");
    assert_eq!(cache.get::<i64>("max").await?, Some(i64::MAX));
    assert_eq!(cache.get::<i64>("min").await?, Some(i64::MIN));
    assert_eq!(cache.get::<i64>("zero").await?, Some(0));
    assert!(!cache.has_key("new").await?);
    Ok(())
}

/// `incr_or` stores `initial + delta` with its lifetime; of a live counter it is `incr`.
async fn incr_or_starts_at_initial_with_its_lifetime(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let start = ctx.now();
    assert_eq!(cache.incr_or("k", 2, 10, secs(600)).await?, 12);
    assert_eq!(cache.incr_or("k", 2, 10, Timeout::Never).await?, 14);
    assert_eq!(cache.get::<i64>("k").await?, Some(14));
    ctx.assert_ttl(cache.ttl("k").await?, std::time::Duration::from_secs(600), start, "ttl");
    Ok(())
}

/// `incr_or` is atomic, also for the calls that find no counter.
async fn concurrent_incr_or_calls_are_all_counted(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let answers = ctx
        .race(8, |_, _| {
            let cache = cache.clone();
            async move {
                for _ in 0..50 {
                    cache.incr_or("k", 1, 0, secs(600)).await?;
                }
                Ok(())
            }
        })
        .await;
    answers.into_iter().collect::<cache_core::Result<()>>()?;
    assert_eq!(cache.get::<i64>("k").await?, Some(400));
    assert!(matches!(cache.ttl("k").await?, Some(Ttl::Remaining(_))));
    Ok(())
}
