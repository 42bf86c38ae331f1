use std::time::Duration;

use cache_core::{Entry, Expiry, Lifetime, Seen};

use crate::{
    ctx::{Ctx, LONG},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    compare_and_delete_removes_what_was_seen,
    compare_and_delete_leaves_other_bytes,
    compare_and_set_replaces_what_was_seen,
    compare_and_set_leaves_other_bytes,
    compare_and_set_keeps_the_lifetime,
    compare_and_set_sets_the_lifetime,
    comparing_with_an_absent_key_is_false,
    comparisons_take_all_bytes,
    a_stamp_holds_as_long_as_nothing_is_written,
    a_stale_stamp_is_refused_after_a_set,
    a_stale_stamp_is_refused_after_a_touch,
    a_stale_stamp_is_refused_after_a_new_entry,
    a_stamp_of_a_batch_is_as_good,
    d20_a_purge_leaves_what_was_written_meanwhile,
];

const OTHER: Expiry = Expiry::After(Duration::from_secs(7200));

async fn entry(ctx: &Ctx, key: &str) -> cache_core::Result<Entry> {
    Ok(ctx.store.get_entry(key).await?.expect("the entry is live"))
}

/// "Removes `key` if it is live and still as it was `seen`; whether it did."
async fn compare_and_delete_removes_what_was_seen(ctx: &Ctx) -> TestResult {
    let (by_value, by_entry) = (ctx.key("value"), ctx.key("entry"));
    for life in [LONG, Expiry::Never] {
        ctx.put_for(&by_value, "v", life).await?;
        ctx.put_for(&by_entry, "v", life).await?;
        assert!(ctx.store.compare_and_delete(&by_value, Expected::value(b"v")).await?);
        let seen = entry(ctx, &by_entry).await?;
        assert!(ctx.store.compare_and_delete(&by_entry, Expected::entry(&seen)).await?);
        ctx.expect(&by_value, None, "after compare_and_delete").await?;
        ctx.expect(&by_entry, None, "after compare_and_delete").await?;
    }
    Ok(())
}

/// Other bytes, and what only begins like them, are not what was seen.
async fn compare_and_delete_leaves_other_bytes(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "value").await?;
    for other in ["", "v", "valu", "value ", "VALUE", "values"] {
        assert!(
            !ctx.store.compare_and_delete(&key, Expected::value(other.as_bytes())).await?,
            "{other:?}"
        );
    }
    ctx.expect(&key, Some(b"value"), "after compare_and_delete").await?;
    ctx.put(&key, "").await?;
    assert!(!ctx.store.compare_and_delete(&key, Expected::value(b"value")).await?);
    assert!(ctx.store.compare_and_delete(&key, Expected::value(b"")).await?);
    Ok(())
}

/// "Replaces the value of `key` if it is live and still as it was `seen`; whether it did."
async fn compare_and_set_replaces_what_was_seen(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "1").await?;
    assert!(
        ctx.store.compare_and_set(&key, Expected::value(b"1"), "2".into(), TtlUpdate::Keep).await?
    );
    ctx.expect(&key, Some(b"2"), "after compare_and_set").await?;
    let seen = entry(ctx, &key).await?;
    assert!(
        ctx.store.compare_and_set(&key, Expected::entry(&seen), "".into(), TtlUpdate::Keep).await?
    );
    ctx.expect(&key, Some(b""), "after compare_and_set").await?;
    assert!(
        ctx.store
            .compare_and_set(&key, Expected::value(b""), "same".into(), TtlUpdate::Keep)
            .await?
    );
    let same =
        ctx.store.compare_and_set(&key, Expected::value(b"same"), "same".into(), TtlUpdate::Keep);
    assert!(same.await?, "the same bytes again are a replacement, too");
    ctx.expect(&key, Some(b"same"), "after compare_and_set").await?;
    Ok(())
}

