use bytes::Bytes;
use cache_core::{
    ErrorKind, Result,
    store::{Expected, Expiry, SetMode, TtlUpdate},
};

use crate::{
    ctx::{Ctx, LONG, skip},
    stop::{Stop, TestResult},
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    largest_value_is_accepted,
    too_large_set_is_an_error_and_removes_the_old_value,
    too_large_add_or_replace_that_does_not_apply_changes_nothing,
    too_large_value_in_a_batch_fails_alone,
    too_large_compare_and_set_keeps_the_old_value,
];

/// Limits above this are not tested: the test would need too much memory.
const LARGEST: usize = 64 << 20;

/// Returns a value one byte over the limit of the store.
pub(crate) fn too_large(ctx: &Ctx) -> Result<Bytes, Stop> {
    match ctx.capabilities.max_value_len {
        Some(len) if len < LARGEST => Ok(vec![b'x'; len + 1].into()),
        Some(len) => skip(format!("the limit of {len} bytes is too large for a test")),
        None => skip("the store has no limit (`Capabilities::max_value_len` is `None`)"),
    }
}

fn assert_too_large<T: std::fmt::Debug>(answer: Result<T>) {
    match answer {
        Err(error) => assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}"),
        Ok(answer) => panic!("a value over the limit returned {answer:?}, expected TooLarge"),
    }
}

/// A value of `max_value_len` bytes is stored.
async fn largest_value_is_accepted(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    let value = too_large(ctx)?.slice(1..);
    ctx.put(&key, value.clone()).await?;
    ctx.expect(&key, Some(&value), "the largest value").await?;
    Ok(())
}

/// A value over the limit is `TooLarge`, and the old value is removed instead of left stale.
async fn too_large_set_is_an_error_and_removes_the_old_value(ctx: &Ctx) -> TestResult {
    let (key, value) = (ctx.key("k"), too_large(ctx)?);
    for mode in [SetMode::Always, SetMode::IfPresent] {
        ctx.put_for(&key, "old", Expiry::Never).await?;
        assert_too_large(ctx.store.set(&key, value.clone(), LONG, mode).await);
        ctx.expect(&key, None, "after a set that was too large").await?;
    }
    for mode in [SetMode::Always, SetMode::IfAbsent] {
        assert_too_large(ctx.store.set(&key, value.clone(), LONG, mode).await);
        ctx.expect(&key, None, "after a set that was too large").await?;
    }
    Ok(())
}

/// A value over the limit changes nothing if the mode forbids the write anyway.
async fn too_large_add_or_replace_that_does_not_apply_changes_nothing(ctx: &Ctx) -> TestResult {
    let (live, absent, value) = (ctx.key("live"), ctx.key("absent"), too_large(ctx)?);
    ctx.put(&live, "old").await?;
    // A store may check the length or the key first.
    match ctx.store.set(&live, value.clone(), LONG, SetMode::IfAbsent).await {
        Ok(added) => assert!(!added, "add to a live key"),
        error => assert_too_large(error),
    }
    ctx.expect(&live, Some(b"old"), "after add to a live key").await?;
    match ctx.store.set(&absent, value, LONG, SetMode::IfPresent).await {
        Ok(replaced) => assert!(!replaced, "replace of an absent key"),
        error => assert_too_large(error),
    }
    ctx.expect(&absent, None, "after replace of an absent key").await?;
    Ok(())
}

/// An item over the limit is an error of its own; the other items are written.
async fn too_large_value_in_a_batch_fails_alone(ctx: &Ctx) -> TestResult {
    let value = too_large(ctx)?;
    let (a, large, b) = (ctx.key("a"), ctx.key("large"), ctx.key("b"));
    ctx.put(&large, "old").await?;
    let items = [(a.as_str(), "1".into()), (large.as_str(), value), (b.as_str(), "2".into())];
    let mut answers = ctx.store.set_many(&items, LONG).await;
    assert_eq!(answers.len(), 3, "one result per item");
    assert_too_large(answers.remove(1));
    answers.into_iter().collect::<Result<()>>()?;
    ctx.expect(&a, Some(b"1"), "the item before the large one").await?;
    ctx.expect(&b, Some(b"2"), "the item after the large one").await?;
    ctx.expect(&large, None, "the large item").await?;
    Ok(())
}

/// `compare_and_set` with a value over the limit is `TooLarge` and leaves the old value.
async fn too_large_compare_and_set_keeps_the_old_value(ctx: &Ctx) -> TestResult {
    let (key, start, value) = (ctx.key("k"), ctx.now(), too_large(ctx)?);
    ctx.put(&key, "old").await?;
    let lifetime = TtlUpdate::New(Expiry::Never);
    assert_too_large(
        ctx.store.compare_and_set(&key, Expected::value(b"old"), value, lifetime).await,
    );
    ctx.expect(&key, Some(b"old"), "after compare_and_set").await?;
    ctx.expect_lifetime(&key, LONG, start, "after compare_and_set").await?;
    Ok(())
}
