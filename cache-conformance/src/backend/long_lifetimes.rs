//! Lifetimes of days and centuries, and steps of the wall clock.

use std::time::Duration;

use cache_core::{
    Ttl,
    store::{CounterInit, Expected, Expiry, SetMode, TtlUpdate},
};

use crate::{
    ctx::{Ctx, LONG, skip},
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    lifetime_over_thirty_days_keeps_the_entry,
    lifetime_of_centuries_keeps_the_entry,
    longest_lifetime_saturates_to_never,
    entry_of_forty_days_lives_forty_days(timed),
    wall_clock_step_changes_no_lifetime(timed),
];

const DAY: Duration = Duration::from_secs(86_400);

/// A lifetime over 30 days, which memcached takes for a date, keeps the entry.
async fn lifetime_over_thirty_days_keeps_the_entry(ctx: &Ctx) -> TestResult {
    for days in [29, 30, 31, 60, 365, 3650] {
        let key = ctx.key(days);
        let start = ctx.now();
        // One second more: exactly 30 days are the limit of memcached.
        let expiry = Expiry::After(DAY * days + Duration::from_secs(1));
        ctx.put_for(&key, "v", expiry).await?;
        ctx.expect(&key, Some(b"v"), "right after the write").await?;
        ctx.expect_lifetime(&key, expiry, start, "right after the write").await?;
        assert!(ctx.store.touch(&key, expiry).await?);
        ctx.expect(&key, Some(b"v"), "after touch").await?;
    }
    Ok(())
}

/// A lifetime longer than 32 bits of seconds or 64 bits of nanoseconds keeps the entry.
async fn lifetime_of_centuries_keeps_the_entry(ctx: &Ctx) -> TestResult {
    for years in [69, 137, 300, 1000, 10_000, 1_000_000, 300_000_000] {
        lives(ctx, DAY * 365 * years, &format!("{years} years")).await?;
    }
    for shift in [31, 32, 42, 53, 54, 62, 63] {
        lives(ctx, Duration::from_millis(1 << shift), &format!("2^{shift} ms")).await?;
        lives(ctx, Duration::from_secs(1 << shift), &format!("2^{shift} s")).await?;
    }
    Ok(())
}

/// A lifetime that the store cannot represent is `Never`.
async fn longest_lifetime_saturates_to_never(ctx: &Ctx) -> TestResult {
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

/// Checks that an entry with the lifetime `life` is live, whatever call wrote it.
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
    ctx.store.incr(counted, 1, Some(CounterInit::new(0, expiry))).await?;
    ctx.store.set_many(&[(batch, "1".into())], expiry).await.pop().expect("one result")?;
    assert!(
        ctx.store
            .compare_and_set(swapped, Expected::value(b"1"), "1".into(), TtlUpdate::New(expiry))
            .await?
    );
    for key in &keys {
        ctx.expect(key, Some(b"1"), name).await?;
        let ttl = ctx.store.ttl(key).await?;
        // A store may shorten what is longer than a human life.
        let least = life.min(DAY * 365 * 60).saturating_sub(ctx.counted_since(start));
        assert!(
            ttl.is_some_and(|it| it.at_least(least)),
            "{name}: the ttl of {key} is {ttl:?}, expected at least {least:?}"
        );
        let entry = ctx.store.get_entry(key).await?.expect("the entry is live");
        assert!(
            entry.ttl.at_least(least),
            "{name}: get_entry of {key} has the ttl {:?}, expected at least {least:?}",
            entry.ttl
        );
    }
    Ok(())
}

/// If the tests move the time: a lifetime of 40 days ends after 40 days, and `Never` outlasts a
/// century.
async fn entry_of_forty_days_lives_forty_days(ctx: &Ctx) -> TestResult {
    if !ctx.can_move_time() {
        return skip("tests cannot move the time of this store");
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

/// In a store inside the process, lifetimes follow the monotonic clock: a step of the wall clock
/// changes none.
async fn wall_clock_step_changes_no_lifetime(ctx: &Ctx) -> TestResult {
    let Some(time) =
        ctx.clock().filter(|_| !ctx.capabilities.shared && !ctx.capabilities.persistent)
    else {
        return skip("this store follows a wall clock, or tests cannot move its time");
    };
    let (short, long) = (ctx.key("short"), ctx.key("long"));
    let wall = time.clock().wall();
    for steps_to in [wall.checked_sub(DAY), wall.checked_add(DAY)].into_iter().flatten() {
        let start = ctx.now();
        ctx.put_for(&short, "v", ctx.short()).await?;
        ctx.put(&long, "v").await?;
        time.set_wall(steps_to);
        ctx.expect_lifetime(&long, LONG, start, "after a step of the wall clock").await?;
        ctx.expect(&short, Some(b"v"), "after a step of the wall clock").await?;
        ctx.outlive_short().await;
        ctx.expect(&short, None, "after its lifetime").await?;
        ctx.expect(&long, Some(b"v"), "after a step of the wall clock").await?;
        time.set_wall(wall);
    }
    Ok(())
}
