use std::time::{Duration, SystemTime};

use cache_core::{ErrorKind, Timeout, Ttl, secs};

use crate::{
    ctx::{Ctx, skip},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    set_with_a_past_timeout_deletes,
    add_with_a_past_timeout_stores_nothing,
    replace_and_touch_with_a_past_timeout_remove_the_entry,
    incr_or_with_a_past_timeout_stores_nothing,
    get_or_set_with_a_past_timeout_loads_and_stores_nothing,
    update_with_a_past_timeout_removes_the_entry,
    float_timeout_without_a_duration_is_refused,
    default_timeout_is_the_alias_setting_or_five_minutes,
    default_timeout_is_not_never,
    wall_clock_time_is_a_timeout,
    no_timeout_makes_a_write_disappear,
    cached_entry_lives_as_long_as_asked(timed),
];

/// Timeouts of zero or in the past.
fn past_timeouts() -> [Timeout; 3] {
    [
        secs(0),
        Timeout::At(SystemTime::UNIX_EPOCH),
        Timeout::secs_f64(-1.0).expect("a negative number is a past timeout"),
    ]
}

/// With a timeout of zero or in the past, `set` and `set_many` delete, also of bytes.
async fn set_with_a_past_timeout_deletes(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for timeout in past_timeouts() {
        cache.set_many([("a", 1), ("b", 2), ("c", 3)], Timeout::Default).await?.into_result()?;
        cache.set("a", &9, timeout).await?;
        returned!(cache.has_key("a").await?, false, "has_key after set with {timeout:?}");
        assert!(cache.set_many([("b", 9), ("c", 9), ("absent", 9)], timeout).await?.is_empty());
        assert!(cache.get_many::<i32, _>(["b", "c", "absent"]).await?.is_empty(), "{timeout:?}");
        cache.bytes().set("a", "x", Timeout::Default).await?;
        cache.bytes().set("a", "y", timeout).await?;
        returned!(cache.has_key("a").await?, false, "has_key after bytes().set with {timeout:?}");
    }
    Ok(())
}

/// `add` with a past timeout returns whether the key was absent, and stores nothing.
async fn add_with_a_past_timeout_stores_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("live", &1, Timeout::Default).await?;
    for timeout in past_timeouts() {
        returned!(cache.add("absent", &9, timeout).await?, true, "add of absent with {timeout:?}");
        returned!(
            cache.has_key("absent").await?,
            false,
            "has_key of absent after a call with {timeout:?}"
        );
        returned!(cache.add("live", &9, timeout).await?, false, "add of live with {timeout:?}");
        assert_eq!(cache.get::<i32>("live").await?, Some(1), "{timeout:?}");
    }
    Ok(())
}

/// `replace` and `touch` with a past timeout return whether the key was live, and remove the entry.
async fn replace_and_touch_with_a_past_timeout_remove_the_entry(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for timeout in past_timeouts() {
        cache.set_many([("replaced", 1), ("touched", 1)], Timeout::Never).await?.into_result()?;
        returned!(
            cache.replace("replaced", &9, timeout).await?,
            true,
            "replace of replaced with {timeout:?}"
        );
        returned!(
            cache.touch("touched", timeout).await?,
            true,
            "touch of touched with {timeout:?}"
        );
        returned!(
            cache.replace("replaced", &9, timeout).await?,
            false,
            "replace of replaced with {timeout:?}"
        );
        returned!(
            cache.touch("touched", timeout).await?,
            false,
            "touch of touched with {timeout:?}"
        );
        assert!(cache.get_many::<i32, _>(["replaced", "touched"]).await?.is_empty(), "{timeout:?}");
    }
    Ok(())
}

/// `incr_or` with a past timeout returns the sum and stores nothing; a live counter keeps counting.
async fn incr_or_with_a_past_timeout_stores_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("live", &0, Timeout::Never).await?;
    for (n, timeout) in (1..).zip(past_timeouts()) {
        assert_eq!(cache.incr_or("absent", 1, 10, timeout).await?, 11, "{timeout:?}");
        returned!(
            cache.has_key("absent").await?,
            false,
            "has_key of absent after a call with {timeout:?}"
        );
        assert_eq!(cache.incr_or("live", 1, 10, timeout).await?, n, "{timeout:?}");
        assert_eq!(cache.ttl("live").await?, Some(Ttl::Forever), "{timeout:?}");
    }
    Ok(())
}

/// `get_or_set` with a past timeout returns the loaded value and stores nothing.
async fn get_or_set_with_a_past_timeout_loads_and_stores_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("live", &1, Timeout::Default).await?;
    for timeout in past_timeouts() {
        assert_eq!(cache.get_or_set("absent", timeout, || async { 7 }).await?, 7, "{timeout:?}");
        returned!(
            cache.has_key("absent").await?,
            false,
            "has_key of absent after a call with {timeout:?}"
        );
        assert_eq!(cache.get_or_set("live", timeout, || async { 7 }).await?, 1, "{timeout:?}");
        returned!(
            cache.has_key("live").await?,
            true,
            "has_key of live after a call with {timeout:?}"
        );
    }
    Ok(())
}

/// `update` with a past timeout removes the entry, as `set` does.
async fn update_with_a_past_timeout_removes_the_entry(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for timeout in past_timeouts() {
        cache.set("k", &1, Timeout::Default).await?;
        assert_eq!(cache.update("k", timeout, |it: i32| it + 1).await?, Some(2), "{timeout:?}");
        returned!(cache.has_key("k").await?, false, "has_key of k after a call with {timeout:?}");
    }
    Ok(())
}

