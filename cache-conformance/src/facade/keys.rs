use cache_core::{ErrorKind, MAX_KEY_LEN, Result, testing::HASHED_LONG_KEYS};

use crate::{
    ctx::{Ctx, skip},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    stored_keys_have_djangos_form,
    d17_every_call_checks_its_key,
    d18_one_bad_key_stops_its_batch,
    an_invalid_key_is_told_by_its_rule,
    the_longest_key_is_taken_and_a_longer_one_refused,
    versions_are_different_entries,
    ambiguous_prefixes_are_refused,
    a_key_function_changes_only_the_callers_part,
    long_keys_can_be_hashed,
    unusual_keys_are_keys,
];

/// Breaks one rule each: "the caller's part has at least 1 byte, ... nothing at or below 0x20, no 0x7f".
const BAD: &[&str] = &[
    "",
    " ",
    "a b",
    " a",
    "a ",
    "a\tb",
    "a\r\nflush_all\r\n",
    "\0",
    "a\0",
    "\u{1f}",
    "\u{7f}",
    "k\u{7f}k",
    "\n",
];

/// "The stored key is Django's `prefix:version:key`".
async fn stored_keys_have_djangos_form(ctx: &Ctx) -> TestResult {
    let p = ctx.prefix();
    for version in [1, 0, -7, i64::MAX, i64::MIN] {
        let cache = ctx.cache().at_version(version);
        cache.set("a:b", &version, None).await?;
        ctx.expect(
            &format!("{p}:{version}:a:b"),
            Some(version.to_string().as_bytes()),
            "as stored",
        )
        .await?;
    }
    let other = ctx.builder().version(5).build("other")?;
    assert_eq!(other.version(), 5);
    other.set("k", &1, None).await?;
    ctx.expect(&format!("{p}:5:k"), Some(b"1"), "the version of the settings").await?;
    Ok(())
}

fn refused<T: std::fmt::Debug>(answer: Result<T>, call: &str, key: &str) {
    match answer {
        Ok(answer) => panic!("{call} took the key {key:?} and answered {answer:?}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidKey, "{call} of {key:?}: {error}"),
    }
}

/// "Validated on bytes before any I/O ... the same on every backend so that a swap never makes a key illegal" (D17), by every
/// call; "always returned".
async fn d17_every_call_checks_its_key(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let long = "x".repeat(MAX_KEY_LEN);
    for key in BAD.iter().copied().chain([long.as_str()]) {
        refused(cache.get::<i32>(key).await, "get", key);
        refused(cache.get_bytes(key).await, "get_bytes", key);
        refused(cache.set(key, &1, None).await, "set", key);
        refused(cache.set_bytes(key, "x", None).await, "set_bytes", key);
        refused(cache.add(key, &1, None).await, "add", key);
        refused(cache.replace(key, &1, None).await, "replace", key);
        refused(cache.touch(key, None).await, "touch", key);
        refused(cache.touch(key, cache_core::secs(0)).await, "touch to zero", key);
        refused(cache.ttl(key).await, "ttl", key);
        refused(cache.delete(key).await, "delete", key);
        refused(cache.pop::<i32>(key).await, "pop", key);
        refused(cache.has_key(key).await, "has_key", key);
        refused(cache.incr(key, 1).await, "incr", key);
        refused(cache.decr(key, 1).await, "decr", key);
        refused(cache.incr_or(key, 1, 0, None).await, "incr_or", key);
        refused(cache.update(key, None, |it: i32| it).await, "update", key);
        refused(cache.upsert(key, None, |it: Option<i32>| it).await, "upsert", key);
        refused(cache.incr_version(key, 1).await, "incr_version", key);
        refused(cache.decr_version(key, 1).await, "decr_version", key);
        let load = || async { panic!("nothing is loaded under an invalid key") };
        refused(cache.get_or_set::<i32, _>(key, None, load).await, "get_or_set", key);
        let load = || async { panic!("nothing is loaded under an invalid key") };
        refused(
            cache.get_or_try_set::<i32, std::fmt::Error, _>(key, None, load).await,
            "get_or_try_set",
            key,
        );
    }
    Ok(())
}

/// "for every key of a batch" (D18): nothing of it is written, read or removed.
async fn d18_one_bad_key_stops_its_batch(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("a", &1, None).await?;
    let long = "x".repeat(MAX_KEY_LEN);
    for bad in BAD.iter().copied().chain([long.as_str()]) {
        refused(cache.get_many::<i32, _>(["a", bad]).await, "get_many", bad);
        refused(cache.set_many([("a", 2), ("new", 2), (bad, 2)], None).await, "set_many", bad);
        refused(
            cache.set_many([("a", 2), (bad, 2)], cache_core::secs(0)).await,
            "set_many to zero",
            bad,
        );
        refused(cache.delete_many(["a", bad]).await, "delete_many", bad);
    }
    assert_eq!(cache.get::<i32>("a").await?, Some(1));
    assert!(!cache.has_key("new").await?);
    Ok(())
}

/// "`InvalidKey` says which rule broke", and shows nothing unprintable.
async fn an_invalid_key_is_told_by_its_rule(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let long = "x".repeat(1000);
    for (key, rule) in [
        ("", "empty"),
        ("a b", "0x20"),
        ("a\r\nb", "0x0d"),
        ("\u{7f}", "0x7f"),
        (&*long, "at most 230"),
    ] {
        let text = cache.get::<i32>(key).await.expect_err(rule).to_string();
        assert!(text.contains(rule), "{text}");
        assert!(!text.contains(char::is_control) && text.len() < 500, "{text}");
    }
    Ok(())
}

/// "the whole at most 230": the prefix and the version count.
async fn the_longest_key_is_taken_and_a_longer_one_refused(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let room = MAX_KEY_LEN - ctx.key("").len();
    let (longest, longer) = ("k".repeat(room), "k".repeat(room + 1));
    cache.set(&longest, &1, None).await?;
    assert_eq!(cache.get::<i32>(&longest).await?, Some(1));
    refused(cache.set(&longer, &1, None).await, "set", &longer);
    refused(
        cache.at_version(10).set(&longest, &1, None).await,
        "set at a longer version",
        &longest,
    );
    // Bytes, not letters.
    refused(cache.set(&"ä".repeat(room / 2 + 1), &1, None).await, "set", "ä");
    Ok(())
}

/// "`cache.at_version(2)` is the same cache under another key version."
async fn versions_are_different_entries(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let two = cache.at_version(2);
    assert!(cache.is_same(&two) && two.version() == 2);
    cache.set("k", "one", None).await?;
    assert_eq!(two.get::<String>("k").await?, None);
    two.set("k", "two", None).await?;
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("one"));
    assert!(two.delete("k").await?);
    assert!(cache.has_key("k").await?);
    // The join is never ambiguous: "1:2:k" of one is not "2:k" of another.
    cache.set("2:k", "mine", None).await?;
    assert!(!two.has_key("k").await?);
    Ok(())
}

