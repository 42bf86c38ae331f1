use std::time::Duration;

use cache_core::store::{Entry, Expected, Expiry, SetMode, TtlUpdate};

use crate::{
    ctx::{Ctx, LONG},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    compare_and_delete_removes_the_expected_entry,
    compare_and_delete_keeps_other_values,
    compare_and_set_replaces_the_expected_value,
    compare_and_set_keeps_other_values,
    compare_and_set_keeps_the_lifetime,
    compare_and_set_sets_the_lifetime,
    comparison_with_an_absent_key_is_false,
    comparisons_are_exact_for_every_byte,
    stamp_is_stable_until_the_next_write,
    stale_stamp_is_refused_after_set,
    stale_stamp_is_refused_after_touch,
    stale_stamp_is_refused_after_delete_and_add,
    stamp_from_a_batch_read_is_valid,
    late_purge_keeps_a_newer_entry,
    added_value_is_compared_with_the_stored_one,
];

const OTHER: Expiry = Expiry::After(Duration::from_secs(7200));

async fn entry(ctx: &Ctx, key: &str) -> cache_core::Result<Entry> {
    Ok(ctx.store.get_entry(key).await?.expect("the entry is live"))
}

/// `compare_and_delete` removes an entry that is live and still the expected one.
async fn compare_and_delete_removes_the_expected_entry(ctx: &Ctx) -> TestResult {
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

/// A value that differs, or only begins like the expected one, is not removed.
async fn compare_and_delete_keeps_other_values(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "value").await?;
    for other in ["", "v", "valu", "value ", "VALUE", "values"] {
        returned!(
            ctx.store.compare_and_delete(&key, Expected::value(other.as_bytes())).await?,
            false,
            "compare_and_delete of \"value\" expected as {other:?}"
        );
    }
    ctx.expect(&key, Some(b"value"), "after compare_and_delete").await?;
    ctx.put(&key, "").await?;
    assert!(!ctx.store.compare_and_delete(&key, Expected::value(b"value")).await?);
    assert!(ctx.store.compare_and_delete(&key, Expected::value(b"")).await?);
    Ok(())
}

/// `compare_and_set` replaces the value of an entry that is live and still the expected one.
async fn compare_and_set_replaces_the_expected_value(ctx: &Ctx) -> TestResult {
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
    returned!(same.await?, true, "compare_and_set to the same bytes");
    ctx.expect(&key, Some(b"same"), "after compare_and_set").await?;
    Ok(())
}

/// A refused `compare_and_set` changes neither value nor lifetime.
async fn compare_and_set_keeps_other_values(ctx: &Ctx) -> TestResult {
    let (key, start) = (ctx.key("k"), ctx.now());
    ctx.put(&key, "value").await?;
    for other in ["", "v", "valu", "value ", "VALUE", "values"] {
        let seen = Expected::value(other.as_bytes());
        returned!(
            ctx.store.compare_and_set(&key, seen, "new".into(), TtlUpdate::New(OTHER)).await?,
            false,
            "compare_and_set of \"value\" expected as {other:?}"
        );
    }
    ctx.expect(&key, Some(b"value"), "after compare_and_set").await?;
    ctx.expect_lifetime(&key, LONG, start, "after compare_and_set").await?;
    Ok(())
}

/// With [`TtlUpdate::Keep`] the lifetime goes on.
async fn compare_and_set_keeps_the_lifetime(ctx: &Ctx) -> TestResult {
    for (name, life) in [("long", LONG), ("never", Expiry::Never)] {
        let (key, start) = (ctx.key(name), ctx.now());
        ctx.put_for(&key, "1", life).await?;
        assert!(
            ctx.store
                .compare_and_set(&key, Expected::value(b"1"), "2".into(), TtlUpdate::Keep)
                .await?
        );
        ctx.expect_lifetime(&key, life, start, "after compare_and_set").await?;
    }
    Ok(())
}

/// With [`TtlUpdate::New`] the entry gets a new lifetime.
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
        ctx.expect_lifetime(&key, life, start, "after compare_and_set").await?;
    }
    Ok(())
}

/// An absent key equals no expected value, also not the empty one, and is not created.
async fn comparison_with_an_absent_key_is_false(ctx: &Ctx) -> TestResult {
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

/// Values are compared as bytes: a zero byte does not end them, and they need not be text.
async fn comparisons_are_exact_for_every_byte(ctx: &Ctx) -> TestResult {
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

/// A stamp changes when its entry is written, and not otherwise.
async fn stamp_is_stable_until_the_next_write(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for life in [LONG, Expiry::Never] {
        ctx.put_for(&key, "v", life).await?;
        let seen = entry(ctx, &key).await?;
        ctx.put(&ctx.key("other"), "v").await?;
        ctx.store.has(&key).await?;
        ctx.get(&key).await?;
        assert_eq!(entry(ctx, &key).await?.stamp, seen.stamp, "the stamp after reads");
        assert!(ctx.store.compare_and_delete(&key, Expected::entry(&seen)).await?);
    }
    Ok(())
}

/// A stamp changes when the entry is written with another lifetime.
async fn stale_stamp_is_refused_after_set(ctx: &Ctx) -> TestResult {
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
        check_refused(ctx, &key, &seen, name).await?;
    }
    Ok(())
}

/// A stamp changes when `touch` sets another lifetime.
async fn stale_stamp_is_refused_after_touch(ctx: &Ctx) -> TestResult {
    for (name, first, second) in
        [("longer", LONG, OTHER), ("never", LONG, Expiry::Never), ("ends", Expiry::Never, LONG)]
    {
        let key = ctx.key(name);
        ctx.put_for(&key, "v", first).await?;
        let seen = entry(ctx, &key).await?;
        assert!(ctx.store.touch(&key, second).await?);
        check_refused(ctx, &key, &seen, name).await?;
    }
    Ok(())
}

/// The same bytes after `delete` and `add` are another entry.
async fn stale_stamp_is_refused_after_delete_and_add(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "v").await?;
    let seen = entry(ctx, &key).await?;
    ctx.store.delete(&key).await?;
    assert!(ctx.store.set(&key, "v".into(), OTHER, SetMode::IfAbsent).await?);
    check_refused(ctx, &key, &seen, "a new entry").await
}

