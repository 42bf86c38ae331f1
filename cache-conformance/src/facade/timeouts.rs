use std::time::{Duration, SystemTime};

use cache_core::{ErrorKind, Timeout, Ttl, secs};

use crate::{
    ctx::{Ctx, skip},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    d13_zero_or_past_deletes_for_set,
    d13_zero_or_past_answers_for_add_and_stores_nothing,
    d13_zero_or_past_removes_for_replace_and_touch,
    d13_zero_or_past_answers_for_incr_or_and_stores_nothing,
    d13_zero_or_past_loads_and_stores_nothing,
    d13_zero_or_past_removes_for_update,
    d14_no_float_makes_an_immortal_entry,
    the_default_is_the_aliass_and_else_five_minutes,
    never_must_be_written_out,
    a_time_of_the_wall_is_a_timeout,
    d15_no_timeout_makes_a_write_disappear,
    d03_d04_an_entry_lives_as_long_as_asked(timed),
];

/// What means "do not keep it".
fn nothing() -> [Timeout; 3] {
    [secs(0), Timeout::At(SystemTime::UNIX_EPOCH), Timeout::secs_f64(-1.0).expect("a past time")]
}

/// "Zero or past: `set`, `set_many` delete" (D13).
async fn d13_zero_or_past_deletes_for_set(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for timeout in nothing() {
        cache.set_many([("a", 1), ("b", 2), ("c", 3)], None).await?.into_result()?;
        cache.set("a", &9, timeout).await?;
        assert!(!cache.has_key("a").await?, "set with {timeout:?}");
        assert!(cache.set_many([("b", 9), ("c", 9), ("absent", 9)], timeout).await?.is_empty());
        assert!(cache.get_many::<i32, _>(["b", "c", "absent"]).await?.is_empty(), "{timeout:?}");
        cache.set_bytes("a", "x", None).await?;
        cache.set_bytes("a", "y", timeout).await?;
        assert!(!cache.has_key("a").await?, "set_bytes with {timeout:?}");
    }
    Ok(())
}

/// "`add` answers whether the key was absent and stores nothing" (D13).
async fn d13_zero_or_past_answers_for_add_and_stores_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("live", &1, None).await?;
    for timeout in nothing() {
        assert!(cache.add("absent", &9, timeout).await?, "{timeout:?}");
        assert!(!cache.has_key("absent").await?, "{timeout:?}");
        assert!(!cache.add("live", &9, timeout).await?, "{timeout:?}");
        assert_eq!(cache.get::<i32>("live").await?, Some(1), "{timeout:?}");
    }
    Ok(())
}

/// "`replace` and `touch` answer whether it was live and remove it" (D13).
async fn d13_zero_or_past_removes_for_replace_and_touch(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for timeout in nothing() {
        cache.set_many([("replaced", 1), ("touched", 1)], Timeout::Never).await?.into_result()?;
        assert!(cache.replace("replaced", &9, timeout).await?, "{timeout:?}");
        assert!(cache.touch("touched", timeout).await?, "{timeout:?}");
        assert!(!cache.replace("replaced", &9, timeout).await?, "{timeout:?}");
        assert!(!cache.touch("touched", timeout).await?, "{timeout:?}");
        assert!(cache.get_many::<i32, _>(["replaced", "touched"]).await?.is_empty(), "{timeout:?}");
    }
    Ok(())
}

/// "`incr_or` ... answer and store nothing (D13)"; a live counter goes on.
async fn d13_zero_or_past_answers_for_incr_or_and_stores_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("live", &0, Timeout::Never).await?;
    for (n, timeout) in (1..).zip(nothing()) {
        assert_eq!(cache.incr_or("absent", 1, 10, timeout).await?, 11, "{timeout:?}");
        assert!(!cache.has_key("absent").await?, "{timeout:?}");
        assert_eq!(cache.incr_or("live", 1, 10, timeout).await?, n, "{timeout:?}");
        assert_eq!(cache.ttl("live").await?, Some(Ttl::Forever), "{timeout:?}");
    }
    Ok(())
}

/// "... and `get_or_set` answer and store nothing (D13)".
async fn d13_zero_or_past_loads_and_stores_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("live", &1, None).await?;
    for timeout in nothing() {
        assert_eq!(cache.get_or_set("absent", timeout, || async { 7 }).await?, 7, "{timeout:?}");
        assert!(!cache.has_key("absent").await?, "{timeout:?}");
        assert_eq!(cache.get_or_set("live", timeout, || async { 7 }).await?, 1, "{timeout:?}");
        assert!(cache.has_key("live").await?, "{timeout:?}");
    }
    Ok(())
}

