use cache_core::{Result, Seen, SetMode};

use crate::{
    ctx::{Ctx, LONG},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    an_empty_value_is_a_value,
    every_byte_comes_back,
    words_of_protocols_are_values,
    a_value_is_never_taken_for_a_number,
    values_of_every_length_come_back,
    a_large_value_comes_back,
];

/// Empty is not absent, for any method.
async fn an_empty_value_is_a_value(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "").await?;
    ctx.expect(&key, Some(b""), "get").await?;
    assert!(ctx.store.has(&key).await?, "has_key");
    assert!(ctx.store.ttl(&key).await?.is_some(), "ttl");
    assert!(ctx.store.touch(&key, LONG).await?, "touch");
    assert_eq!(ctx.store.get_entry(&key).await?.map(|it| it.value), Some("".into()), "get_entry");
    let many = ctx.store.get_many(&[&key]).await.pop().expect("one answer")?;
    assert_eq!(many, Some("".into()), "get_many");
    assert!(!ctx.store.set(&key, "new".into(), LONG, SetMode::IfAbsent).await?, "add");
    assert!(
        !ctx.store.compare_and_delete(&key, Expected::value(b"new")).await?,
        "compare_and_delete"
    );
    assert_eq!(ctx.store.take(&key).await?, Some("".into()), "pop");
    Ok(())
}

/// `get_bytes`, `set_bytes`: "given back as they were".
async fn every_byte_comes_back(ctx: &Ctx) -> TestResult {
    for byte in 0..=255 {
        comes_back(ctx, &[byte]).await?;
    }
    let all: Vec<u8> = (0..=255).collect();
    comes_back(ctx, &all).await?;
    comes_back(ctx, &all.iter().rev().copied().collect::<Vec<_>>()).await
}

/// What means something in the protocol of a store means nothing in a value.
async fn words_of_protocols_are_values(ctx: &Ctx) -> TestResult {
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
        comes_back(ctx, value.as_bytes()).await?;
    }
    Ok(())
}

/// Text that looks like a number is not changed into one.
async fn a_value_is_never_taken_for_a_number(ctx: &Ctx) -> TestResult {
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
        comes_back(ctx, value.as_bytes()).await?;
    }
    Ok(())
}

/// Around the lengths at which headers, pages and buffers change.
async fn values_of_every_length_come_back(ctx: &Ctx) -> TestResult {
    let max = ctx.facts.max_value_len.unwrap_or(usize::MAX);
    for power in [3, 4, 6, 7, 8, 10, 12, 13, 14, 15, 16, 17] {
        for len in [(1 << power) - 1, 1 << power, (1 << power) + 1_usize] {
            if len <= max {
                comes_back(ctx, &pattern(len)).await?;
            }
        }
    }
    Ok(())
}

/// A megabyte, or as much as the store takes.
async fn a_large_value_comes_back(ctx: &Ctx) -> TestResult {
    let len = (1 << 20).min(ctx.facts.max_value_len.unwrap_or(usize::MAX));
    comes_back(ctx, &pattern(len)).await
}

/// Bytes in which no piece is like its neighbour.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ (n >> 8) ^ (n >> 16)).to_le_bytes()[0]).collect()
}

/// By every way in and out.
async fn comes_back(ctx: &Ctx, value: &[u8]) -> TestResult {
    let (one, many) = (ctx.key("one"), ctx.key("many"));
    ctx.put(&one, value.to_vec()).await?;
    ctx.store.set_many(&[(&many, value.to_vec().into())], LONG).await.pop().expect("one answer")?;
    let both = ctx.store.get_many(&[&one, &many]).await.into_iter().collect::<Result<Vec<_>>>()?;
    let entry = ctx.store.get_entry(&one).await?.map(|it| it.value);
    for found in both.into_iter().chain([entry, ctx.get(&many).await?, ctx.store.take(&one).await?])
    {
        assert!(
            found.as_deref() == Some(value),
            "{} came back as {}",
            crate::ctx::Shown(Some(value)),
            crate::ctx::Shown(found.as_deref())
        );
    }
    Ok(())
}
