use cache_core::{ErrorKind, MAX_KEY_LEN, Result, Timeout, testing::HASHED_LONG_KEYS};

use crate::{
    ctx::{Ctx, skip},
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    stored_key_is_prefix_version_and_key,
    every_call_refuses_an_invalid_key,
    invalid_key_in_a_batch_stops_the_batch,
    invalid_key_error_names_the_broken_rule,
    longest_key_is_accepted_and_a_longer_one_refused,
    versions_of_a_key_are_distinct_entries,
    ambiguous_prefixes_are_refused,
    key_function_changes_only_the_callers_part,
    long_keys_can_be_hashed,
    unusual_keys_are_distinct,
];

/// Keys that break one rule each: at least 1 byte, nothing at or below 0x20, no 0x7f.
const INVALID: &[&str] = &[
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

/// The stored key is `prefix:version:key`, as Django's.
async fn stored_key_is_prefix_version_and_key(ctx: &Ctx) -> TestResult {
    let p = ctx.prefix();
    for version in [1, 0, -7, i64::MAX, i64::MIN] {
        let cache = ctx.cache().at_version(version);
        cache.set("a:b", &version, Timeout::Default).await?;
        ctx.expect(
            &format!("{p}:{version}:a:b"),
            Some(version.to_string().as_bytes()),
            "the stored key",
        )
        .await?;
    }
    let other = ctx.builder().version(5).build("other")?;
    assert_eq!(other.version(), 5);
    other.set("k", &1, Timeout::Default).await?;
    ctx.expect(&format!("{p}:5:k"), Some(b"1"), "a key at the version of the settings").await?;
    Ok(())
}

/// Asserts that a call returned `InvalidKey`.
fn check_refused<T: std::fmt::Debug>(answer: Result<T>, call: &str, key: &str) {
    match answer {
        Ok(answer) => panic!("{call} of {key:?} returned {answer:?}, expected InvalidKey"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidKey, "{call} of {key:?}: {error}"),
    }
}

/// Every call refuses an invalid key, with every store, and never fails open.
async fn every_call_refuses_an_invalid_key(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let long = "x".repeat(MAX_KEY_LEN);
    for key in INVALID.iter().copied().chain([long.as_str()]) {
        check_refused(cache.get::<i32>(key).await, "get", key);
        check_refused(cache.bytes().get(key).await, "bytes().get", key);
        check_refused(cache.set(key, &1, Timeout::Default).await, "set", key);
        check_refused(cache.bytes().set(key, "x", Timeout::Default).await, "bytes().set", key);
        check_refused(cache.add(key, &1, Timeout::Default).await, "add", key);
        check_refused(cache.replace(key, &1, Timeout::Default).await, "replace", key);
        check_refused(cache.touch(key, Timeout::Default).await, "touch", key);
        check_refused(
            cache.touch(key, cache_core::secs(0)).await,
            "touch with a timeout of zero",
            key,
        );
        check_refused(cache.ttl(key).await, "ttl", key);
        check_refused(cache.delete(key).await, "delete", key);
        check_refused(cache.pop::<i32>(key).await, "pop", key);
        check_refused(cache.has_key(key).await, "has_key", key);
        check_refused(cache.incr(key, 1).await, "incr", key);
        check_refused(cache.decr(key, 1).await, "decr", key);
        check_refused(cache.incr_or(key, 1, 0, Timeout::Default).await, "incr_or", key);
        check_refused(cache.update(key, Timeout::Default, |it: i32| it).await, "update", key);
        check_refused(
            cache.upsert(key, Timeout::Default, |it: Option<i32>| it).await,
            "upsert",
            key,
        );
        check_refused(cache.incr_version(key, 1).await, "incr_version", key);
        check_refused(cache.decr_version(key, 1).await, "decr_version", key);
        let load = || async { panic!("the loader ran for an invalid key") };
        check_refused(
            cache.get_or_set::<i32, _>(key, Timeout::Default, load).await,
            "get_or_set",
            key,
        );
        let load = || async { panic!("the loader ran for an invalid key") };
        check_refused(
            cache.get_or_try_set::<i32, std::fmt::Error, _>(key, Timeout::Default, load).await,
            "get_or_try_set",
            key,
        );
    }
    Ok(())
}

/// If one key of a batch is invalid, nothing of the batch is read, written or removed.
async fn invalid_key_in_a_batch_stops_the_batch(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("a", &1, Timeout::Default).await?;
    let long = "x".repeat(MAX_KEY_LEN);
    for bad in INVALID.iter().copied().chain([long.as_str()]) {
        check_refused(cache.get_many::<i32, _>(["a", bad]).await, "get_many", bad);
        check_refused(
            cache.set_many([("a", 2), ("new", 2), (bad, 2)], Timeout::Default).await,
            "set_many",
            bad,
        );
        check_refused(
            cache.set_many([("a", 2), (bad, 2)], cache_core::secs(0)).await,
            "set_many with a timeout of zero",
            bad,
        );
        check_refused(cache.delete_many(["a", bad]).await, "delete_many", bad);
    }
    assert_eq!(cache.get::<i32>("a").await?, Some(1));
    assert!(!cache.has_key("new").await?);
    Ok(())
}

/// The error names the rule that the key broke and shows no control characters.
async fn invalid_key_error_names_the_broken_rule(ctx: &Ctx) -> TestResult {
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

/// Prefix and version count towards the 230 bytes of a key.
async fn longest_key_is_accepted_and_a_longer_one_refused(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let room = MAX_KEY_LEN - ctx.key("").len();
    let (longest, longer) = ("k".repeat(room), "k".repeat(room + 1));
    cache.set(&longest, &1, Timeout::Default).await?;
    assert_eq!(cache.get::<i32>(&longest).await?, Some(1));
    check_refused(cache.set(&longer, &1, Timeout::Default).await, "set", &longer);
    check_refused(
        cache.at_version(10).set(&longest, &1, Timeout::Default).await,
        "set at a longer version",
        &longest,
    );
    // Bytes, not letters.
    check_refused(cache.set(&"ä".repeat(room / 2 + 1), &1, Timeout::Default).await, "set", "ä");
    Ok(())
}

/// Versions of a key are entries of their own.
async fn versions_of_a_key_are_distinct_entries(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let two = cache.at_version(2);
    assert!(cache.is_same(&two) && two.version() == 2);
    cache.set("k", "one", Timeout::Default).await?;
    assert_eq!(two.get::<String>("k").await?, None);
    two.set("k", "two", Timeout::Default).await?;
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("one"));
    assert!(two.delete("k").await?);
    assert!(cache.has_key("k").await?);
    // The join is never ambiguous: "1:2:k" of one is not "2:k" of another.
    cache.set("2:k", "mine", Timeout::Default).await?;
    assert!(!two.has_key("k").await?);
    Ok(())
}

/// A prefix with a version or a reserved word after a colon is refused: `("a", 2, "1:x")` and
/// `("a:2", 1, "x")` would be one key.
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

/// A key function changes the part after `prefix:version:`, and its result must be a valid key.
async fn key_function_changes_only_the_callers_part(ctx: &Ctx) -> TestResult {
    let cache =
        ctx.builder().key_function(|key| key.replace(' ', "_").to_lowercase()).build("x")?;
    cache.set("A Key", &1, Timeout::Default).await?;
    ctx.expect(&ctx.key("a_key"), Some(b"1"), "the stored key").await?;
    assert_eq!(
        cache.get_many::<i32, _>(["A Key", "a_key"]).await?,
        [("A Key", 1), ("a_key", 1)].into()
    );
    assert_eq!(
        cache.delete_many(["A KEY", "a key"]).await?,
        1,
        "keys that the function maps to one key"
    );
    check_refused(cache.set("", &1, Timeout::Default).await, "set", "");
    check_refused(cache.set("a\nb", &1, Timeout::Default).await, "set", "a\nb");
    Ok(())
}

/// With `long_keys = "hash"`, keys that break the rules are replaced by a readable head and a
/// digest.
async fn long_keys_can_be_hashed(ctx: &Ctx) -> TestResult {
    let Some(hashed) = HASHED_LONG_KEYS else {
        return skip("the feature `long-keys` of cache-core is off");
    };
    let cache = ctx.builder().long_keys(hashed).build("x")?;
    let long = "x".repeat(10_000);
    let longer = "x".repeat(10_001);
    let keys = ["good", "a b", "a  b", "ab", "a\nb", "\0", long.as_str(), longer.as_str()];
    assert!(cache.set_many(keys.map(|it| (it, it)), Timeout::Default).await?.is_empty());
    for key in keys {
        assert_eq!(cache.get::<String>(key).await?.as_deref(), Some(key), "get of {key:?}");
    }
    ctx.cache().get::<String>("good").await?.expect("hashing leaves a valid key as it is");
    check_refused(cache.set("", &1, Timeout::Default).await, "set", "");
    Ok(())
}

/// Any other text is a key of its own.
async fn unusual_keys_are_distinct(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let keys = [
        "a", "A", "a:", ":a", "::", "*", "?", "%", "_", "/", "../a", "'", "\"", "\\", "ä", "鍵",
        "🔑", "~", "{a}", "a.b",
    ];
    assert!(cache.set_many(keys.map(|it| (it, it)), Timeout::Default).await?.is_empty());
    for key in keys {
        assert_eq!(cache.pop::<String>(key).await?.as_deref(), Some(key));
    }
    Ok(())
}
