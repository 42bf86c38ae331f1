use std::time::Duration;

use cache_core::{Create, Expiry, Lifetime, Seen, SetMode, Ttl};

use crate::{
    ctx::{Ctx, LONG},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    d03_half_a_second_is_not_lost_at_once(timed),
    d04_a_second_is_never_early(timed),
    the_shortest_lifetime_is_kept(timed),
    an_expired_entry_is_absent_for_reads(timed),
    an_expired_entry_is_absent_for_add(timed),
    an_expired_entry_is_absent_for_replace(timed),
    d01_touch_never_revives(timed),
    an_expired_entry_is_absent_for_delete(timed),
    an_expired_entry_is_absent_for_pop(timed),
    an_expired_entry_is_absent_for_incr(timed),
    an_expired_entry_is_absent_for_comparisons(timed),
    an_expired_entry_is_absent_for_rename(timed),
    an_expired_entry_can_be_written_again(timed),
    lifetimes_end_one_by_one(timed),
    d15_more_than_thirty_days_work,
    d15_centuries_work,
    d15_the_longest_lifetime_is_never,
    a_long_life_outlives_thirty_days(timed),
    a_step_of_the_wall_clock_changes_no_lifetime(timed),
];

/// "Never early: an entry lives at least as long as asked (D3, D4: Django loses a 0.5 s entry at once ...)".
async fn d03_half_a_second_is_not_lost_at_once(ctx: &Ctx) -> TestResult {
    never_early(ctx, Duration::from_millis(500)).await
}

/// "... and a 1 s entry up to 1 s early".
async fn d04_a_second_is_never_early(ctx: &Ctx) -> TestResult {
    // Several, so that one falls at each part of the store's own second.
    for _ in 0..if ctx.moves_time() { 10 } else { 2 } {
        never_early(ctx, Duration::from_secs(1)).await?;
        ctx.pass(Duration::from_millis(330)).await;
    }
    Ok(())
}

/// A lifetime below the store's steps is rounded up, not away.
async fn the_shortest_lifetime_is_kept(ctx: &Ctx) -> TestResult {
    for life in [Duration::from_nanos(1), Duration::from_micros(1), Duration::from_millis(1)] {
        let key = ctx.key(life.as_nanos());
        let start = ctx.now();
        ctx.put_for(&key, "v", Expiry::After(life)).await?;
        let found = ctx.get(&key).await?;
        assert!(found.is_some() || ctx.since(start) >= life, "{life:?} was rounded to nothing");
        ctx.outlive(life).await;
        ctx.expect(&key, None, "after its life").await?;
    }
    Ok(())
}

/// Live until the last moment, and gone when the store's step is over as well.
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
    ctx.store.incr(&counted, 1, Some(CounterInit { initial: 0, expiry })).await?;
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
        // Only where that took longer than a life does it begin anew.
        assert!(ctx.since(start) >= life, "it is live, and was not moved");
    }
    let keys = [&set, &added, &touched, &counted, &swapped, &moved];
    let written = ctx.now();

    while ctx.since(start) < life {
        for key in keys {
            let found = ctx.get(key).await?;
            // The answer came in time, so the read was in time.
            let age = ctx.since(start);
            assert!(
                age >= life || found.is_some(),
                "{key} was to live {life:?} and is gone after {age:?}"
            );
        }
        // To the last millisecond of it, where time obeys.
        let left = life.saturating_sub(ctx.since(start) + Duration::from_millis(1));
        let step = if ctx.moves_time() { left.min(life / 20) } else { Duration::from_millis(10) };
        ctx.pass(step.max(Duration::from_millis(1))).await;
    }
    // The last of them began to live when all were written, at the latest.
    ctx.outlive(life.saturating_sub(ctx.since(written))).await;
    for key in keys {
        ctx.expect(key, None, "after its life").await?;
    }
    Ok(())
}

