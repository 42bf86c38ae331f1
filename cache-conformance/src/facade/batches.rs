use std::collections::HashMap;

use cache_core::{ErrorKind, Timeout, Ttl, secs};

use crate::{
    ctx::{Ctx, borrowed},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    get_many_gives_the_hits_under_the_callers_keys,
    set_many_writes_all_with_one_lifetime,
    d25_d29_set_many_lists_nothing_when_all_is_written,
    d28_empty_batches_do_nothing,
    delete_many_counts_what_was_there,
    keys_that_are_there_twice_count_once,
    batches_of_thousands_are_whole,
];

/// `get_many`: "hits only"; "`K: AsRef<str> + Eq + Hash`": the keys are the caller's own.
async fn get_many_gives_the_hits_under_the_callers_keys(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("a", &1, None).await?;
    cache.set("b", &2, None).await?;
    assert_eq!(cache.get_many::<i32, _>(["b", "absent", "a"]).await?, [("a", 1), ("b", 2)].into());
    let owned = vec!["a".to_owned(), "absent".to_owned()];
    let found: HashMap<&String, i32> = cache.get_many(&owned).await?;
    assert_eq!(found.get(&owned[0]), Some(&1));
    let found: HashMap<String, i32> = cache.get_many(owned).await?;
    assert_eq!(found, [("a".to_owned(), 1)].into());
    assert!(cache.get_many::<i32, _>(["absent"]).await?.is_empty());
    Ok(())
}

/// `set_many`: each as `set` would, with one lifetime.
async fn set_many_writes_all_with_one_lifetime(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("a", "old", Timeout::Never).await?;
    let start = ctx.now();
    let items = HashMap::from([("a".to_owned(), "1"), ("b".to_owned(), "2")]);
    assert!(cache.set_many(&items, secs(600)).await?.is_empty());
    for (key, value) in &items {
        assert_eq!(cache.get::<String>(key).await?.as_deref(), Some(*value));
        ctx.assert_remains(cache.ttl(key).await?, std::time::Duration::from_secs(600), start, key);
    }
    cache.set_many([("a", 1)], Timeout::Never).await?.into_result()?;
    assert_eq!(cache.ttl("a").await?, Some(Ttl::Forever));
    Ok(())
}

/// `set_many`: "what was not written is always listed (D25: Django reports success for writes it lost; D29)"; here all is
/// written, and read back. What is listed when something is not: `too_large_is_told_and_the_old_value_gone`.
async fn d25_d29_set_many_lists_nothing_when_all_is_written(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let items: Vec<_> = (0..500).map(|it| (format!("k{it}"), it)).collect();
    let failed = cache.set_many(items.iter().map(|(key, it)| (key, it)), None).await?;
    assert!(failed.is_empty(), "{failed:?}");
    let keys: Vec<_> = items.into_iter().map(|it| it.0).collect();
    let found: HashMap<_, i32> = cache.get_many(borrowed(&keys)).await?;
    assert_eq!(found.len(), keys.len());
    Ok(())
}

/// "empty is `{}`", "empty is 0 (D28)".
async fn d28_empty_batches_do_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let none: [&str; 0] = [];
    assert!(cache.get_many::<i32, _>(none).await?.is_empty());
    assert!(cache.set_many::<&str, i32, _, _>([], None).await?.is_empty());
    assert!(cache.set_many::<&str, i32, _, _>([], secs(0)).await?.is_empty());
    assert_eq!(cache.delete_many(none).await?, 0);
    Ok(())
}

/// `delete_many`: "how many were there".
async fn delete_many_counts_what_was_there(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set_many([("a", 1), ("b", 2), ("c", 3)], None).await?.into_result()?;
    assert_eq!(cache.delete_many(["a", "absent", "c"]).await?, 2);
    assert_eq!(cache.delete_many(["a", "absent", "c"]).await?, 0);
    assert_eq!(cache.get_many::<i32, _>(["a", "b", "c"]).await?, [("b", 2)].into());
    Ok(())
}

/// A key is one entry, however often it is named: the last value counts.
async fn keys_that_are_there_twice_count_once(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert!(cache.set_many([("a", 1), ("b", 2), ("a", 3)], None).await?.is_empty());
    let found: HashMap<&str, i32> = cache.get_many(["a", "b", "a", "a"]).await?;
    assert_eq!(found, [("a", 3), ("b", 2)].into());
    assert_eq!(cache.delete_many(["a", "a", "b"]).await?, 2);
    Ok(())
}

/// "one round trip per server", without a limit that shows; an invalid key at the end stops all of it.
async fn batches_of_thousands_are_whole(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let keys: Vec<_> = (0..2500).map(|it| format!("k{it}")).collect();
    assert!(cache.set_many(keys.iter().map(|it| (it, it)), None).await?.is_empty());
    let found: HashMap<&String, String> = cache.get_many(&keys).await?;
    assert!(keys.iter().all(|it| found.get(it) == Some(it)), "each key has its own value");
    let with_bad = keys.iter().map(String::as_str).chain(["bad key"]);
    let error = cache.delete_many(with_bad).await.expect_err("one key is invalid");
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    assert_eq!(cache.delete_many(&keys).await?, 2500);
    Ok(())
}
