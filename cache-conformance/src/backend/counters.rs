use std::time::Duration;

use cache_core::{
    ErrorKind,
    store::{CounterInit, Expected, Expiry},
};

use crate::{
    ctx::{Ctx, LONG, LONG_TIME},
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    incr_returns_and_stores_the_sum,
    incr_of_an_absent_key_stores_nothing,
    incr_keeps_the_lifetime,
    incr_goes_below_zero,
    incr_of_a_negative_number_adds,
    incr_reaches_both_ends_of_i64,
    incr_of_a_non_integer_is_refused_and_changes_nothing,
    incr_overflow_is_refused_and_changes_nothing,
    incr_of_a_non_canonical_integer_is_refused,
    counters_are_stored_as_plain_text,
    incr_or_creates_the_counter_with_its_lifetime,
    incr_or_of_a_live_counter_ignores_initial_and_lifetime,
    incr_or_creates_nothing_on_overflow,
    incr_or_of_a_non_integer_is_refused,
    incr_makes_earlier_stamps_and_values_stale,
];

const OTHER: Expiry = Expiry::After(Duration::from_secs(7200));

/// `incr` returns the new value and stores it.
async fn incr_returns_and_stores_the_sum(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "10").await?;
    for (delta, sum) in
        [(1, 11), (5, 16), (0, 16), (-6, 10), (-10, 0), (1_000_000_000_000, 1_000_000_000_000)]
    {
        assert_eq!(ctx.store.incr(&key, delta, None).await?, Some(sum), "incr by {delta}");
        ctx.expect(&key, Some(sum.to_string().as_bytes()), "after incr").await?;
    }
    Ok(())
}

/// `incr` of an absent key returns `None` and stores nothing. The facade makes `KeyNotFound` of it.
async fn incr_of_an_absent_key_stores_nothing(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    assert_eq!(ctx.store.incr(&key, 1, None).await?, None);
    assert_eq!(ctx.store.incr(&key, -1, None).await?, None);
    ctx.expect(&key, None, "after incr of an absent key").await?;
    Ok(())
}

/// `incr` keeps the lifetime, also with a [`CounterInit`] for absent keys.
async fn incr_keeps_the_lifetime(ctx: &Ctx) -> TestResult {
    for (name, life) in [("long", LONG), ("never", Expiry::Never)] {
        let (key, start) = (ctx.key(name), ctx.now());
        ctx.put_for(&key, "9", life).await?;
        for delta in [1, -20, 0] {
            ctx.store.incr(&key, delta, None).await?;
            ctx.expect_lifetime(&key, life, start, "after incr").await?;
        }
        ctx.store.incr(&key, 1, Some(CounterInit::new(0, OTHER))).await?;
        ctx.expect_lifetime(&key, life, start, "after incr_or of a live key").await?;
    }
    Ok(())
}

/// Counters are signed: `incr` goes below zero.
async fn incr_goes_below_zero(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "2").await?;
    assert_eq!(ctx.store.incr(&key, -5, None).await?, Some(-3));
    assert_eq!(ctx.store.incr(&key, -10, None).await?, Some(-13));
    ctx.expect(&key, Some(b"-13"), "below zero").await?;
    Ok(())
}

/// `incr` adds to a negative number.
async fn incr_of_a_negative_number_adds(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "-7").await?;
    assert_eq!(ctx.store.incr(&key, 3, None).await?, Some(-4));
    assert_eq!(ctx.store.incr(&key, 4, None).await?, Some(0));
    ctx.expect(&key, Some(b"0"), "a counter that reached zero").await?;
    assert_eq!(ctx.store.incr(&key, 4, None).await?, Some(4));
    Ok(())
}

