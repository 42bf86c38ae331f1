use std::time::Duration;

use cache_core::store::{CounterInit, Expected, Expiry, SetMode, TtlUpdate};

use crate::{
    ctx::{Ctx, LONG},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    entry_of_half_a_second_lives_half_a_second(timed),
    entry_of_one_second_lives_one_second(timed),
    shortest_lifetime_is_rounded_up(timed),
    expired_entry_is_absent_for_reads(timed),
    expired_entry_is_absent_for_add(timed),
    expired_entry_is_absent_for_replace(timed),
    touch_of_an_expired_entry_does_not_revive_it(timed),
    expired_entry_is_absent_for_delete(timed),
    expired_entry_is_absent_for_pop(timed),
    expired_entry_is_absent_for_incr(timed),
    expired_entry_is_absent_for_comparisons(timed),
    expired_entry_is_absent_for_rename(timed),
    expired_entry_can_be_written_again(timed),
    each_entry_expires_by_its_own_lifetime(timed),
];

/// An entry of half a second is not lost at once, as it is in stores of whole seconds that round
/// down.
async fn entry_of_half_a_second_lives_half_a_second(ctx: &Ctx) -> TestResult {
    never_early(ctx, Duration::from_millis(500)).await
}

/// An entry of one second does not expire when the store's clock reaches the next second.
async fn entry_of_one_second_lives_one_second(ctx: &Ctx) -> TestResult {
    // Several times, so that entries begin at different parts of the store's second.
    for _ in 0..if ctx.can_move_time() { 10 } else { 2 } {
        never_early(ctx, Duration::from_secs(1)).await?;
        ctx.pass(Duration::from_millis(330)).await;
    }
    Ok(())
}

/// A lifetime below the step of the store's clock is rounded up, not to nothing.
async fn shortest_lifetime_is_rounded_up(ctx: &Ctx) -> TestResult {
    for life in [Duration::from_nanos(1), Duration::from_micros(1), Duration::from_millis(1)] {
        let key = ctx.key(life.as_nanos());
        let start = ctx.now();
        ctx.put_for(&key, "v", Expiry::After(life)).await?;
        let found = ctx.get(&key).await?;
        assert!(
            found.is_some() || ctx.since(start) >= life,
            "a lifetime of {life:?} was rounded down to nothing"
        );
        ctx.outlive(life).await;
        ctx.expect(&key, None, "after its lifetime").await?;
    }
    Ok(())
}

/// Checks that entries live at least `life`, whatever call wrote them, and expire after `life` and
/// one step.
async fn never_early(ctx: &Ctx, life: Duration) -> TestResult {
    let (set, added, touched) = (ctx.key("set"), ctx.key("added"), ctx.key("touched"));
    let (counted, swapped, moved) = (ctx.key("counted"), ctx.key("swapped"), ctx.key("moved"));
    let expiry = Expiry::After(life);
    for key in [&touched, &swapped, &moved] {
        ctx.put(key, "1").await?;
    }
    let start = ctx.now();
    ctx.put_for(&set, "1", expiry).await?;
    assert!(ctx.store.set(&added, "1".into(), expiry, SetMode::IfAbsent).await?);
    assert!(ctx.store.touch(&touched, expiry).await?);
    ctx.store.incr(&counted, 1, Some(CounterInit::new(0, expiry))).await?;
    assert!(
        ctx.store
            .compare_and_set(&swapped, Expected::value(b"1"), "1".into(), TtlUpdate::New(expiry))
            .await?
    );
    let from = ctx.key("from");
    loop {
        let start = ctx.now();
        ctx.put_for(&from, "1", expiry).await?;
        if ctx.store.rename(&from, &moved).await? {
            break;
        }
        // The entry may have expired between the calls. Otherwise `rename` failed.
        assert!(ctx.since(start) >= life, "rename of a live key returned false");
    }
    let keys = [&set, &added, &touched, &counted, &swapped, &moved];
    let written = ctx.now();

    while ctx.since(start) < life {
        for key in keys {
            let found = ctx.get(key).await?;
            // If the reply came within the lifetime, the store read the entry within the lifetime.
            let age = ctx.since(start);
            assert!(
                age >= life || found.is_some(),
                "{key} is absent after {age:?}, expected a life of {life:?}"
            );
        }
        // To the last millisecond, if the test moves the time.
        let left = life.saturating_sub(ctx.since(start) + Duration::from_millis(1));
        let step =
            if ctx.can_move_time() { left.min(life / 20) } else { Duration::from_millis(10) };
        ctx.pass(step.max(Duration::from_millis(1))).await;
    }
    // The last lifetime began when all were written, or before.
    ctx.outlive(life.saturating_sub(ctx.since(written))).await;
    for key in keys {
        ctx.expect(key, None, "after its lifetime").await?;
    }
    Ok(())
}