/// "`a:2` is refused at build, because `("a", 2, "1:x")` and `("a:2", 1, "x")` would be one key"; so are the words of the
/// library's own.
async fn ambiguous_prefixes_are_refused(ctx: &Ctx) -> TestResult {
    for prefix in
        ["a:2", "a:-7", "a:0:b", "a:tag", "a:lock:b", "a:lease", ":1", "a b", "a\n", "\u{7f}"]
    {
        let error = ctx.builder().key_prefix(prefix).build("x").expect_err(prefix);
        assert_eq!(error.kind(), ErrorKind::Config, "{prefix:?}: {error}");
        assert_eq!(error.context("setting"), Some("caches.x.key_prefix"), "{error}");
    }
    for prefix in ["", "2", "a", "a:b", "a:v2", "tag", "a:02"] {
        ctx.builder().key_prefix(prefix).build("x")?;
    }
    Ok(())
}

/// "A key function per alias, set in code, changes only the part after `prefix:version:`", and its result obeys the rules.
async fn a_key_function_changes_only_the_callers_part(ctx: &Ctx) -> TestResult {
    let cache =
        ctx.builder().key_function(|key| key.replace(' ', "_").to_lowercase()).build("x")?;
    cache.set("A Key", &1, None).await?;
    ctx.expect(&ctx.key("a_key"), Some(b"1"), "as stored").await?;
    assert_eq!(
        cache.get_many::<i32, _>(["A Key", "a_key"]).await?,
        [("A Key", 1), ("a_key", 1)].into()
    );
    assert_eq!(cache.delete_many(["A KEY", "a key"]).await?, 1, "one entry");
    refused(cache.set("", &1, None).await, "set", "");
    refused(cache.set("a\nb", &1, None).await, "set", "a\nb");
    Ok(())
}

/// "`long_keys = "hash"` in the settings replaces what breaks the rules by a readable head and a cryptographic digest."
async fn long_keys_can_be_hashed(ctx: &Ctx) -> TestResult {
    let Some(hashed) = HASHED_LONG_KEYS else {
        return skip("the feature `long-keys` of cache-core is off");
    };
    let cache = ctx.builder().long_keys(hashed).build("x")?;
    let long = "x".repeat(10_000);
    let longer = "x".repeat(10_001);
    let keys = ["good", "a b", "a  b", "ab", "a\nb", "\0", long.as_str(), longer.as_str()];
    assert!(cache.set_many(keys.map(|it| (it, it)), None).await?.is_empty());
    for key in keys {
        assert_eq!(cache.get::<String>(key).await?.as_deref(), Some(key), "each has its own value");
    }
    ctx.cache().get::<String>("good").await?.expect("a good key stays as it is");
    refused(cache.set("", &1, None).await, "set", "");
    Ok(())
}

/// Any other text is a key of its own.
async fn unusual_keys_are_keys(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let keys = [
        "a", "A", "a:", ":a", "::", "*", "?", "%", "_", "/", "../a", "'", "\"", "\\", "ä", "鍵",
        "🔑", "~", "{a}", "a.b",
    ];
    assert!(cache.set_many(keys.map(|it| (it, it)), None).await?.is_empty());
    for key in keys {
        assert_eq!(cache.pop::<String>(key).await?.as_deref(), Some(key));
    }
    Ok(())
}
