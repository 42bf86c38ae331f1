use bytes::Bytes;
use cache_core::{ErrorKind, Expiry, Lifetime, Result, Seen, SetMode};

use crate::{
    ctx::{Ctx, LONG, skip},
    runner::{Stop, Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    the_largest_value_is_taken,
    too_large_is_typed_and_the_old_value_gone,
    too_large_does_not_spoil_what_add_and_replace_leave,
    too_large_in_a_batch_fails_alone,
    too_large_in_compare_and_set_leaves_the_old_value,
];

/// More memory than this is not worth the test.
const LARGEST: usize = 64 << 20;

/// A value over the limit.
pub(crate) fn too_large(ctx: &Ctx) -> Result<Bytes, Stop> {
    match ctx.facts.max_value_len {
        Some(len) if len < LARGEST => Ok(vec![b'x'; len + 1].into()),
        Some(len) => skip(format!("the limit is {len} bytes, too much for a test")),
        None => skip("the store knows of no limit (`Capabilities::max_value_len`)"),
    }
}

fn assert_too_large<T: std::fmt::Debug>(answer: Result<T>) {
    match answer {
        Err(error) => assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}"),
        Ok(answer) => panic!("a value over the limit was answered with {answer:?}"),
    }
}

/// `max_value_len`: "The largest value in bytes" is the largest that can be stored.
async fn the_largest_value_is_taken(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    let value = too_large(ctx)?.slice(1..);
    ctx.put(&key, value.clone()).await?;
    ctx.expect(&key, Some(&value), "the largest value").await?;
    Ok(())
}

/// "A value over the store's limit is `TooLarge`, and the old value is gone, never left stale behind it."
async fn too_large_is_typed_and_the_old_value_gone(ctx: &Ctx) -> TestResult {
    let (key, value) = (ctx.key("k"), too_large(ctx)?);
    for mode in [SetMode::Always, SetMode::IfPresent] {
        ctx.put_for(&key, "old", Expiry::Never).await?;
        assert_too_large(ctx.store.set(&key, value.clone(), LONG, mode).await);
        ctx.expect(&key, None, "after a value that is too large").await?;
    }
    for mode in [SetMode::Always, SetMode::IfAbsent] {
        assert_too_large(ctx.store.set(&key, value.clone(), LONG, mode).await);
        ctx.expect(&key, None, "after a value that is too large").await?;
    }
    Ok(())
}

/// "... nothing is left under the key, unless `mode` forbade the write anyway."
async fn too_large_does_not_spoil_what_add_and_replace_leave(ctx: &Ctx) -> TestResult {
    let (live, absent, value) = (ctx.key("live"), ctx.key("absent"), too_large(ctx)?);
    ctx.put(&live, "old").await?;
    // Whether the store looks at the length or at the key first is its own affair.
    match ctx.store.set(&live, value.clone(), LONG, SetMode::IfAbsent).await {
        Ok(added) => assert!(!added, "there is a live entry"),
        error => assert_too_large(error),
    }
    ctx.expect(&live, Some(b"old"), "after add to a live key").await?;
    match ctx.store.set(&absent, value, LONG, SetMode::IfPresent).await {
        Ok(replaced) => assert!(!replaced, "there is nothing to replace"),
        error => assert_too_large(error),
    }
    ctx.expect(&absent, None, "after replace of an absent key").await?;
    Ok(())
}

/// "what was not written is always listed": one item too large is one error, and the others are written.
async fn too_large_in_a_batch_fails_alone(ctx: &Ctx) -> TestResult {
    let value = too_large(ctx)?;
    let (a, large, b) = (ctx.key("a"), ctx.key("large"), ctx.key("b"));
    ctx.put(&large, "old").await?;
    let items = [(a.as_str(), "1".into()), (large.as_str(), value), (b.as_str(), "2".into())];
    let mut answers = ctx.store.set_many(&items, LONG).await;
    assert_eq!(answers.len(), 3, "one answer per item");
    assert_too_large(answers.remove(1));
    answers.into_iter().collect::<Result<()>>()?;
    ctx.expect(&a, Some(b"1"), "before the large one").await?;
    ctx.expect(&b, Some(b"2"), "after the large one").await?;
    ctx.expect(&large, None, "the large one").await?;
    Ok(())
}

/// `compare_and_set`: "`TooLarge` leaves the old value."
async fn too_large_in_compare_and_set_leaves_the_old_value(ctx: &Ctx) -> TestResult {
    let (key, start, value) = (ctx.key("k"), ctx.now(), too_large(ctx)?);
    ctx.put(&key, "old").await?;
    let lifetime = TtlUpdate::New(Expiry::Never);
    assert_too_large(
        ctx.store.compare_and_set(&key, Expected::value(b"old"), value, lifetime).await,
    );
    ctx.expect(&key, Some(b"old"), "after compare_and_set").await?;
    ctx.expect_life(&key, LONG, start, "after compare_and_set").await?;
    Ok(())
}
