use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    Result,
    store::{Expiry, SetMode},
};

use crate::{
    ctx::{Ctx, LONG, LONG_TIME, Shown, borrowed},
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    get_many_returns_one_result_per_key_in_order,
    get_entries_returns_one_result_per_key_in_order,
    set_many_writes_every_item,
    set_many_overwrites_value_and_lifetime,
    delete_many_returns_one_result_per_key_in_order,
    empty_batches_return_empty_results,
    batches_of_thousands_of_keys_are_complete,
    batches_of_large_values_are_complete,
    batches_change_no_other_keys,
];

/// `get_many` returns one result per key, in the order of the keys.
async fn get_many_returns_one_result_per_key_in_order(ctx: &Ctx) -> TestResult {
    // Not sorted: the order of the results must come from the request.
    let keys: Vec<_> =
        ["m", "z", "missing", "a", "empty", "b", "deleted"].map(|it| ctx.key(it)).into();
    for (key, value) in keys.iter().zip(["1", "2", "", "3", "", "4", "5"]) {
        ctx.put(key, value).await?;
    }
    ctx.store.delete(&keys[2]).await?;
    ctx.store.delete(&keys[6]).await?;
    let found = all(ctx.store.get_many(&borrowed(&keys)).await)?;
    let found: Vec<_> = found.iter().map(|it| it.as_deref()).collect();
    let expected: [Option<&[u8]>; 7] =
        [Some(b"1"), Some(b"2"), None, Some(b"3"), Some(b""), Some(b"4"), None];
    assert_eq!(found, expected);
    Ok(())
}

/// `get_entries` returns one entry per key, in the order of the keys, each with its own lifetime.
async fn get_entries_returns_one_result_per_key_in_order(ctx: &Ctx) -> TestResult {
    let keys: Vec<_> = ["m", "z", "missing", "a"].map(|it| ctx.key(it)).into();
    let start = ctx.now();
    ctx.put_for(&keys[0], "1", LONG).await?;
    ctx.put_for(&keys[1], "2", Expiry::Never).await?;
    ctx.put_for(&keys[3], "3", Expiry::After(LONG_TIME * 2)).await?;
    let found = all(ctx.store.get_entries(&borrowed(&keys)).await)?;
    let values: Vec<_> = found.iter().map(|it| it.as_ref().map(|it| &it.value[..])).collect();
    assert_eq!(values, [Some(&b"1"[..]), Some(b"2"), None, Some(b"3")]);
    let ttl = |n: usize| found[n].as_ref().map(|it| it.ttl);
    ctx.assert_ttl(ttl(0), LONG_TIME, start, "get_entries, first key");
    assert_eq!(ttl(1), Some(cache_core::Ttl::Forever));
    ctx.assert_ttl(ttl(3), LONG_TIME * 2, start, "get_entries, last key");
    for (key, found) in keys.iter().zip(&found) {
        assert_eq!(
            ctx.store.get_entry(key).await?.map(|it| it.stamp),
            found.as_ref().map(|it| it.stamp),
            "get_entry and get_entries return different stamps for one entry"
        );
    }
    Ok(())
}

/// `set_many` writes every item with the same lifetime and returns one result per item.
async fn set_many_writes_every_item(ctx: &Ctx) -> TestResult {
    for (name, expiry) in [("long", LONG), ("never", Expiry::Never)] {
        let keys: Vec<_> = (0..20).map(|it| ctx.key(format_args!("{name}{it}"))).collect();
        let values: Vec<_> = (0..20).map(|it| Bytes::from(format!("value {it}"))).collect();
        let items: Vec<_> = borrowed(&keys).into_iter().zip(values.clone()).collect();
        let start = ctx.now();
        let answers = all(ctx.store.set_many(&items, expiry).await)?;
        assert_eq!(answers.len(), items.len(), "one result per item");
        for (key, value) in keys.iter().zip(&values) {
            ctx.expect(key, Some(value), "after set_many").await?;
            ctx.expect_lifetime(key, expiry, start, "after set_many").await?;
        }
    }
    Ok(())
}

/// `set_many` overwrites value and lifetime, as `set` does.
async fn set_many_overwrites_value_and_lifetime(ctx: &Ctx) -> TestResult {
    let (a, b) = (ctx.key("a"), ctx.key("b"));
    let start = ctx.now();
    ctx.put_for(&a, "old", Expiry::Never).await?;
    ctx.put_for(&b, "old", Expiry::After(LONG_TIME * 3)).await?;
    all(ctx.store.set_many(&[(&a, "1".into()), (&b, "2".into())], LONG).await)?;
    for (key, value) in [(&a, b"1"), (&b, b"2")] {
        ctx.expect(key, Some(value), "after set_many").await?;
        ctx.expect_lifetime(key, LONG, start, "after set_many").await?;
    }
    Ok(())
}

