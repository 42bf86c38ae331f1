use cache_core::{MAX_KEY_LEN, Result};

use crate::{
    ctx::{Ctx, LONG, borrowed},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    the_longest_key_works,
    long_keys_are_told_apart_by_their_last_byte,
    keys_of_every_letter_work,
    keys_of_other_scripts_work,
    keys_that_look_alike_are_different,
    keys_that_look_like_paths_or_patterns_stay_keys,
];

/// "the caller's part has at least 1 byte, the whole at most 230".
async fn the_longest_key_works(ctx: &Ctx) -> TestResult {
    let key = filled(ctx, MAX_KEY_LEN, 'k');
    all_different(ctx, &[key, ctx.key("k")]).await
}

/// No store cuts a key: 230 bytes that differ at the end are two keys.
async fn long_keys_are_told_apart_by_their_last_byte(ctx: &Ctx) -> TestResult {
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

/// "nothing at or below 0x20, no 0x7f", and all else.
async fn keys_of_every_letter_work(ctx: &Ctx) -> TestResult {
    let keys: Vec<_> = (0x21..0x7f_u8).map(|it| ctx.key(char::from(it))).collect();
    all_different(ctx, &keys).await?;
    let all: String = (0x21..0x7f_u8).map(char::from).collect();
    all_different(ctx, &[ctx.key(&all), ctx.key(&all[1..])]).await
}

/// Keys are text, of any script, and counted in bytes.
async fn keys_of_other_scripts_work(ctx: &Ctx) -> TestResult {
    let mut keys: Vec<_> =
        ["schlüssel", "ключ", "鍵", "🔑", "🔒", "\u{80}", "\u{a0}", "\u{202e}x", "\u{10ffff}"]
            .map(|it| ctx.key(it))
            .into();
    let room = MAX_KEY_LEN - ctx.key("").len();
    keys.push(ctx.key("鍵".repeat(room / "鍵".len())));
    all_different(ctx, &keys).await
}

/// Case, accents and trailing signs tell keys apart, also where a database or a file system sees none.
async fn keys_that_look_alike_are_different(ctx: &Ctx) -> TestResult {
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

/// What means something to a shell, a server, SQL or a file system means nothing in a key.
async fn keys_that_look_like_paths_or_patterns_stay_keys(ctx: &Ctx) -> TestResult {
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

/// Each key holds its own value, alone and in a batch, and goes alone.
async fn all_different(ctx: &Ctx, keys: &[String]) -> TestResult {
    for key in keys {
        assert!(key.len() <= MAX_KEY_LEN, "the suite's own keys obey the rules");
        ctx.put(key, key.clone()).await?;
    }
    let found =
        ctx.store.get_many(&borrowed(keys)).await.into_iter().collect::<Result<Vec<_>>>()?;
    for (key, found) in keys.iter().zip(found) {
        ctx.expect(key, Some(key.as_bytes()), "each key has its own value").await?;
        assert_eq!(found.as_deref(), Some(key.as_bytes()), "in a batch");
    }
    let items: Vec<_> = keys.iter().map(|it| (it.as_str(), format!("{it} again").into())).collect();
    ctx.store.set_many(&items, LONG).await.into_iter().collect::<Result<()>>()?;
    for (n, (key, value)) in items.iter().enumerate() {
        ctx.expect(key, Some(value), "after a batch").await?;
        assert!(ctx.store.delete(key).await?, "{key} is there until it is deleted");
        ctx.expect(key, None, "after delete").await?;
        if let Some((next, value)) = items.get(n + 1) {
            ctx.expect(next, Some(value), "the next key was not deleted").await?;
        }
    }
    Ok(())
}
