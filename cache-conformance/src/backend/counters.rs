use std::time::Duration;

use cache_core::{Create, ErrorKind, Expiry, Seen};

use crate::{
    ctx::{Ctx, LONG, LONG_TIME},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    incr_adds_and_answers_the_sum,
    incr_of_an_absent_key_stores_nothing,
    d05_incr_keeps_the_lifetime,
    d08_incr_goes_below_zero,
    d09_a_negative_number_can_be_counted,
    incr_reaches_both_ends_of_i64,
    d10_what_is_no_number_is_refused_and_left,
    d11_overflow_is_refused_and_the_number_left,
    d12_only_canonical_integers_are_integers,
    a_counter_is_plain_text,
    incr_or_creates_with_its_lifetime,
    incr_or_counts_what_is_there,
    incr_or_creates_nothing_on_overflow,
    incr_or_refuses_what_is_no_number,
    a_new_count_is_a_change,
];

const OTHER: Expiry = Expiry::After(Duration::from_secs(7200));

/// `incr`: the new value, and it is stored.
async fn incr_adds_and_answers_the_sum(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "10").await?;
    for (delta, sum) in
        [(1, 11), (5, 16), (0, 16), (-6, 10), (-10, 0), (1_000_000_000_000, 1_000_000_000_000)]
    {
        assert_eq!(ctx.store.incr(&key, delta, None).await?, Some(sum), "after {delta}");
        ctx.expect(&key, Some(sum.to_string().as_bytes()), "after incr").await?;
    }
    Ok(())
}

/// `incr`: "missing = `KeyNotFound`", which a store says with `None`.
async fn incr_of_an_absent_key_stores_nothing(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    assert_eq!(ctx.store.incr(&key, 1, None).await?, None);
    assert_eq!(ctx.store.incr(&key, -1, None).await?, None);
    ctx.expect(&key, None, "after incr of nothing").await?;
    Ok(())
}

/// `incr`: "keeps the lifetime (D5)".
async fn d05_incr_keeps_the_lifetime(ctx: &Ctx) -> TestResult {
    for (name, life) in [("long", LONG), ("never", Expiry::Never)] {
        let (key, start) = (ctx.key(name), ctx.now());
        ctx.put_for(&key, "9", life).await?;
        for delta in [1, -20, 0] {
            ctx.store.incr(&key, delta, None).await?;
            ctx.expect_life(&key, life, start, "after incr").await?;
        }
        ctx.store.incr(&key, 1, Some(CounterInit { initial: 0, expiry: OTHER })).await?;
        ctx.expect_life(&key, life, start, "after incr_or of a live key").await?;
    }
    Ok(())
}

/// `incr`: "signed, below zero too (D8, D9)".
async fn d08_incr_goes_below_zero(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "2").await?;
    assert_eq!(ctx.store.incr(&key, -5, None).await?, Some(-3));
    assert_eq!(ctx.store.incr(&key, -10, None).await?, Some(-13));
    ctx.expect(&key, Some(b"-13"), "below zero").await?;
    Ok(())
}

/// `incr`: "signed, below zero too (D8, D9)".
async fn d09_a_negative_number_can_be_counted(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "-7").await?;
    assert_eq!(ctx.store.incr(&key, 3, None).await?, Some(-4));
    assert_eq!(ctx.store.incr(&key, 4, None).await?, Some(0));
    ctx.expect(&key, Some(b"0"), "zero has no sign").await?;
    assert_eq!(ctx.store.incr(&key, 4, None).await?, Some(4));
    Ok(())
}

/// All of `i64` can be stored, added and reached.
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
        // Beyond what a double holds exactly.
        ((1 << 53) + 1, 2, (1 << 53) + 3),
    ] {
        ctx.put(&key, from.to_string()).await?;
        assert_eq!(ctx.store.incr(&key, delta, None).await?, Some(to), "{from} and {delta}");
        ctx.expect(&key, Some(to.to_string().as_bytes()), "after incr").await?;
    }
    Ok(())
}

/// `incr`: "`NotAnInteger` for all else; on error the stored value is untouched (D10–D12)".
async fn d10_what_is_no_number_is_refused_and_left(ctx: &Ctx) -> TestResult {
    let every_byte: Vec<u8> = (0..=255).collect();
    let texts =
        ["", "text", "null", "true", "\"41\"", "[1]", "{}", "1.5", "1e3", "0x10", "NaN", "inf"];
    for value in texts.iter().map(|it| it.as_bytes()).chain([&every_byte[..], &[0xff, 0xfe]]) {
        refused(ctx, value, 1, ErrorKind::NotAnInteger).await?;
    }
    Ok(())
}

/// `incr`: "`Overflow` outside i64", at both ends; "on error the stored value is untouched (D10–D12)".
async fn d11_overflow_is_refused_and_the_number_left(ctx: &Ctx) -> TestResult {
    for (from, delta) in [
        (i64::MAX, 1),
        (i64::MAX, i64::MAX),
        (i64::MIN, -1),
        (i64::MIN, i64::MIN),
        (-1, i64::MIN),
        (1, i64::MAX),
    ] {
        refused(ctx, from.to_string().as_bytes(), delta, ErrorKind::Overflow).await?;
    }
    Ok(())
}