/// No read returns an expired entry.
async fn expired_entry_is_absent_for_reads(ctx: &Ctx) -> TestResult {
    let (key, live) = (ctx.key("expired"), ctx.key("live"));
    ctx.put(&live, "v").await?;
    ctx.put_expired(&key, "v").await?;
    returned!(ctx.store.has(&key).await?, false, "has_key");
    assert_eq!(ctx.store.ttl(&key).await?, None, "ttl");
    assert_eq!(ctx.store.get_entry(&key).await?, None, "get_entry");
    let mut entries = ctx.store.get_entries(&[&key, &live]).await.into_iter();
    assert_eq!(entries.next().expect("two results")?, None, "get_entries");
    assert!(entries.next().expect("two results")?.is_some(), "get_entries");
    let mut values = ctx.store.get_many(&[&live, &key]).await.into_iter();
    assert!(values.next().expect("two results")?.is_some(), "get_many");
    assert_eq!(values.next().expect("two results")?, None, "get_many");
    ctx.expect(&key, None, "get").await?;
    Ok(())
}

/// `add` writes over an expired entry.
async fn expired_entry_is_absent_for_add(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put_expired(&key, "old").await?;
    let start = ctx.now();
    assert!(ctx.store.set(&key, "new".into(), LONG, SetMode::IfAbsent).await?);
    ctx.expect(&key, Some(b"new"), "after add").await?;
    ctx.expect_lifetime(&key, LONG, start, "after add").await?;
    Ok(())
}

/// `replace` of an expired entry returns `false` and stores nothing.
async fn expired_entry_is_absent_for_replace(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put_expired(&key, "old").await?;
    assert!(!ctx.store.set(&key, "new".into(), LONG, SetMode::IfPresent).await?);
    ctx.expect(&key, None, "after replace").await?;
    Ok(())
}

/// `touch` of an expired entry returns `false` and does not revive it.
async fn touch_of_an_expired_entry_does_not_revive_it(ctx: &Ctx) -> TestResult {
    let (long, never) = (ctx.key("long"), ctx.key("never"));
    ctx.put_for(&long, "v", ctx.short()).await?;
    ctx.put_expired(&never, "v").await?;
    returned!(ctx.store.touch(&long, LONG).await?, false, "touch of an expired entry");
    returned!(ctx.store.touch(&never, Expiry::Never).await?, false, "touch of an expired entry");
    ctx.expect(&long, None, "after touch").await?;
    ctx.expect(&never, None, "after touch").await?;
    Ok(())
}

/// `delete` and `delete_many` of an expired entry return `false`.
async fn expired_entry_is_absent_for_delete(ctx: &Ctx) -> TestResult {
    let (one, many, live) = (ctx.key("one"), ctx.key("many"), ctx.key("live"));
    ctx.put(&live, "v").await?;
    ctx.put_for(&one, "v", ctx.short()).await?;
    ctx.put_expired(&many, "v").await?;
    returned!(ctx.store.delete(&one).await?, false, "delete of an expired entry");
    let answers: Result<Vec<_>, _> =
        ctx.store.delete_many(&[&many, &live]).await.into_iter().collect();
    assert_eq!(answers?, [false, true]);
    Ok(())
}

/// `take` of an expired entry returns nothing.
async fn expired_entry_is_absent_for_pop(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put_expired(&key, "v").await?;
    assert_eq!(ctx.store.take(&key).await?, None);
    Ok(())
}