/// `update` writes as `set` does, so it removes (D13).
async fn d13_zero_or_past_removes_for_update(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for timeout in nothing() {
        cache.set("k", &1, None).await?;
        assert_eq!(cache.update("k", timeout, |it: i32| it + 1).await?, Some(2), "{timeout:?}");
        assert!(!cache.has_key("k").await?, "{timeout:?}");
    }
    Ok(())
}

/// "A float constructor rejects NaN and infinity (D14: immortal keys)."
async fn d14_no_float_makes_an_immortal_entry(ctx: &Ctx) -> TestResult {
    for odd in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 1e30] {
        let error = Timeout::secs_f64(odd).expect_err("no duration can hold it");
        assert_eq!(error.kind(), ErrorKind::Config, "{odd}");
    }
    let cache = ctx.cache();
    cache.set("k", &1, Timeout::secs_f64(1e6)?).await?;
    assert!(matches!(cache.ttl("k").await?, Some(Ttl::Remaining(_))));
    Ok(())
}

/// "The alias's default is 300 s if its settings say nothing."
async fn the_default_is_the_aliass_and_else_five_minutes(ctx: &Ctx) -> TestResult {
    let default = Duration::from_secs(300);
    let own = Duration::from_secs(5000);
    let (cache, of_its_own) = (
        ctx.builder().timeout(Timeout::Default).build("a")?,
        ctx.builder().timeout(own).build("b")?,
    );
    let start = ctx.now();
    for (cache, expected) in [(&cache, default), (&of_its_own, own)] {
        for timeout in [Timeout::Default, None.into(), Timeout::default()] {
            cache.set("set", &1, timeout).await?;
            cache.set_many([("batch", 1)], timeout).await?.into_result()?;
            cache.delete_many(["added", "counted", "loaded"]).await?;
            cache.add("added", &1, timeout).await?;
            cache.incr_or("counted", 1, 0, timeout).await?;
            cache.get_or_set("loaded", timeout, || async { 1 }).await?;
            cache.update("set", timeout, |it: i32| it).await?;
            cache.touch("added", timeout).await?;
            for key in ["set", "batch", "added", "counted", "loaded"] {
                ctx.assert_remains(cache.ttl(key).await?, expected, start, key);
            }
        }
    }
    let forever = ctx.builder().timeout(Timeout::Never).build("c")?;
    forever.set("k", &1, None).await?;
    assert_eq!(forever.ttl("k").await?, Some(Ttl::Forever));
    let off = ctx.builder().timeout(secs(0)).build("d")?;
    off.set("k", &1, None).await?;
    assert!(!off.has_key("k").await?, "a default of zero keeps nothing");
    Ok(())
}

/// "`Never` must be written out, so that an unset option cannot make an immortal entry."
async fn never_must_be_written_out(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let unset: Option<Duration> = None;
    cache.set("k", &1, unset).await?;
    assert!(matches!(cache.ttl("k").await?, Some(Ttl::Remaining(_))), "unset is the default");
    cache.set("k", &1, Timeout::Never).await?;
    assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    Ok(())
}

/// `Timeout::At`: until that time of the wall clock.
async fn a_time_of_the_wall_is_a_timeout(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let start = ctx.now();
    let hour = Duration::from_secs(3600);
    cache.set("k", &1, ctx.wall() + hour).await?;
    let Some(Ttl::Remaining(left)) = cache.ttl("k").await? else { panic!("it has a lifetime") };
    let passed = ctx.since(start);
    let slack = ctx.granularity() + Duration::from_secs(1);
    assert!(left + passed + slack >= hour && left <= hour + slack, "{left:?} are left of {hour:?}");
    let before =
        ctx.wall().checked_sub(Duration::from_secs(1)).expect("there was a second before this one");
    cache.set("k", &2, before).await?;
    assert!(!cache.has_key("k").await?, "a past time keeps nothing");
    Ok(())
}

/// "no lifetime makes a write disappear (D15)".
async fn d15_no_timeout_makes_a_write_disappear(ctx: &Ctx) -> TestResult {
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
        assert!(cache.touch("k", timeout).await?, "{timeout:?}");
        assert!(cache.has_key("k").await?, "{timeout:?}");
    }
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000 * 365 * day);
    cache.set("k", &2, far).await?;
    assert_eq!(cache.get::<i32>("k").await?, Some(2), "a time far away");
    Ok(())
}

/// "Never early: an entry lives at least as long as asked (D3, D4)", through the facade as well; then it is a miss.
async fn d03_d04_an_entry_lives_as_long_as_asked(ctx: &Ctx) -> TestResult {
    if !ctx.moves_time() {
        return skip("in real time the store's own tests look at this");
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