/// A refused replacement changes neither value nor lifetime.
async fn compare_and_set_leaves_other_bytes(ctx: &Ctx) -> TestResult {
    let (key, start) = (ctx.key("k"), ctx.now());
    ctx.put(&key, "value").await?;
    for other in ["", "v", "valu", "value ", "VALUE", "values"] {
        let seen = Expected::value(other.as_bytes());
        assert!(
            !ctx.store.compare_and_set(&key, seen, "new".into(), TtlUpdate::New(OTHER)).await?,
            "{other:?}"
        );
    }
    ctx.expect(&key, Some(b"value"), "after compare_and_set").await?;
    ctx.expect_life(&key, LONG, start, "after compare_and_set").await?;
    Ok(())
}

/// "[`TtlUpdate::Keep`]: It goes on."
async fn compare_and_set_keeps_the_lifetime(ctx: &Ctx) -> TestResult {
    for (name, life) in [("long", LONG), ("never", Expiry::Never)] {
        let (key, start) = (ctx.key(name), ctx.now());
        ctx.put_for(&key, "1", life).await?;
        assert!(
            ctx.store
                .compare_and_set(&key, Expected::value(b"1"), "2".into(), TtlUpdate::Keep)
                .await?
        );
        ctx.expect_life(&key, life, start, "after compare_and_set").await?;
    }
    Ok(())
}

/// "[`TtlUpdate::New`]: It is this from now on."
async fn compare_and_set_sets_the_lifetime(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "v").await?;
    for life in [OTHER, Expiry::Never, Expiry::Never, LONG] {
        let start = ctx.now();
        assert!(
            ctx.store
                .compare_and_set(&key, Expected::value(b"v"), "v".into(), TtlUpdate::New(life))
                .await?
        );
        ctx.expect_life(&key, life, start, "after compare_and_set").await?;
    }
    Ok(())
}

/// Nothing can have been seen there, not even an empty value; and nothing is made.
async fn comparing_with_an_absent_key_is_false(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for value in ["", "v"] {
        let seen = Expected::value(value.as_bytes());
        assert!(!ctx.store.compare_and_delete(&key, seen).await?);
        assert!(!ctx.store.compare_and_set(&key, seen, "new".into(), TtlUpdate::Keep).await?);
        assert!(!ctx.store.compare_and_set(&key, seen, "new".into(), TtlUpdate::New(LONG)).await?);
    }
    ctx.expect(&key, None, "after compare_and_set").await?;
    Ok(())
}

/// Bytes are bytes: zero ends nothing, and what is no text is compared as well.
async fn comparisons_take_all_bytes(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    let value: Vec<u8> = (0..=255).collect();
    ctx.put(&key, value.clone()).await?;
    let mut other = value.clone();
    other[255] = 0;
    assert!(!ctx.store.compare_and_delete(&key, Expected::value(&other)).await?);
    assert!(
        ctx.store
            .compare_and_set(&key, Expected::value(&value), other.clone().into(), TtlUpdate::Keep)
            .await?
    );
    assert!(
        !ctx.store
            .compare_and_set(&key, Expected::value(&value), "".into(), TtlUpdate::Keep)
            .await?
    );
    assert!(ctx.store.compare_and_delete(&key, Expected::value(&other)).await?);
    Ok(())
}

/// A stamp "changes when an entry is written again", not by itself.
async fn a_stamp_holds_as_long_as_nothing_is_written(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for life in [LONG, Expiry::Never] {
        ctx.put_for(&key, "v", life).await?;
        let seen = entry(ctx, &key).await?;
        ctx.put(&ctx.key("other"), "v").await?;
        ctx.store.has(&key).await?;
        ctx.get(&key).await?;
        assert_eq!(entry(ctx, &key).await?.stamp, seen.stamp);
        assert!(ctx.store.compare_and_delete(&key, Expected::entry(&seen)).await?);
    }
    Ok(())
}

