use cache_core::{
    Result,
    store::{Expected, SetMode},
};

use crate::{
    ctx::{Ctx, LONG, Shown},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    empty_value_is_not_absent,
    every_byte_is_returned_unchanged,
    protocol_and_sql_text_is_returned_unchanged,
    number_like_text_is_returned_unchanged,
    values_of_any_length_are_returned_unchanged,
    large_value_is_returned_unchanged,
];

/// An empty value is a value, for every method.
async fn empty_value_is_not_absent(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "").await?;
    ctx.expect(&key, Some(b""), "get").await?;
    returned!(ctx.store.has(&key).await?, true, "has_key");
    assert!(ctx.store.ttl(&key).await?.is_some(), "ttl");
    returned!(ctx.store.touch(&key, LONG).await?, true, "touch");
    assert_eq!(ctx.store.get_entry(&key).await?.map(|it| it.value), Some("".into()), "get_entry");
    let many = ctx.store.get_many(&[&key]).await.pop().expect("one result")?;
    assert_eq!(many, Some("".into()), "get_many");
    returned!(ctx.store.set(&key, "new".into(), LONG, SetMode::IfAbsent).await?, false, "add");
    returned!(
        ctx.store.compare_and_delete(&key, Expected::value(b"new")).await?,
        false,
        "compare_and_delete"
    );
    assert_eq!(ctx.store.take(&key).await?, Some("".into()), "pop");
    Ok(())
}

/// A value may hold any byte.
async fn every_byte_is_returned_unchanged(ctx: &Ctx) -> TestResult {
    for byte in 0..=255 {
        check_unchanged(ctx, &[byte]).await?;
    }
    let all: Vec<u8> = (0..=255).collect();
    check_unchanged(ctx, &all).await?;
    check_unchanged(ctx, &all.iter().rev().copied().collect::<Vec<_>>()).await
}

/// Text with a meaning in the protocol of a store is a plain value.
async fn protocol_and_sql_text_is_returned_unchanged(ctx: &Ctx) -> TestResult {
    for value in [
        "\r\n",
        "\r\nEND\r\n",
        "END",
        "$-1\r\n",
        "*-1\r\n",
        "+OK\r\n",
        "-ERR x\r\n",
        "_\r\n",
        "NULL",
        "null",
        "nil",
        "\\N",
        "\0",
        "a\0b",
        "'; DROP TABLE cache; --",
        "\\x00",
        "\\",
        "%s",
        "\u{feff}text",
        "VALUE k 0 1\r\nx\r\n",
        "\u{1}\u{0}",
        "\n",
        " ",
        " text ",
        "text\n",
    ] {
        check_unchanged(ctx, value.as_bytes()).await?;
    }
    Ok(())
}

/// Text that looks like a number is not normalised.
async fn number_like_text_is_returned_unchanged(ctx: &Ctx) -> TestResult {
    for value in [
        "0",
        "-0",
        "007",
        "+5",
        "1.0",
        "1.50",
        "1e5",
        "0x1F",
        "9223372036854775808",
        "1_000",
        " 1",
        "1 ",
        "NaN",
        "Infinity",
        "true",
        "3.141592653589793238462643383279",
        "00",
        "-",
    ] {
        check_unchanged(ctx, value.as_bytes()).await?;
    }
    Ok(())
}

/// Values have lengths around those at which headers, pages and buffers change.
async fn values_of_any_length_are_returned_unchanged(ctx: &Ctx) -> TestResult {
    let max = ctx.capabilities.max_value_len.unwrap_or(usize::MAX);
    for power in [3, 4, 6, 7, 8, 10, 12, 13, 14, 15, 16, 17] {
        for len in [(1 << power) - 1, 1 << power, (1 << power) + 1_usize] {
            if len <= max {
                check_unchanged(ctx, &pattern(len)).await?;
            }
        }
    }
    Ok(())
}

/// A value of a megabyte, or of the limit if that is smaller.
async fn large_value_is_returned_unchanged(ctx: &Ctx) -> TestResult {
    let len = (1 << 20).min(ctx.capabilities.max_value_len.unwrap_or(usize::MAX));
    check_unchanged(ctx, &pattern(len)).await
}

/// Returns bytes in which each part differs from its neighbours.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ (n >> 8) ^ (n >> 16)).to_le_bytes()[0]).collect()
}

/// Checks that the value is returned unchanged, whatever call writes or reads it.
async fn check_unchanged(ctx: &Ctx, value: &[u8]) -> TestResult {
    let (one, many) = (ctx.key("one"), ctx.key("many"));
    ctx.put(&one, value.to_vec()).await?;
    ctx.store.set_many(&[(&many, value.to_vec().into())], LONG).await.pop().expect("one result")?;
    let both = ctx.store.get_many(&[&one, &many]).await.into_iter().collect::<Result<Vec<_>>>()?;
    let entry = ctx.store.get_entry(&one).await?.map(|it| it.value);
    for found in both.into_iter().chain([entry, ctx.get(&many).await?, ctx.store.take(&one).await?])
    {
        assert!(
            found.as_deref() == Some(value),
            "{} was returned as {}",
            Shown(Some(value)),
            Shown(found.as_deref())
        );
    }
    Ok(())
}