/// Checks that comparisons with a stale stamp fail, and that a comparison with the value alone
/// succeeds.
async fn check_refused(ctx: &Ctx, key: &str, seen: &Entry, what: &str) -> TestResult {
    let stale = Expected::entry(seen);
    returned!(
        ctx.store.compare_and_set(key, stale, "new".into(), TtlUpdate::Keep).await?,
        false,
        "compare_and_set ({what})"
    );
    returned!(
        ctx.store.compare_and_delete(key, stale).await?,
        false,
        "compare_and_delete ({what})"
    );
    ctx.expect(key, Some(&seen.value), what).await?;
    returned!(
        ctx.store.compare_and_delete(key, Expected::value(&seen.value)).await?,
        true,
        "compare_and_delete by the value alone ({what})"
    );
    Ok(())
}

/// `get_entries` returns the same stamps as `get_entry`.
async fn stamp_from_a_batch_read_is_valid(ctx: &Ctx) -> TestResult {
    let (stays, changes) = (ctx.key("stays"), ctx.key("changes"));
    ctx.put(&stays, "v").await?;
    ctx.put(&changes, "v").await?;
    let seen: Result<Vec<_>, _> =
        ctx.store.get_entries(&[&stays, &changes]).await.into_iter().collect();
    let seen: Vec<_> = seen?.into_iter().flatten().collect();
    assert_eq!(seen.len(), 2, "get_entries of two live keys");
    assert!(ctx.store.touch(&changes, OTHER).await?);
    assert!(!ctx.store.compare_and_delete(&changes, Expected::entry(&seen[1])).await?);
    assert!(ctx.store.compare_and_delete(&stays, Expected::entry(&seen[0])).await?);
    Ok(())
}

/// A purge with an old stamp or an old value removes nothing newer. The facade purges corrupt
/// entries this way.
async fn late_purge_keeps_a_newer_entry(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "corrupt").await?;
    let seen = entry(ctx, &key).await?;
    // Meanwhile another writer wrote the same bytes with another lifetime.
    ctx.put_for(&key, "corrupt", OTHER).await?;
    assert!(!ctx.store.compare_and_delete(&key, Expected::entry(&seen)).await?);
    ctx.put(&key, "good").await?;
    assert!(!ctx.store.compare_and_delete(&key, Expected::entry(&seen)).await?);
    ctx.expect(&key, Some(b"good"), "after two late purges").await?;
    Ok(())
}

/// A store may remember a value that it has added, such as the lease of a load. A comparison with
/// the value still fails if the key was changed or removed since, and a rewrite of the same bytes
/// does not count as a change.
async fn added_value_is_compared_with_the_stored_one(ctx: &Ctx) -> TestResult {
    let (store, key) = (&ctx.store, ctx.key("k"));
    let (seen, new) = (Expected::value(b"lease"), TtlUpdate::New(OTHER));
    let add = async || {
        store.delete(&key).await?;
        store.set(&key, "lease".into(), LONG, SetMode::IfAbsent).await
    };
    for change in ["none", "same bytes", "touch", "delete and add", "other bytes", "delete"] {
        let is_same = !matches!(change, "other bytes" | "delete");
        for removes in [false, true] {
            assert!(add().await?);
            match change {
                "same bytes" => ctx.put(&key, "lease").await?,
                "touch" => assert!(store.touch(&key, Expiry::Never).await?),
                "delete and add" => assert!(add().await?),
                "other bytes" => ctx.put(&key, "other").await?,
                "delete" => assert!(store.delete(&key).await?),
                _ => {}
            }
            let start = ctx.now();
            if removes {
                assert_eq!(store.compare_and_delete(&key, seen).await?, is_same, "{change}");
                assert!(!store.compare_and_delete(&key, seen).await?, "{change}, again");
            } else {
                let set = async || store.compare_and_set(&key, seen, "new".into(), new).await;
                assert_eq!(set().await?, is_same, "{change}");
                assert!(!set().await?, "{change}, again");
            }
            let left: Option<&[u8]> = match (change, removes) {
                ("other bytes", _) => Some(b"other"),
                ("delete", _) | (_, true) => None,
                (_, false) => Some(b"new"),
            };
            ctx.expect(&key, left, change).await?;
            if is_same && !removes {
                ctx.expect_lifetime(&key, OTHER, start, change).await?;
            }
        }
    }
    assert!(add().await?);
    store.clear(&ctx.namespace(ctx.prefix())).await?;
    assert!(!store.compare_and_set(&key, seen, "new".into(), new).await?);
    ctx.expect(&key, None, "after clear and compare_and_set").await?;
    assert!(add().await?);
    store.clear(&ctx.namespace(ctx.prefix())).await?;
    returned!(store.compare_and_delete(&key, seen).await?, false, "after clear");
    Ok(())
}