/// `delete_many` returns one result per key, in the order of the keys, as `delete` would.
async fn delete_many_returns_one_result_per_key_in_order(ctx: &Ctx) -> TestResult {
    let keys: Vec<_> = ["z", "missing", "a", "m", "deleted"].map(|it| ctx.key(it)).into();
    for key in [&keys[0], &keys[2], &keys[3], &keys[4]] {
        ctx.put(key, "v").await?;
    }
    ctx.store.delete(&keys[4]).await?;
    let keys = borrowed(&keys);
    assert_eq!(all(ctx.store.delete_many(&keys).await)?, [true, false, true, true, false]);
    assert_eq!(all(ctx.store.delete_many(&keys).await)?, [false; 5], "second delete_many");
    assert_eq!(all(ctx.store.get_many(&keys).await)?, [const { None }; 5]);
    Ok(())
}

/// A batch without keys returns no results and no error.
async fn empty_batches_return_empty_results(ctx: &Ctx) -> TestResult {
    assert_eq!(ctx.store.get_many(&[]).await.len(), 0);
    assert_eq!(ctx.store.get_entries(&[]).await.len(), 0);
    assert_eq!(ctx.store.set_many(&[], LONG).await.len(), 0);
    assert_eq!(ctx.store.delete_many(&[]).await.len(), 0);
    Ok(())
}

/// Limits of a protocol or of SQL (1000 variables, packets of 64 KiB) do not show.
async fn batches_of_thousands_of_keys_are_complete(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(2500);
    let keys = borrowed(&keys);
    let value = |n: usize| Bytes::from(format!("value {n}"));
    let items: Vec<_> = keys.iter().enumerate().map(|(n, key)| (*key, value(n))).collect();
    assert_eq!(all(ctx.store.set_many(&items, LONG).await)?.len(), keys.len());
    ctx.store.delete(keys[1234]).await?;
    let found = all(ctx.store.get_many(&keys).await)?;
    assert_eq!(found.len(), keys.len(), "one result per key");
    let entries = all(ctx.store.get_entries(&keys).await)?;
    assert_eq!(entries.len(), keys.len(), "one result per key");
    for (n, (found, entry)) in found.into_iter().zip(entries).enumerate() {
        let expected = (n != 1234).then(|| value(n));
        assert_eq!(found, expected, "get_many, key {n}");
        assert_eq!(entry.map(|it| it.value), expected, "get_entries, key {n}");
    }
    let deleted = all(ctx.store.delete_many(&keys).await)?;
    let absent: Vec<_> = (0..deleted.len()).filter(|&n| !deleted[n]).collect();
    assert_eq!((deleted.len(), absent), (keys.len(), vec![1234]));
    Ok(())
}

/// A batch of megabytes returns each value under its key.
async fn batches_of_large_values_are_complete(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(64);
    let keys = borrowed(&keys);
    let len = (64 << 10).min(ctx.capabilities.max_value_len.unwrap_or(usize::MAX));
    let items: Vec<_> = keys.iter().zip(0..).map(|(key, n)| (*key, vec![n; len].into())).collect();
    all(ctx.store.set_many(&items, LONG).await)?;
    let found = all(ctx.store.get_many(&keys).await)?;
    for ((key, value), found) in items.iter().zip(found) {
        assert!(
            found.as_ref() == Some(value),
            "{key} holds {}, expected {}",
            Shown(found.as_deref()),
            Shown(Some(value))
        );
    }
    Ok(())
}

/// A batch leaves keys alone that begin like its own.
async fn batches_change_no_other_keys(ctx: &Ctx) -> TestResult {
    let other = ctx.key("1"); // the keys of the batch, `10` and `11`, begin with it
    ctx.put_for(&other, "old", Expiry::Never).await?;
    let (a, b) = (ctx.key("10"), ctx.key("11"));
    all(ctx.store.set_many(&[(&a, "v".into()), (&b, "v".into())], LONG).await)?;
    assert_eq!(all(ctx.store.delete_many(&[&a, &b]).await)?, [true, true]);
    ctx.expect(&other, Some(b"old"), "a key that is not in the batch").await?;
    ctx.expect_lifetime(&other, Expiry::Never, ctx.now(), "a key that is not in the batch").await?;
    let short = Expiry::After(Duration::from_secs(9));
    let added = ctx.store.set(&other, "v".into(), short, SetMode::IfAbsent).await?;
    assert!(!added, "add of a live key that is not in the batch");
    Ok(())
}

fn all<T>(answers: Vec<Result<T>>) -> Result<Vec<T>> {
    answers.into_iter().collect()
}