/// "An expired entry is absent": `get`, `get_many`, `get_entry`, `get_entries`, `has_key`, `ttl`.
async fn an_expired_entry_is_absent_for_reads(ctx: &Ctx) -> TestResult {
    let (key, live) = (ctx.key("expired"), ctx.key("live"));
    ctx.put(&live, "v").await?;
    ctx.put_expired(&key, "v").await?;
    assert!(!ctx.store.has(&key).await?, "has_key");
    assert_eq!(ctx.store.ttl(&key).await?, None, "ttl");
    assert_eq!(ctx.store.get_entry(&key).await?, None, "get_entry");
    let mut entries = ctx.store.get_entries(&[&key, &live]).await.into_iter();
    assert_eq!(entries.next().expect("two answers")?, None, "get_entries");
    assert!(entries.next().expect("two answers")?.is_some(), "get_entries");
    let mut values = ctx.store.get_many(&[&live, &key]).await.into_iter();
    assert!(values.next().expect("two answers")?.is_some(), "get_many");
    assert_eq!(values.next().expect("two answers")?, None, "get_many");
    ctx.expect(&key, None, "get").await?;
    Ok(())
}

/// `add`: "an expired entry counts as absent".
async fn an_expired_entry_is_absent_for_add(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put_expired(&key, "old").await?;
    let start = ctx.now();
    assert!(ctx.store.set(&key, "new".into(), LONG, SetMode::IfAbsent).await?);
    ctx.expect(&key, Some(b"new"), "after add").await?;
    ctx.expect_life(&key, LONG, start, "after add").await?;
    Ok(())
}

/// `replace`: "atomic set-if-present", and expired is not present.
async fn an_expired_entry_is_absent_for_replace(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put_expired(&key, "old").await?;
    assert!(!ctx.store.set(&key, "new".into(), LONG, SetMode::IfPresent).await?);
    ctx.expect(&key, None, "after replace").await?;
    Ok(())
}

/// `touch`: "never revives (D1)".
async fn d01_touch_never_revives(ctx: &Ctx) -> TestResult {
    let (long, never) = (ctx.key("long"), ctx.key("never"));
    ctx.put_for(&long, "v", ctx.short()).await?;
    ctx.put_expired(&never, "v").await?;
    assert!(!ctx.store.touch(&long, LONG).await?, "it had expired");
    assert!(!ctx.store.touch(&never, Expiry::Never).await?, "it had expired");
    ctx.expect(&long, None, "after touch").await?;
    ctx.expect(&never, None, "after touch").await?;
    Ok(())
}

/// `delete` and `delete_many`: what has expired was not there.
async fn an_expired_entry_is_absent_for_delete(ctx: &Ctx) -> TestResult {
    let (one, many, live) = (ctx.key("one"), ctx.key("many"), ctx.key("live"));
    ctx.put(&live, "v").await?;
    ctx.put_for(&one, "v", ctx.short()).await?;
    ctx.put_expired(&many, "v").await?;
    assert!(!ctx.store.delete(&one).await?, "it had expired");
    let answers: Result<Vec<_>, _> =
        ctx.store.delete_many(&[&many, &live]).await.into_iter().collect();
    assert_eq!(answers?, [false, true]);
    Ok(())
}

/// `pop` does not give out what has expired.
async fn an_expired_entry_is_absent_for_pop(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put_expired(&key, "v").await?;
    assert_eq!(ctx.store.take(&key).await?, None);
    Ok(())
}

/// `incr` of an expired counter is `KeyNotFound`; `incr_or` begins anew, with its own lifetime.
async fn an_expired_entry_is_absent_for_incr(ctx: &Ctx) -> TestResult {
    let (counter, text) = (ctx.key("counter"), ctx.key("text"));
    ctx.put_for(&text, "no number", ctx.short()).await?;
    ctx.put_expired(&counter, "41").await?;
    assert_eq!(ctx.store.incr(&counter, 1, None).await?, None);
    ctx.expect(&counter, None, "after incr").await?;
    for key in [&counter, &text] {
        let start = ctx.now();
        let create = Some(CounterInit { initial: 10, expiry: LONG });
        assert_eq!(ctx.store.incr(key, 1, create).await?, Some(11));
        ctx.expect_life(key, LONG, start, "after incr_or").await?;
    }
    Ok(())
}