/// Every `i64` can be stored, added and reached.
async fn incr_reaches_both_ends_of_i64(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for (from, delta, to) in [
        (i64::MAX - 1, 1, i64::MAX),
        (i64::MIN + 1, -1, i64::MIN),
        (0, i64::MAX, i64::MAX),
        (0, i64::MIN, i64::MIN),
        (i64::MAX, i64::MIN, -1),
        (i64::MIN, i64::MAX, -1),
        (i64::MAX, 0, i64::MAX),
        // More digits than a double holds.
        ((1 << 53) + 1, 2, (1 << 53) + 3),
    ] {
        ctx.put(&key, from.to_string()).await?;
        assert_eq!(ctx.store.incr(&key, delta, None).await?, Some(to), "incr of {from} by {delta}");
        ctx.expect(&key, Some(to.to_string().as_bytes()), "after incr").await?;
    }
    Ok(())
}

/// `incr` of a value that is not an integer returns `NotAnInteger` and leaves the entry as it was.
async fn incr_of_a_non_integer_is_refused_and_changes_nothing(ctx: &Ctx) -> TestResult {
    let every_byte: Vec<u8> = (0..=255).collect();
    let texts =
        ["", "text", "null", "true", "\"41\"", "[1]", "{}", "1.5", "1e3", "0x10", "NaN", "inf"];
    for value in texts.iter().map(|it| it.as_bytes()).chain([&every_byte[..], &[0xff, 0xfe]]) {
        check_refused(ctx, value, 1, ErrorKind::NotAnInteger).await?;
    }
    Ok(())
}

/// A sum outside `i64` returns `Overflow`, at both ends, and leaves the entry as it was.
async fn incr_overflow_is_refused_and_changes_nothing(ctx: &Ctx) -> TestResult {
    for (from, delta) in [
        (i64::MAX, 1),
        (i64::MAX, i64::MAX),
        (i64::MIN, -1),
        (i64::MIN, i64::MIN),
        (-1, i64::MIN),
        (1, i64::MAX),
    ] {
        check_refused(ctx, from.to_string().as_bytes(), delta, ErrorKind::Overflow).await?;
    }
    Ok(())
}

/// An integer is `0|-?[1-9][0-9]*` within `i64`. All other text is `NotAnInteger`, before any
/// arithmetic.
async fn incr_of_a_non_canonical_integer_is_refused(ctx: &Ctx) -> TestResult {
    for value in [
        "+5",
        "007",
        "00",
        "-0",
        "-007",
        "12abc",
        "1 ",
        " 1",
        "1\n",
        "\t1",
        "1.0",
        "1.",
        "-",
        "+",
        "--1",
        "1_000",
        "1,000",
        "1\0",
        "\u{0661}", // ARABIC-INDIC DIGIT ONE
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "00000000000000000000001",
        "99999999999999999999999999999999999999999999",
    ] {
        check_refused(ctx, value.as_bytes(), 1, ErrorKind::NotAnInteger).await?;
        // The text is checked before any arithmetic, so the delta changes nothing.
        check_refused(ctx, value.as_bytes(), 0, ErrorKind::NotAnInteger).await?;
        check_refused(ctx, value.as_bytes(), i64::MAX, ErrorKind::NotAnInteger).await?;
    }
    Ok(())
}

/// Checks that `incr` of `value` returns this kind of error and changes neither value nor lifetime.
async fn check_refused(ctx: &Ctx, value: &[u8], delta: i64, kind: ErrorKind) -> TestResult {
    let (key, start) = (ctx.key("k"), ctx.now());
    ctx.put(&key, value.to_vec()).await?;
    let shown = value.escape_ascii();
    for create in [None, Some(CounterInit::new(1, OTHER))] {
        match ctx.store.incr(&key, delta, create).await {
            Ok(answer) => {
                panic!("incr of \"{shown}\" by {delta} returned {answer:?}, expected {kind:?}")
            }
            Err(error) => assert_eq!(error.kind(), kind, "incr of \"{shown}\" by {delta}: {error}"),
        }
        ctx.expect(&key, Some(value), "after a failed incr").await?;
        ctx.expect_lifetime(&key, LONG, start, "after a failed incr").await?;
    }
    Ok(())
}

