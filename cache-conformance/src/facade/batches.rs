use std::collections::HashMap;

use cache_core::{ErrorKind, Timeout, Ttl, secs};

use crate::{
    ctx::{Ctx, borrowed},
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    get_many_returns_the_hits_by_the_callers_keys,
    set_many_writes_all_items_with_one_lifetime,
    set_many_lists_no_failure_when_all_items_are_written,
    empty_batches_do_nothing,
    delete_many_counts_the_live_keys,
    repeated_keys_in_a_batch_count_once,
    batches_of_thousands_of_items_are_complete,
];

/// `get_many` returns the hits and nothing else, under the keys that the caller gave, of any key
/// type.
async fn get_many_returns_the_hits_by_the_callers_keys(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("a", &1, Timeout::Default).await?;
    cache.set("b", &2, Timeout::Default).await?;
    assert_eq!(cache.get_many::<i32, _>(["b", "absent", "a"]).await?, [("a", 1), ("b", 2)].into());
    let owned = vec!["a".to_owned(), "absent".to_owned()];
    let found: HashMap<&String, i32> = cache.get_many(&owned).await?;
    assert_eq!(found.get(&owned[0]), Some(&1));
    let found: HashMap<String, i32> = cache.get_many(owned).await?;
    assert_eq!(found, [("a".to_owned(), 1)].into());
    assert!(cache.get_many::<i32, _>(["absent"]).await?.is_empty());
    Ok(())
}

/// `set_many` writes every item, as `set` does, with one lifetime.
async fn set_many_writes_all_items_with_one_lifetime(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("a", "old", Timeout::Never).await?;
    let start = ctx.now();
    let items = HashMap::from([("a".to_owned(), "1"), ("b".to_owned(), "2")]);
    assert!(cache.set_many(&items, secs(600)).await?.is_empty());
    for (key, value) in &items {
        assert_eq!(cache.get::<String>(key).await?.as_deref(), Some(*value));
        ctx.assert_ttl(cache.ttl(key).await?, std::time::Duration::from_secs(600), start, key);
    }
    cache.set_many([("a", 1)], Timeout::Never).await?.into_result()?;
    assert_eq!(cache.ttl("a").await?, Some(Ttl::Forever));
    Ok(())
}

/// `set_many` lists no failure when every item is written. For items that fail:
/// `too_large_value_is_an_error_and_removes_the_old_value`.
async fn set_many_lists_no_failure_when_all_items_are_written(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let items: Vec<_> = (0..500).map(|it| (format!("k{it}"), it)).collect();
    let failed = cache.set_many(items.iter().map(|(key, it)| (key, it)), Timeout::Default).await?;
    assert!(failed.is_empty(), "{failed:?}");
    let keys: Vec<_> = items.into_iter().map(|it| it.0).collect();
    let found: HashMap<_, i32> = cache.get_many(borrowed(&keys)).await?;
    assert_eq!(found.len(), keys.len());
    Ok(())
}

/// Batches without keys succeed and do nothing.
async fn empty_batches_do_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let none: [&str; 0] = [];
    assert!(cache.get_many::<i32, _>(none).await?.is_empty());
    assert!(cache.set_many::<&str, i32, _, _>([], Timeout::Default).await?.is_empty());
    assert!(cache.set_many::<&str, i32, _, _>([], secs(0)).await?.is_empty());
    assert_eq!(cache.delete_many(none).await?, 0);
    Ok(())
}

/// `delete_many` returns how many keys were live.
async fn delete_many_counts_the_live_keys(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set_many([("a", 1), ("b", 2), ("c", 3)], Timeout::Default).await?.into_result()?;
    assert_eq!(cache.delete_many(["a", "absent", "c"]).await?, 2);
    assert_eq!(cache.delete_many(["a", "absent", "c"]).await?, 0);
    assert_eq!(cache.get_many::<i32, _>(["a", "b", "c"]).await?, [("b", 2)].into());
    Ok(())
}

/// A key that a batch names several times is one entry, with the last value.
async fn repeated_keys_in_a_batch_count_once(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    assert!(cache.set_many([("a", 1), ("b", 2), ("a", 3)], Timeout::Default).await?.is_empty());
    let found: HashMap<&str, i32> = cache.get_many(["a", "b", "a", "a"]).await?;
    assert_eq!(found, [("a", 3), ("b", 2)].into());
    assert_eq!(cache.delete_many(["a", "a", "b"]).await?, 2);
    Ok(())
}

/// Batches of thousands of keys work; one invalid key at the end stops the whole batch.
async fn batches_of_thousands_of_items_are_complete(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let keys: Vec<_> = (0..2500).map(|it| format!("k{it}")).collect();
    assert!(cache.set_many(keys.iter().map(|it| (it, it)), Timeout::Default).await?.is_empty());
    let found: HashMap<&String, String> = cache.get_many(&keys).await?;
    assert!(
        keys.iter().all(|it| found.get(it) == Some(it)),
        "get_many returned another value than set_many wrote"
    );
    let with_bad = keys.iter().map(String::as_str).chain(["bad key"]);
    let error = cache.delete_many(with_bad).await.expect_err("delete_many with an invalid key");
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    assert_eq!(cache.delete_many(&keys).await?, 2500);
    Ok(())
}
