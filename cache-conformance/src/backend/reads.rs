use cache_core::{Expiry, Ttl};

use crate::{
    ctx::{Ctx, LONG, LONG_TIME},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    get_answers_what_was_set,
    get_of_an_absent_key_is_a_miss,
    has_key_tells_live_keys,
    get_entry_answers_value_and_remaining_life,
    an_entry_without_lifetime_is_forever,
    ttl_is_what_remains,
    ttl_of_an_absent_key_is_none,
    ttl_runs_down(timed),
    reading_changes_nothing(timed),
];

/// "The live value of `key`."
async fn get_answers_what_was_set(ctx: &Ctx) -> TestResult {
    let (a, b) = (ctx.key("a"), ctx.key("b"));
    ctx.put(&a, "one").await?;
    ctx.put(&b, "two").await?;
    ctx.expect(&a, Some(b"one"), "after two sets").await?;
    ctx.expect(&b, Some(b"two"), "after two sets").await?;
    Ok(())
}

/// Absent is `None`, not an error, for every way of reading.
async fn get_of_an_absent_key_is_a_miss(ctx: &Ctx) -> TestResult {
    let key = ctx.key("never-written");
    assert_eq!(ctx.store.get(&key).await?, None);
    assert_eq!(ctx.store.get_entry(&key).await?, None);
    Ok(())
}

/// "Whether `key` is live, without transferring its value": for an empty value too.
async fn has_key_tells_live_keys(ctx: &Ctx) -> TestResult {
    let (key, empty) = (ctx.key("k"), ctx.key("empty"));
    assert!(!ctx.store.has(&key).await?, "nothing is there yet");
    ctx.put(&key, "v").await?;
    ctx.put(&empty, "").await?;
    assert!(ctx.store.has(&key).await?, "a written key is there");
    assert!(ctx.store.has(&empty).await?, "an empty value is a value");
    ctx.store.delete(&key).await?;
    assert!(!ctx.store.has(&key).await?, "a deleted key is gone");
    Ok(())
}

/// "The live value of `key` with what remains of its life."
async fn get_entry_answers_value_and_remaining_life(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    let start = ctx.now();
    ctx.put_for(&key, "v", LONG).await?;
    let entry = ctx.store.get_entry(&key).await?.expect("the key was written");
    assert_eq!(entry.value, "v");
    ctx.assert_remains(Some(entry.ttl), LONG_TIME, start, "get_entry");
    Ok(())
}

/// "`Never`" is `Ttl::Forever`, in `ttl` and with the value.
async fn an_entry_without_lifetime_is_forever(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put_for(&key, "v", Expiry::Never).await?;
    assert_eq!(ctx.store.ttl(&key).await?, Some(Ttl::Forever));
    let entry = ctx.store.get_entry(&key).await?.expect("the key was written");
    assert_eq!(entry.ttl, Ttl::Forever);
    Ok(())
}

/// "`ttl` may exceed what was asked by the granularity", and by no more.
async fn ttl_is_what_remains(ctx: &Ctx) -> TestResult {
    for seconds in [30, 600, 86_400, 2_000_000] {
        let key = ctx.key(seconds);
        let (start, asked) = (ctx.now(), Expiry::After(std::time::Duration::from_secs(seconds)));
        ctx.put_for(&key, "v", asked).await?;
        ctx.expect_life(&key, asked, start, "ttl").await?;
    }
    Ok(())
}

/// "`None` = missing."
async fn ttl_of_an_absent_key_is_none(ctx: &Ctx) -> TestResult {
    assert_eq!(ctx.store.ttl(&ctx.key("k")).await?, None);
    Ok(())
}

/// What remains of a life becomes less with time.
async fn ttl_runs_down(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "v").await?;
    // Enough for a store that rounds up to its next step to notice.
    let time = ctx.granularity() * 2 + ctx.short_time();
    ctx.pass(time).await;
    let most = (LONG_TIME + ctx.granularity()).saturating_sub(time);
    let entry = ctx.store.get_entry(&key).await?.expect("the key lives for minutes");
    for ttl in [ctx.store.ttl(&key).await?, Some(entry.ttl)] {
        assert!(
            matches!(ttl, Some(Ttl::Remaining(left)) if left <= most),
            "{ttl:?} after {time:?}"
        );
    }
    Ok(())
}

/// A cache's lifetimes are from the write on: no read lengthens one, shortens it, or takes the value.
async fn reading_changes_nothing(ctx: &Ctx) -> TestResult {
    let (key, forever) = (ctx.key("k"), ctx.key("forever"));
    let start = ctx.now();
    ctx.put(&key, "v").await?;
    ctx.put_for(&forever, "v", Expiry::Never).await?;
    let before = ctx.store.get_entry(&key).await?.expect("the key lives for minutes");
    ctx.pass(ctx.short_time()).await;
    for key in [&key, &forever] {
        ctx.store.get(key).await?;
        ctx.store.get_entry(key).await?;
        ctx.store.has(key).await?;
        ctx.store.ttl(key).await?;
        ctx.store.get_many(&[key]).await.pop().expect("one answer for one key")?;
        ctx.store.get_entries(&[key]).await.pop().expect("one answer for one key")?;
        ctx.expect(key, Some(b"v"), "after many reads").await?;
    }
    ctx.expect_life(&key, LONG, start, "after many reads").await?;
    ctx.expect_life(&forever, Expiry::Never, start, "after many reads").await?;
    let after = ctx.store.get_entry(&key).await?.expect("the key lives for minutes");
    assert_eq!(before.stamp, after.stamp, "a stamp changes with a write, not with time and reads");
    Ok(())
}