/// What has expired is no longer "as it was seen".
async fn an_expired_entry_is_absent_for_comparisons(ctx: &Ctx) -> TestResult {
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

/// `rename` of what has expired answers `false`, and its target stays; an expired target is no obstacle.
async fn an_expired_entry_is_absent_for_rename(ctx: &Ctx) -> TestResult {
    let (expired, live) = (ctx.key("expired"), ctx.key("live"));
    let start = ctx.now();
    ctx.put(&live, "live").await?;
    ctx.put_expired(&expired, "expired").await?;
    assert!(!ctx.store.rename(&expired, &live).await?);
    ctx.expect(&live, Some(b"live"), "after a rename of nothing").await?;
    ctx.expect_life(&live, LONG, start, "after a rename of nothing").await?;
    assert!(ctx.store.rename(&live, &expired).await?);
    ctx.expect(&expired, Some(b"live"), "after a rename").await?;
    ctx.expect_life(&expired, LONG, start, "after a rename").await?;
    Ok(())
}

/// Nothing of an expired entry shows in the next one.
async fn an_expired_entry_can_be_written_again(ctx: &Ctx) -> TestResult {
    let (one, many) = (ctx.key("one"), ctx.key("many"));
    ctx.put_for(&one, "old", ctx.short()).await?;
    ctx.put_expired(&many, "old").await?;
    let start = ctx.now();
    ctx.put(&one, "new").await?;
    ctx.store.set_many(&[(&many, "new".into())], LONG).await.pop().expect("one answer")?;
    for key in [&one, &many] {
        ctx.expect(key, Some(b"new"), "after set").await?;
        ctx.expect_life(key, LONG, start, "after set").await?;
    }
    Ok(())
}

/// The end of one entry says nothing about another.
async fn lifetimes_end_one_by_one(ctx: &Ctx) -> TestResult {
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
        ctx.expect(key, expected, "after the short lifetimes").await?;
    }
    Ok(())
}

const DAY: Duration = Duration::from_secs(86_400);

/// "Over 30 days works on memcached", as everywhere; "no lifetime makes a write disappear (D15)".
async fn d15_more_than_thirty_days_work(ctx: &Ctx) -> TestResult {
    for days in [29, 30, 31, 60, 365, 3650] {
        let key = ctx.key(days);
        let start = ctx.now();
        // A second more: 30 days to the second are a border in memcached.
        let expiry = Expiry::After(DAY * days + Duration::from_secs(1));
        ctx.put_for(&key, "v", expiry).await?;
        ctx.expect(&key, Some(b"v"), "within days").await?;
        ctx.expect_life(&key, expiry, start, "within days").await?;
        assert!(ctx.store.touch(&key, expiry).await?);
        ctx.expect(&key, Some(b"v"), "after touch").await?;
    }
    Ok(())
}

/// "A lifetime too long for the store's type saturates to never": what is too long for 32 bits of seconds, and for
/// 64 of nanoseconds.
async fn d15_centuries_work(ctx: &Ctx) -> TestResult {
    for years in [69, 137, 300, 1000, 10_000, 1_000_000, 300_000_000] {
        lives(ctx, DAY * 365 * years, &format!("{years} years")).await?;
    }
    for shift in [31, 32, 42, 53, 54, 62, 63] {
        lives(ctx, Duration::from_millis(1 << shift), &format!("2^{shift} ms")).await?;
        lives(ctx, Duration::from_secs(1 << shift), &format!("2^{shift} s")).await?;
    }
    Ok(())
}

/// "More than it can represent is [`Expiry::Never`]."
async fn d15_the_longest_lifetime_is_never(ctx: &Ctx) -> TestResult {
    for (name, life) in [
        ("max", Duration::MAX),
        ("less", Duration::MAX.saturating_sub(Duration::from_nanos(1))),
        ("u64 ms", Duration::from_millis(u64::MAX)),
        ("i64 s", Duration::from_secs(u64::MAX / 2)),
    ] {
        lives(ctx, life, name).await?;
    }
    Ok(())
}