/// "A number of the store's own that changes when an entry is written again with another lifetime."
async fn a_stale_stamp_is_refused_after_a_set(ctx: &Ctx) -> TestResult {
    for (name, first, second) in [
        ("longer", LONG, OTHER),
        ("shorter", OTHER, LONG),
        ("to never", LONG, Expiry::Never),
        ("from never", Expiry::Never, LONG),
    ] {
        let key = ctx.key(name.replace(' ', "-"));
        ctx.put_for(&key, "v", first).await?;
        let seen = entry(ctx, &key).await?;
        ctx.put_for(&key, "v", second).await?;
        refused(ctx, &key, &seen, name).await?;
    }
    Ok(())
}

/// `touch` gives another lifetime, so it counts.
async fn a_stale_stamp_is_refused_after_a_touch(ctx: &Ctx) -> TestResult {
    for (name, first, second) in
        [("longer", LONG, OTHER), ("never", LONG, Expiry::Never), ("ends", Expiry::Never, LONG)]
    {
        let key = ctx.key(name);
        ctx.put_for(&key, "v", first).await?;
        let seen = entry(ctx, &key).await?;
        assert!(ctx.store.touch(&key, second).await?);
        refused(ctx, &key, &seen, name).await?;
    }
    Ok(())
}

/// The same bytes after a `delete` and an `add` are another entry.
async fn a_stale_stamp_is_refused_after_a_new_entry(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "v").await?;
    let seen = entry(ctx, &key).await?;
    ctx.store.delete(&key).await?;
    assert!(ctx.store.set(&key, "v".into(), OTHER, cache_core::SetMode::IfAbsent).await?);
    refused(ctx, &key, &seen, "a new entry").await
}

async fn refused(ctx: &Ctx, key: &str, seen: &Entry, what: &str) -> TestResult {
    let stale = Expected::entry(seen);
    assert!(!ctx.store.compare_and_set(key, stale, "new".into(), TtlUpdate::Keep).await?, "{what}");
    assert!(!ctx.store.compare_and_delete(key, stale).await?, "{what}");
    ctx.expect(key, Some(&seen.value), what).await?;
    assert!(
        ctx.store.compare_and_delete(key, Expected::value(&seen.value)).await?,
        "the bytes are the same: {what}"
    );
    Ok(())
}

/// `get_entries` sees what `get_entry` sees.
async fn a_stamp_of_a_batch_is_as_good(ctx: &Ctx) -> TestResult {
    let (stays, changes) = (ctx.key("stays"), ctx.key("changes"));
    ctx.put(&stays, "v").await?;
    ctx.put(&changes, "v").await?;
    let seen: Result<Vec<_>, _> =
        ctx.store.get_entries(&[&stays, &changes]).await.into_iter().collect();
    let seen: Vec<_> = seen?.into_iter().flatten().collect();
    assert_eq!(seen.len(), 2, "both are there");
    assert!(ctx.store.touch(&changes, OTHER).await?);
    assert!(!ctx.store.compare_and_delete(&changes, Expected::entry(&seen[1])).await?);
    assert!(ctx.store.compare_and_delete(&stays, Expected::entry(&seen[0])).await?);
    Ok(())
}

/// "A corrupt or expired entry is purged only if bytes and expiry are still those that were seen (D20)": this is what the
/// facade purges with.
async fn d20_a_purge_leaves_what_was_written_meanwhile(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "corrupt").await?;
    let seen = entry(ctx, &key).await?;
    // Another writer was faster; by chance it wrote the same bytes.
    ctx.put_for(&key, "corrupt", OTHER).await?;
    assert!(!ctx.store.compare_and_delete(&key, Expected::entry(&seen)).await?);
    ctx.put(&key, "good").await?;
    assert!(!ctx.store.compare_and_delete(&key, Expected::entry(&seen)).await?);
    ctx.expect(&key, Some(b"good"), "after two purges that came late").await?;
    Ok(())
}