/// `incr` of an expired counter finds no key; with a [`CounterInit`] it starts again, with its own
/// lifetime.
async fn expired_entry_is_absent_for_incr(ctx: &Ctx) -> TestResult {
    let (counter, text) = (ctx.key("counter"), ctx.key("text"));
    ctx.put_for(&text, "not a number", ctx.short()).await?;
    ctx.put_expired(&counter, "41").await?;
    assert_eq!(ctx.store.incr(&counter, 1, None).await?, None);
    ctx.expect(&counter, None, "after incr").await?;
    for key in [&counter, &text] {
        let start = ctx.now();
        let create = Some(CounterInit::new(10, LONG));
        assert_eq!(ctx.store.incr(key, 1, create).await?, Some(11));
        ctx.expect_lifetime(key, LONG, start, "after incr_or").await?;
    }
    Ok(())
}

/// A comparison with an expired entry is false.
async fn expired_entry_is_absent_for_comparisons(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put_for(&key, "v", ctx.short()).await?;
    let seen = ctx.store.get_entry(&key).await?;
    ctx.outlive_short().await;
    assert!(!ctx.store.compare_and_delete(&key, Expected::value(b"v")).await?);
    for lifetime in [TtlUpdate::Keep, TtlUpdate::New(LONG), TtlUpdate::New(Expiry::Never)] {
        assert!(
            !ctx.store.compare_and_set(&key, Expected::value(b"v"), "new".into(), lifetime).await?
        );
        if let Some(seen) = &seen {
            assert!(
                !ctx.store
                    .compare_and_set(&key, Expected::entry(seen), "new".into(), lifetime)
                    .await?
            );
        }
    }
    ctx.expect(&key, None, "after compare_and_set").await?;
    Ok(())
}

/// `rename` of an expired entry returns `false` and leaves the target; a rename onto an expired
/// entry works.
async fn expired_entry_is_absent_for_rename(ctx: &Ctx) -> TestResult {
    let (expired, live) = (ctx.key("expired"), ctx.key("live"));
    let start = ctx.now();
    ctx.put(&live, "live").await?;
    ctx.put_expired(&expired, "expired").await?;
    assert!(!ctx.store.rename(&expired, &live).await?);
    ctx.expect(&live, Some(b"live"), "after a rename of an expired entry").await?;
    ctx.expect_lifetime(&live, LONG, start, "after a rename of an expired entry").await?;
    assert!(ctx.store.rename(&live, &expired).await?);
    ctx.expect(&expired, Some(b"live"), "after a rename").await?;
    ctx.expect_lifetime(&expired, LONG, start, "after a rename").await?;
    Ok(())
}

/// Neither value nor lifetime of an expired entry affects the next entry of the key.
async fn expired_entry_can_be_written_again(ctx: &Ctx) -> TestResult {
    let (one, many) = (ctx.key("one"), ctx.key("many"));
    ctx.put_for(&one, "old", ctx.short()).await?;
    ctx.put_expired(&many, "old").await?;
    let start = ctx.now();
    ctx.put(&one, "new").await?;
    ctx.store.set_many(&[(&many, "new".into())], LONG).await.pop().expect("one result")?;
    for key in [&one, &many] {
        ctx.expect(key, Some(b"new"), "after set").await?;
        ctx.expect_lifetime(key, LONG, start, "after set").await?;
    }
    Ok(())
}

/// An entry that expires leaves entries with longer lifetimes alone.
async fn each_entry_expires_by_its_own_lifetime(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(20);
    for (n, key) in keys.iter().enumerate() {
        let expiry = match n % 3 {
            0 => ctx.short(),
            1 => LONG,
            _ => Expiry::Never,
        };
        ctx.put_for(key, "v", expiry).await?;
    }
    ctx.outlive_short().await;
    for (n, key) in keys.iter().enumerate() {
        let expected = (n % 3 != 0).then_some(&b"v"[..]);
        ctx.expect(key, expected, "after the short lifetime").await?;
    }
    Ok(())
}
