use cache_core::{MAX_KEY_LEN, Result};

use crate::{
    ctx::{Ctx, LONG, borrowed},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    longest_key_is_accepted,
    long_keys_that_differ_in_the_last_byte_are_distinct,
    keys_of_every_printable_ascii_character_are_distinct,
    keys_in_any_script_are_distinct,
    similar_looking_keys_are_distinct,
    path_and_pattern_characters_in_keys_are_literal,
];

/// A key of [`MAX_KEY_LEN`] bytes works.
async fn longest_key_is_accepted(ctx: &Ctx) -> TestResult {
    let key = filled(ctx, MAX_KEY_LEN, 'k');
    all_different(ctx, &[key, ctx.key("k")]).await
}

/// No store cuts a key: long keys that differ at the end are different keys.
async fn long_keys_that_differ_in_the_last_byte_are_distinct(ctx: &Ctx) -> TestResult {
    let keys: Vec<_> = ['a', 'b', 'B', '0', '~']
        .into_iter()
        .map(|it| filled(ctx, MAX_KEY_LEN - 1, 'k') + it.encode_utf8(&mut [0; 4]))
        .chain(
            [MAX_KEY_LEN - 1, MAX_KEY_LEN - 2, 129, 128, 127, 100].map(|it| filled(ctx, it, 'k')),
        )
        .collect();
    all_different(ctx, &keys).await
}

fn filled(ctx: &Ctx, len: usize, with: char) -> String {
    let mut key = ctx.key("");
    key.extend(std::iter::repeat_n(with, len - key.len()));
    key
}

/// Every character above 0x20 except 0x7f may stand in a key.
async fn keys_of_every_printable_ascii_character_are_distinct(ctx: &Ctx) -> TestResult {
    let keys: Vec<_> = (0x21..0x7f_u8).map(|it| ctx.key(char::from(it))).collect();
    all_different(ctx, &keys).await?;
    let all: String = (0x21..0x7f_u8).map(char::from).collect();
    all_different(ctx, &[ctx.key(&all), ctx.key(&all[1..])]).await
}

/// Keys are text in any script, and their length counts in bytes.
async fn keys_in_any_script_are_distinct(ctx: &Ctx) -> TestResult {
    let mut keys: Vec<_> =
        ["schlüssel", "ключ", "鍵", "🔑", "🔒", "\u{80}", "\u{a0}", "\u{202e}x", "\u{10ffff}"]
            .map(|it| ctx.key(it))
            .into();
    let room = MAX_KEY_LEN - ctx.key("").len();
    keys.push(ctx.key("鍵".repeat(room / "鍵".len())));
    all_different(ctx, &keys).await
}

/// Keys that differ only in case, accents or trailing characters are different, also if a database
/// or a file system folds them.
async fn similar_looking_keys_are_distinct(ctx: &Ctx) -> TestResult {
    let keys = [
        "key",
        "Key",
        "KEY",
        "kéy",
        "ke\u{301}y",
        "k\u{c9}y",
        "straße",
        "strasse",
        "STRASSE",
        "ı",
        "i",
        "I",
        "İ",
        "key.",
        "key..",
        "key:",
        "key::",
        ":key",
        "1",
        "01",
        "1.0",
        "+1",
        "-1",
        "ſ",
        "s",
        "\u{212a}",
        "ﬁ",
        "fi",
        "ａ",
        "a",
    ];
    all_different(ctx, &keys.map(|it| ctx.key(it))).await
}

/// Text with a meaning to a shell, a server, SQL or a file system is a plain key.
async fn path_and_pattern_characters_in_keys_are_literal(ctx: &Ctx) -> TestResult {
    let keys = [
        ".",
        "..",
        "/",
        "//",
        "../",
        "../..",
        "../../etc/passwd",
        "a/b",
        "a/../b",
        "b",
        "a//b",
        "a\\b",
        "a\\\\b",
        "\\",
        "~",
        "*",
        "**",
        "?",
        "a*",
        "a?",
        "ab",
        "[ab]",
        "[^a]",
        "{a,b}",
        "{a}",
        "{}",
        "%",
        "_",
        "a%",
        "a_",
        "%00",
        "%2e%2e%2f",
        "'",
        "''",
        "\"",
        "`",
        ";",
        "--",
        "';--",
        "$1",
        "${HOME}",
        "$(id)",
        "|",
        "&",
        "<",
        ">",
        "#",
        "-",
        "--help",
        "-1",
        "CON",
        "nul",
        "aux.txt",
        "a:b",
        "a::b",
        "C:\\x",
        "key.tmp",
        "key.lock",
        ".hidden",
        "a=b",
        "a,b",
        "@",
        "!",
        "^",
    ];
    all_different(ctx, &keys.map(|it| ctx.key(it))).await
}

/// Checks that each key holds its own value, alone and in a batch, and is deleted alone.
async fn all_different(ctx: &Ctx, keys: &[String]) -> TestResult {
    for key in keys {
        assert!(key.len() <= MAX_KEY_LEN, "the suite's key {key} is valid");
        ctx.put(key, key.clone()).await?;
    }
    let found =
        ctx.store.get_many(&borrowed(keys)).await.into_iter().collect::<Result<Vec<_>>>()?;
    for (key, found) in keys.iter().zip(found) {
        ctx.expect(key, Some(key.as_bytes()), "get after one set per key").await?;
        assert_eq!(found.as_deref(), Some(key.as_bytes()), "get_many of {key}");
    }
    let items: Vec<_> = keys.iter().map(|it| (it.as_str(), format!("{it} again").into())).collect();
    ctx.store.set_many(&items, LONG).await.into_iter().collect::<Result<()>>()?;
    for (n, (key, value)) in items.iter().enumerate() {
        ctx.expect(key, Some(value), "after set_many").await?;
        returned!(ctx.store.delete(key).await?, true, "delete of the live key {key}");
        ctx.expect(key, None, "after delete").await?;
        if let Some((next, value)) = items.get(n + 1) {
            ctx.expect(next, Some(value), "after delete of the key before").await?;
        }
    }
    Ok(())
}