/// "An integer is `0|-?[1-9][0-9]*` within i64, checked before any arithmetic (no `+5`, `007`, `-0`, `12abc`, `"41"`, `true`)".
async fn d12_only_canonical_integers_are_integers(ctx: &Ctx) -> TestResult {
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
        refused(ctx, value.as_bytes(), 1, ErrorKind::NotAnInteger).await?;
        // Before any arithmetic: not even when nothing is added, and not "overflow".
        refused(ctx, value.as_bytes(), 0, ErrorKind::NotAnInteger).await?;
        refused(ctx, value.as_bytes(), i64::MAX, ErrorKind::NotAnInteger).await?;
    }
    Ok(())
}

/// Counts what is a value of this kind of error, and leaves it and its lifetime as they are.
async fn refused(ctx: &Ctx, value: &[u8], delta: i64, kind: ErrorKind) -> TestResult {
    let (key, start) = (ctx.key("k"), ctx.now());
    ctx.put(&key, value.to_vec()).await?;
    let shown = value.escape_ascii();
    for create in [None, Some(CounterInit { initial: 1, expiry: OTHER })] {
        match ctx.store.incr(&key, delta, create).await {
            Ok(answer) => {
                panic!("incr of \"{shown}\" by {delta} answered {answer:?}, not {kind:?}")
            }
            Err(error) => assert_eq!(error.kind(), kind, "incr of \"{shown}\" by {delta}: {error}"),
        }
        ctx.expect(&key, Some(value), "after an incr that failed").await?;
        ctx.expect_life(&key, LONG, start, "after an incr that failed").await?;
    }
    Ok(())
}

/// "An integer is decimal text": what `set` wrote can be counted, and what was counted is read as text.
async fn a_counter_is_plain_text(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.store.incr(&key, 41, Some(CounterInit { initial: 1, expiry: LONG })).await?;
    ctx.expect(&key, Some(b"42"), "a counter that incr made").await?;
    let entry = ctx.store.get_entry(&key).await?.expect("the counter is there");
    assert_eq!(entry.value, "42");
    let many = ctx.store.get_many(&[&key]).await.pop().expect("one answer")?;
    assert_eq!(many.as_deref(), Some(&b"42"[..]));
    assert_eq!(ctx.store.take(&key).await?.as_deref(), Some(&b"42"[..]));
    ctx.put(&key, "100").await?;
    assert_eq!(ctx.store.incr(&key, -1, None).await?, Some(99));
    ctx.expect(&key, Some(b"99"), "shorter than before").await?;
    Ok(())
}

/// `incr_or`: "stores and returns `initial + delta` with its lifetime, in one step". A trap: the lifetime set only when the
/// counter equals 1.
async fn incr_or_creates_with_its_lifetime(ctx: &Ctx) -> TestResult {
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
        let create = Some(CounterInit { initial, expiry });
        assert_eq!(ctx.store.incr(&key, delta, create).await?, Some(initial + delta));
        ctx.expect(&key, Some((initial + delta).to_string().as_bytes()), "after incr_or").await?;
        ctx.expect_life(&key, expiry, start, "after incr_or").await?;
    }
    Ok(())
}

/// `incr_or`: "present: as `incr`"; `initial` and the lifetime do not matter then.
async fn incr_or_counts_what_is_there(ctx: &Ctx) -> TestResult {
    let (key, start) = (ctx.key("k"), ctx.now());
    ctx.put(&key, "5").await?;
    let create = Some(CounterInit { initial: 1000, expiry: OTHER });
    assert_eq!(ctx.store.incr(&key, 1, create).await?, Some(6));
    assert_eq!(ctx.store.incr(&key, -7, create).await?, Some(-1));
    ctx.expect_life(&key, LONG, start, "after incr_or of a live key").await?;
    Ok(())
}

/// `incr_or` that overflows stores nothing.
async fn incr_or_creates_nothing_on_overflow(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for (initial, delta) in [(i64::MAX, 1), (i64::MIN, -1)] {
        let create = Some(CounterInit { initial, expiry: Expiry::After(LONG_TIME) });
        let error = ctx.store.incr(&key, delta, create).await.expect_err("the sum is outside i64");
        assert_eq!(error.kind(), ErrorKind::Overflow, "{error}");
        ctx.expect(&key, None, "after an incr_or that failed").await?;
    }
    Ok(())
}

/// `incr_or` of a live key that holds no integer is an error, and no reason to start anew.
async fn incr_or_refuses_what_is_no_number(ctx: &Ctx) -> TestResult {
    refused(ctx, b"text", 1, ErrorKind::NotAnInteger).await
}

/// Who compares sees that there was a count in between.
async fn a_new_count_is_a_change(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "1").await?;
    let seen = ctx.store.get_entry(&key).await?.expect("the counter is there");
    ctx.store.incr(&key, 1, None).await?;
    assert!(!ctx.store.compare_and_delete(&key, Expected::entry(&seen)).await?);
    assert!(!ctx.store.compare_and_delete(&key, Expected::value(b"1")).await?);
    assert!(ctx.store.compare_and_delete(&key, Expected::value(b"2")).await?);
    Ok(())
}