/// Every way of giving a lifetime takes a long one.
async fn lives(ctx: &Ctx, life: Duration, name: &str) -> TestResult {
    let (start, expiry) = (ctx.now(), Expiry::After(life));
    let keys = ["set", "added", "touched", "counted", "batch", "swapped"].map(|it| ctx.key(it));
    let [set, added, touched, counted, batch, swapped] = &keys;
    ctx.store.delete_many(&[added, counted]).await;
    ctx.put(touched, "1").await?;
    ctx.put(swapped, "1").await?;
    ctx.put_for(set, "1", expiry).await?;
    assert!(ctx.store.set(added, "1".into(), expiry, SetMode::IfAbsent).await?);
    assert!(ctx.store.touch(touched, expiry).await?);
    ctx.store.incr(counted, 1, Some(CounterInit { initial: 0, expiry })).await?;
    ctx.store.set_many(&[(batch, "1".into())], expiry).await.pop().expect("one answer")?;
    assert!(
        ctx.store
            .compare_and_set(swapped, Expected::value(b"1"), "1".into(), TtlUpdate::New(expiry))
            .await?
    );
    for key in &keys {
        ctx.expect(key, Some(b"1"), name).await?;
        let ttl = ctx.store.ttl(key).await?;
        // Of more than a lifetime it does not matter how much.
        let least = life.min(DAY * 365 * 60).saturating_sub(ctx.since(start) + ctx.granularity());
        let least = least.saturating_sub(ctx.haste());
        assert!(ttl.is_some_and(|it| it.at_least(least)), "{key}, {name}: the ttl is {ttl:?}");
        let entry = ctx.store.get_entry(key).await?.expect("it is there");
        assert!(entry.ttl.at_least(least), "{key}, {name}: the ttl is {:?}", entry.ttl);
    }
    Ok(())
}

/// Where time can be moved: a life of 40 days is not one of 30, and "never" is longer than a century.
async fn a_long_life_outlives_thirty_days(ctx: &Ctx) -> TestResult {
    if !ctx.moves_time() {
        return crate::ctx::skip("this store's time cannot be moved");
    }
    let (days, never) = (ctx.key("days"), ctx.key("never"));
    ctx.put_for(&days, "v", Expiry::After(DAY * 40)).await?;
    ctx.put_for(&never, "v", Expiry::Never).await?;
    ctx.pass(DAY * 39).await;
    ctx.expect(&days, Some(b"v"), "after 39 of 40 days").await?;
    ctx.outlive(DAY).await;
    ctx.expect(&days, None, "after 40 days").await?;
    ctx.pass(DAY * 365 * 150).await;
    ctx.expect(&never, Some(b"v"), "after 150 years").await?;
    assert_eq!(ctx.store.ttl(&never).await?, Some(Ttl::Forever));
    Ok(())
}

/// "In process a monotonic clock decides": a trap is "a clock that steps back".
async fn a_step_of_the_wall_clock_changes_no_lifetime(ctx: &Ctx) -> TestResult {
    let Some(time) = ctx.clock().filter(|_| !ctx.facts.shared && !ctx.facts.persistent) else {
        return crate::ctx::skip("this store follows a wall clock, or its time cannot be moved");
    };
    let (short, long) = (ctx.key("short"), ctx.key("long"));
    let wall = time.clock().wall();
    for steps_to in [wall.checked_sub(DAY), wall.checked_add(DAY)].into_iter().flatten() {
        let start = ctx.now();
        ctx.put_for(&short, "v", ctx.short()).await?;
        ctx.put(&long, "v").await?;
        time.set_wall(steps_to);
        ctx.expect_life(&long, LONG, start, "after a step").await?;
        ctx.expect(&short, Some(b"v"), "after a step").await?;
        ctx.outlive_short().await;
        ctx.expect(&short, None, "after its life").await?;
        ctx.expect(&long, Some(b"v"), "after a step").await?;
        time.set_wall(wall);
    }
    Ok(())
}