/// NaN, infinity and numbers too large for a duration are refused, so that none becomes an entry
/// that never expires.
async fn float_timeout_without_a_duration_is_refused(ctx: &Ctx) -> TestResult {
    for odd in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 1e30] {
        let error = Timeout::secs_f64(odd).expect_err("a float that is not a duration");
        assert_eq!(error.kind(), ErrorKind::Config, "{odd}");
    }
    let cache = ctx.cache();
    cache.set("k", &1, Timeout::secs_f64(1e6)?).await?;
    assert!(matches!(cache.ttl("k").await?, Some(Ttl::Remaining(_))));
    Ok(())
}

/// The default timeout is the alias's setting, or 300 s.
async fn default_timeout_is_the_alias_setting_or_five_minutes(ctx: &Ctx) -> TestResult {
    let default = Duration::from_secs(300);
    let own = Duration::from_secs(5000);
    let (cache, with_own_default) = (
        ctx.builder().timeout(Timeout::Default).build("a")?,
        ctx.builder().timeout(own).build("b")?,
    );
    let start = ctx.now();
    for (cache, expected) in [(&cache, default), (&with_own_default, own)] {
        for timeout in [Timeout::Default, Timeout::default()] {
            cache.set("set", &1, timeout).await?;
            cache.set_many([("batch", 1)], timeout).await?.into_result()?;
            cache.delete_many(["added", "counted", "loaded"]).await?;
            cache.add("added", &1, timeout).await?;
            cache.incr_or("counted", 1, 0, timeout).await?;
            cache.get_or_set("loaded", timeout, || async { 1 }).await?;
            cache.update("set", timeout, |it: i32| it).await?;
            cache.touch("added", timeout).await?;
            for key in ["set", "batch", "added", "counted", "loaded"] {
                ctx.assert_ttl(cache.ttl(key).await?, expected, start, key);
            }
        }
    }
    let forever = ctx.builder().timeout(Timeout::Never).build("c")?;
    forever.set("k", &1, Timeout::Default).await?;
    assert_eq!(forever.ttl("k").await?, Some(Ttl::Forever));
    let off = ctx.builder().timeout(secs(0)).build("d")?;
    off.set("k", &1, Timeout::Default).await?;
    returned!(off.has_key("k").await?, false, "has_key with a default timeout of zero");
    Ok(())
}

/// Only `Never` makes an entry that never expires.
async fn default_timeout_is_not_never(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &1, Timeout::Default).await?;
    assert!(
        matches!(cache.ttl("k").await?, Some(Ttl::Remaining(_))),
        "ttl after set with the default timeout"
    );
    cache.set("k", &1, Timeout::Never).await?;
    assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    Ok(())
}

/// `Timeout::At` lets an entry live until a time of the wall clock.
async fn wall_clock_time_is_a_timeout(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let start = ctx.now();
    let hour = Duration::from_secs(3600);
    cache.set("k", &1, ctx.wall() + hour).await?;
    let Some(Ttl::Remaining(left)) = cache.ttl("k").await? else {
        panic!("the ttl is not what remains of an hour")
    };
    let slack = Duration::from_secs(1);
    assert!(
        left + ctx.counted_since(start) + slack >= hour && left <= hour + ctx.granularity() + slack,
        "the ttl is {left:?}, expected what remains of {hour:?}"
    );
    let before = ctx
        .wall()
        .checked_sub(Duration::from_secs(1))
        .expect("the clock is after its first second");
    cache.set("k", &2, before).await?;
    returned!(cache.has_key("k").await?, false, "has_key after set with a past time");
    Ok(())
}

/// No timeout, however long, makes a write disappear.
async fn no_timeout_makes_a_write_disappear(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let day = 86_400;
    for timeout in [
        Duration::from_secs(60),
        Duration::from_secs(31 * day),
        Duration::from_secs(400 * 365 * day),
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ] {
        cache.set("k", &1, timeout).await?;
        assert_eq!(cache.get::<i32>("k").await?, Some(1), "{timeout:?}");
        returned!(cache.touch("k", timeout).await?, true, "touch of k with {timeout:?}");
        returned!(cache.has_key("k").await?, true, "has_key of k after a call with {timeout:?}");
    }
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000 * 365 * day);
    cache.set("k", &2, far).await?;
    assert_eq!(cache.get::<i32>("k").await?, Some(2), "get after set with a time in 10000 years");
    Ok(())
}

/// An entry lives at least as long as asked, then it is a miss.
async fn cached_entry_lives_as_long_as_asked(ctx: &Ctx) -> TestResult {
    if !ctx.can_move_time() {
        return skip("in real time the tests of the store check this");
    }
    let cache = ctx.cache();
    for life in [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(300)] {
        cache.set("k", &1, life).await?;
        ctx.pass(life.saturating_sub(Duration::from_millis(1))).await;
        assert_eq!(cache.get::<i32>("k").await?, Some(1), "{life:?}");
        ctx.outlive(Duration::from_millis(1)).await;
        assert_eq!(cache.get::<i32>("k").await?, None, "{life:?}");
        assert_eq!(cache.get_or_set("k", life, || async { 2 }).await?, 2, "{life:?}");
        assert_eq!(cache.get::<i32>("k").await?, Some(2), "{life:?}");
    }
    Ok(())
}