/// A counter is decimal text: `get` reads what `incr` wrote, and `incr` counts what `set` wrote.
async fn counters_are_stored_as_plain_text(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.store.incr(&key, 41, Some(CounterInit::new(1, LONG))).await?;
    ctx.expect(&key, Some(b"42"), "a counter that incr created").await?;
    let entry = ctx.store.get_entry(&key).await?.expect("the counter is live");
    assert_eq!(entry.value, "42");
    let many = ctx.store.get_many(&[&key]).await.pop().expect("one result")?;
    assert_eq!(many.as_deref(), Some(&b"42"[..]));
    assert_eq!(ctx.store.take(&key).await?.as_deref(), Some(&b"42"[..]));
    ctx.put(&key, "100").await?;
    assert_eq!(ctx.store.incr(&key, -1, None).await?, Some(99));
    ctx.expect(&key, Some(b"99"), "a counter with fewer digits than before").await?;
    Ok(())
}

/// `incr` with a [`CounterInit`] stores `initial + delta` with its lifetime, whatever the sum is.
async fn incr_or_creates_the_counter_with_its_lifetime(ctx: &Ctx) -> TestResult {
    for (n, (initial, delta, expiry)) in [
        (0, 1, LONG),
        (10, -3, LONG),
        (0, 0, LONG),
        (-5, 5, LONG),
        (7, 7, Expiry::Never),
        (i64::MAX, i64::MIN, LONG),
    ]
    .into_iter()
    .enumerate()
    {
        let (key, start) = (ctx.key(n), ctx.now());
        let create = Some(CounterInit::new(initial, expiry));
        assert_eq!(ctx.store.incr(&key, delta, create).await?, Some(initial + delta));
        ctx.expect(&key, Some((initial + delta).to_string().as_bytes()), "after incr_or").await?;
        ctx.expect_lifetime(&key, expiry, start, "after incr_or").await?;
    }
    Ok(())
}

/// `incr` of a live key ignores the [`CounterInit`].
async fn incr_or_of_a_live_counter_ignores_initial_and_lifetime(ctx: &Ctx) -> TestResult {
    let (key, start) = (ctx.key("k"), ctx.now());
    ctx.put(&key, "5").await?;
    let create = Some(CounterInit::new(1000, OTHER));
    assert_eq!(ctx.store.incr(&key, 1, create).await?, Some(6));
    assert_eq!(ctx.store.incr(&key, -7, create).await?, Some(-1));
    ctx.expect_lifetime(&key, LONG, start, "after incr_or of a live key").await?;
    Ok(())
}

/// `incr` with a [`CounterInit`] whose sum overflows stores nothing.
async fn incr_or_creates_nothing_on_overflow(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for (initial, delta) in [(i64::MAX, 1), (i64::MIN, -1)] {
        let create = Some(CounterInit::new(initial, Expiry::After(LONG_TIME)));
        let error = ctx.store.incr(&key, delta, create).await.expect_err("the sum is outside i64");
        assert_eq!(error.kind(), ErrorKind::Overflow, "{error}");
        ctx.expect(&key, None, "after a failed incr_or").await?;
    }
    Ok(())
}

/// `incr` with a [`CounterInit`] does not replace a live value that is not an integer.
async fn incr_or_of_a_non_integer_is_refused(ctx: &Ctx) -> TestResult {
    check_refused(ctx, b"text", 1, ErrorKind::NotAnInteger).await
}

/// A comparison notices an `incr` in between.
async fn incr_makes_earlier_stamps_and_values_stale(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "1").await?;
    let seen = ctx.store.get_entry(&key).await?.expect("the counter is live");
    ctx.store.incr(&key, 1, None).await?;
    assert!(!ctx.store.compare_and_delete(&key, Expected::entry(&seen)).await?);
    assert!(!ctx.store.compare_and_delete(&key, Expected::value(b"1")).await?);
    assert!(ctx.store.compare_and_delete(&key, Expected::value(b"2")).await?);
    Ok(())
}
