use cache_core::{Ttl, store::Expiry};

use crate::{
    ctx::{Ctx, LONG, LONG_TIME},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    get_returns_the_value_that_was_set,
    get_of_an_absent_key_is_a_miss,
    has_key_is_true_for_live_keys_only,
    get_entry_returns_value_and_remaining_lifetime,
    ttl_of_an_entry_that_never_expires_is_forever,
    ttl_is_the_remaining_lifetime,
    ttl_of_an_absent_key_is_none,
    ttl_decreases_with_time(timed),
    reads_change_neither_value_nor_lifetime(timed),
];

/// `get` returns the value of its own key.
async fn get_returns_the_value_that_was_set(ctx: &Ctx) -> TestResult {
    let (a, b) = (ctx.key("a"), ctx.key("b"));
    ctx.put(&a, "one").await?;
    ctx.put(&b, "two").await?;
    ctx.expect(&a, Some(b"one"), "after two sets").await?;
    ctx.expect(&b, Some(b"two"), "after two sets").await?;
    Ok(())
}

/// An absent key is `None`, not an error.
async fn get_of_an_absent_key_is_a_miss(ctx: &Ctx) -> TestResult {
    let key = ctx.key("never-written");
    assert_eq!(ctx.store.get(&key).await?, None);
    assert_eq!(ctx.store.get_entry(&key).await?, None);
    Ok(())
}

/// `has` is true for a live key, also with an empty value, and false after `delete`.
async fn has_key_is_true_for_live_keys_only(ctx: &Ctx) -> TestResult {
    let (key, empty) = (ctx.key("k"), ctx.key("empty"));
    returned!(ctx.store.has(&key).await?, false, "has of a key that was never written");
    ctx.put(&key, "v").await?;
    ctx.put(&empty, "").await?;
    returned!(ctx.store.has(&key).await?, true, "has of a written key");
    returned!(ctx.store.has(&empty).await?, true, "has of a key with an empty value");
    ctx.store.delete(&key).await?;
    returned!(ctx.store.has(&key).await?, false, "has of a deleted key");
    Ok(())
}

/// `get_entry` returns the value with the remaining lifetime.
async fn get_entry_returns_value_and_remaining_lifetime(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    let start = ctx.now();
    ctx.put_for(&key, "v", LONG).await?;
    let entry = ctx.store.get_entry(&key).await?.expect("the entry was written");
    assert_eq!(entry.value, "v");
    ctx.assert_ttl(Some(entry.ttl), LONG_TIME, start, "get_entry");
    Ok(())
}

/// The lifetime `Never` is `Ttl::Forever`, from `ttl` and from `get_entry`.
async fn ttl_of_an_entry_that_never_expires_is_forever(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put_for(&key, "v", Expiry::Never).await?;
    assert_eq!(ctx.store.ttl(&key).await?, Some(Ttl::Forever));
    let entry = ctx.store.get_entry(&key).await?.expect("the entry was written");
    assert_eq!(entry.ttl, Ttl::Forever);
    Ok(())
}

/// `ttl` may exceed the lifetime by the granularity, and by no more.
async fn ttl_is_the_remaining_lifetime(ctx: &Ctx) -> TestResult {
    for seconds in [30, 600, 86_400, 2_000_000] {
        let key = ctx.key(seconds);
        let (start, asked) = (ctx.now(), Expiry::After(std::time::Duration::from_secs(seconds)));
        ctx.put_for(&key, "v", asked).await?;
        ctx.expect_lifetime(&key, asked, start, "ttl").await?;
    }
    Ok(())
}

/// The `ttl` of an absent key is `None`.
async fn ttl_of_an_absent_key_is_none(ctx: &Ctx) -> TestResult {
    assert_eq!(ctx.store.ttl(&ctx.key("k")).await?, None);
    Ok(())
}

/// The remaining lifetime decreases with time.
async fn ttl_decreases_with_time(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "v").await?;
    // Longer than a step of a store that rounds up.
    let time = ctx.granularity() * 2 + ctx.short_time();
    ctx.pass(time).await;
    let most = (LONG_TIME + ctx.granularity()).saturating_sub(time);
    let entry = ctx.store.get_entry(&key).await?.expect("the entry is live");
    for ttl in [ctx.store.ttl(&key).await?, Some(entry.ttl)] {
        assert!(
            matches!(ttl, Some(Ttl::Remaining(left)) if left <= most),
            "the ttl is {ttl:?} after {time:?}, expected at most {most:?}"
        );
    }
    Ok(())
}

/// A lifetime begins with the write: no read lengthens or shortens it, or removes the value.
async fn reads_change_neither_value_nor_lifetime(ctx: &Ctx) -> TestResult {
    let (key, forever) = (ctx.key("k"), ctx.key("forever"));
    let start = ctx.now();
    ctx.put(&key, "v").await?;
    ctx.put_for(&forever, "v", Expiry::Never).await?;
    let before = ctx.store.get_entry(&key).await?.expect("the entry is live");
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
    ctx.expect_lifetime(&key, LONG, start, "after many reads").await?;
    ctx.expect_lifetime(&forever, Expiry::Never, start, "after many reads").await?;
    let after = ctx.store.get_entry(&key).await?.expect("the entry is live");
    assert_eq!(before.stamp, after.stamp, "the stamp changed without a write");
    Ok(())
}
