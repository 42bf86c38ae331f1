use cache_core::{
    Result,
    store::{CounterInit, Expiry, Namespace, SetMode},
    testing::RESERVED_WORDS,
};

use crate::{
    ctx::{Ctx, LONG, borrowed},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    clear_removes_every_version,
    clear_removes_entries_of_the_library,
    clear_removes_entries_written_by_any_operation,
    clear_keeps_keys_outside_the_namespace,
    clear_takes_the_prefix_literally,
    clear_of_an_unusual_prefix_is_exact,
    clear_removes_thousands_of_keys,
    clear_of_an_empty_namespace_succeeds,
    cleared_key_can_be_written_again,
    clear_of_the_empty_prefix_keeps_other_keys(wipes),
    clear_store_removes_everything(wipes),
];

/// `clear` removes the keys of all versions of a `key_prefix`.
async fn clear_removes_every_version(ctx: &Ctx) -> TestResult {
    let namespace = ctx.namespace(ctx.prefix());
    let versions = [0, 1, 2, -1, 10, 1_000_000, i64::MAX, i64::MIN];
    let keys: Vec<_> = versions.iter().map(|it| format!("{}:{it}:k", ctx.prefix())).collect();
    check_cleared(ctx, &namespace, &keys).await
}

/// `clear` removes the entries that the library itself stored in the namespace.
async fn clear_removes_entries_of_the_library(ctx: &Ctx) -> TestResult {
    let namespace = ctx.namespace(ctx.prefix());
    let keys: Vec<_> =
        RESERVED_WORDS.iter().map(|it| format!("{}:{it}:1:k", ctx.prefix())).collect();
    check_cleared(ctx, &namespace, &keys).await
}

/// Writes `keys`, clears the namespace and checks that the keys are absent.
async fn check_cleared(ctx: &Ctx, namespace: &Namespace, keys: &[String]) -> TestResult {
    for key in keys {
        assert!(namespace.contains(key), "the suite's key {key} belongs to {namespace:?}");
        ctx.put(key, "v").await?;
    }
    ctx.store.clear(namespace).await?;
    for key in keys {
        ctx.expect(key, None, "after clear").await?;
    }
    Ok(())
}

/// `clear` removes an entry whatever operation wrote it and whatever its lifetime is.
async fn clear_removes_entries_written_by_any_operation(ctx: &Ctx) -> TestResult {
    let keys =
        ["set", "never", "added", "counted", "batch", "renamed", "touched", "a:b:c", "empty"];
    let keys: Vec<_> = keys.iter().map(|it| ctx.key(it)).collect();
    ctx.put(&keys[0], "v").await?;
    ctx.put_for(&keys[1], "v", Expiry::Never).await?;
    ctx.store.set(&keys[2], "v".into(), LONG, SetMode::IfAbsent).await?;
    ctx.store.incr(&keys[3], 1, Some(CounterInit::new(0, LONG))).await?;
    ctx.store.set_many(&[(&keys[4], "v".into())], LONG).await.pop().expect("one answer")?;
    let from = ctx.foreign(format!("{}-outside", ctx.prefix()));
    ctx.put(&from, "v").await?;
    assert!(ctx.store.rename(&from, &keys[5]).await?);
    ctx.put(&keys[6], "v").await?;
    ctx.store.touch(&keys[6], Expiry::Never).await?;
    ctx.put(&keys[7], "v").await?;
    ctx.put(&keys[8], "").await?;
    ctx.store.clear(&ctx.namespace(ctx.prefix())).await?;
    let found: Result<Vec<_>> = ctx.store.get_many(&borrowed(&keys)).await.into_iter().collect();
    assert_eq!(found?, vec![None; keys.len()]);
    for key in &keys {
        returned!(ctx.store.has(key).await?, false, "has of the cleared key {key}");
        returned!(
            ctx.store.set(key, "v".into(), LONG, SetMode::IfAbsent).await?,
            true,
            "add of {key}"
        );
    }
    Ok(())
}

/// `clear` keeps foreign keys and other namespaces: `shop` does not clear `shop:eu`.
async fn clear_keeps_keys_outside_the_namespace(ctx: &Ctx) -> TestResult {
    let shop = ctx.prefix();
    let namespace = ctx.namespace(shop);
    let kept = [
        format!("{shop}:eu:1:k"), // another prefix, after a colon
        format!("{shop}:eu:tag:1:k"),
        format!("{shop}ping:1:k"), // another prefix that begins with this one
        shop.to_owned(),
        format!("{shop}:"),
        format!("{shop}:1"), // no key follows
        format!("{shop}::1:k"),
        format!("{shop}:01:k"), // not a version
        format!("{shop}:+1:k"),
        format!("{shop}:-0:k"),
        format!("{shop}:1a:k"),
        format!("{shop}:1.0:k"),
        format!("{shop}:tags:k"), // not a reserved word
        format!("{shop}:TAG:k"),
        format!("x{shop}:1:k"), // the prefix is not at the beginning
        format!("x:{shop}:1:k"),
        format!("{}:1:k", shop.to_uppercase()),
        format!("foreign-{shop}"),
    ];
    for key in &kept {
        assert!(!namespace.contains(key), "the suite's key {key} does not belong to {namespace:?}");
        ctx.put_for(&ctx.foreign(key), "v", Expiry::Never).await?;
    }
    ctx.put(&ctx.key("k"), "v").await?;
    ctx.store.clear(&namespace).await?;
    ctx.expect(&ctx.key("k"), None, "a key of the cleared namespace").await?;
    for key in &kept {
        ctx.expect(key, Some(b"v"), "a key outside the cleared namespace").await?;
        ctx.expect_lifetime(key, Expiry::Never, ctx.now(), "a key outside the cleared namespace")
            .await?;
    }
    Ok(())
}

/// Pattern characters in a prefix stand for themselves, also in stores that find keys by patterns.
async fn clear_takes_the_prefix_literally(ctx: &Ctx) -> TestResult {
    let p = ctx.prefix();
    for (own, similar) in [
        (format!("{p}*"), format!("{p}abc")),
        (format!("{p}?"), format!("{p}a")),
        (format!("{p}[ab]"), format!("{p}a")),
        (format!("{p}[^a]"), format!("{p}b")),
        (format!("{p}\\"), p.to_owned()),
        (format!("{p}\\*"), format!("{p}*")),
        (format!("{p}%"), format!("{p}abc")),
        (format!("{p}_"), format!("{p}a")),
        (format!("{p}.*"), format!("{p}.a")),
        (format!("{p}$"), p.to_owned()),
        (format!("*{p}"), format!("a{p}")),
    ] {
        check_exact(ctx, &own, &similar).await?;
    }
    Ok(())
}

/// `clear` distinguishes prefixes with non-ASCII letters, quotes, and letters that differ only in
/// case.
async fn clear_of_an_unusual_prefix_is_exact(ctx: &Ctx) -> TestResult {
    let p = ctx.prefix();
    for (own, similar) in [
        (format!("{p}-ä"), format!("{p}-a")),
        (format!("{p}-é"), format!("{p}-e\u{301}")), // they look the same
        (format!("{p}-日本"), format!("{p}-日")),
        (format!("{p}-K"), format!("{p}-k")),
        (format!("{p}'"), format!("{p}''")),
        (format!("{p}\""), p.to_owned()),
        (format!("{p}/"), p.to_owned()),
        (format!("{p}/.."), format!("{p}/")),
        (format!("{p}:a:b"), format!("{p}:a")),
        (format!("{p}:"), p.to_owned()),
    ] {
        check_exact(ctx, &own, &similar).await?;
        check_exact(ctx, &similar, &own).await?;
    }
    Ok(())
}

/// Clears one prefix and checks that the key of the other prefix is still live.
async fn check_exact(ctx: &Ctx, own: &str, other: &str) -> TestResult {
    let namespace = ctx.namespace(own);
    ctx.namespace(other);
    let (own, other) = (format!("{own}:1:k"), format!("{other}:1:k"));
    ctx.put(&own, "v").await?;
    ctx.put(&other, "v").await?;
    ctx.store.clear(&namespace).await?;
    ctx.expect(&own, None, &format!("after clear of {namespace:?}")).await?;
    ctx.expect(&other, Some(b"v"), &format!("after clear of {namespace:?}")).await?;
    Ok(())
}

/// `clear` removes more keys than fit in one page of a list of keys.
async fn clear_removes_thousands_of_keys(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(2500);
    let keys = borrowed(&keys);
    let items: Vec<_> = keys.iter().map(|key| (*key, "v".into())).collect();
    ctx.store.set_many(&items, LONG).await.into_iter().collect::<Result<()>>()?;
    let kept = ctx.foreign(format!("{}:eu:1:k", ctx.prefix()));
    ctx.put(&kept, "v").await?;
    ctx.store.clear(&ctx.namespace(ctx.prefix())).await?;
    let left: Result<Vec<_>> = ctx.store.get_many(&keys).await.into_iter().collect();
    assert_eq!(left?.iter().flatten().count(), 0, "entries left after clear");
    ctx.expect(&kept, Some(b"v"), "a key outside the cleared namespace").await?;
    Ok(())
}

/// `clear` of an empty namespace succeeds, also twice.
async fn clear_of_an_empty_namespace_succeeds(ctx: &Ctx) -> TestResult {
    let namespace = ctx.namespace(ctx.prefix());
    ctx.store.clear(&namespace).await?;
    ctx.store.clear(&namespace).await?;
    Ok(())
}

/// A key that was cleared can be written again.
async fn cleared_key_can_be_written_again(ctx: &Ctx) -> TestResult {
    let (key, namespace) = (ctx.key("k"), ctx.namespace(ctx.prefix()));
    for round in 0..5 {
        let value = format!("v{round}");
        ctx.put(&key, value.clone()).await?;
        ctx.expect(&key, Some(value.as_bytes()), "written after clear").await?;
        ctx.store.clear(&namespace).await?;
        ctx.expect(&key, None, "after clear").await?;
        assert_eq!(ctx.store.incr(&key, 1, None).await?, None, "incr of a cleared key");
    }
    Ok(())
}

/// The empty prefix clears only keys of the form `:version:key`.
async fn clear_of_the_empty_prefix_keeps_other_keys(ctx: &Ctx) -> TestResult {
    let p = ctx.prefix();
    let own = [format!(":1:{p}"), format!(":-7:{p}"), format!(":tag:{p}"), format!(":1::{p}")];
    let kept = [
        ctx.key("k"),
        p.to_owned(),
        format!(":{p}:1:k"),
        format!("::1:{p}"),
        format!(":01:{p}"),
        format!("1:{p}"),
    ];
    let empty = Namespace::new("")?;
    for key in own.iter().chain(&kept) {
        ctx.put(&ctx.foreign(key), "v").await?;
    }
    ctx.store.clear(&empty).await?;
    for key in &own {
        ctx.expect(key, None, "after clear").await?;
    }
    for key in &kept {
        ctx.expect(key, Some(b"v"), "after clear").await?;
    }
    Ok(())
}

/// `clear_store` removes all keys, also foreign ones.
async fn clear_store_removes_everything(ctx: &Ctx) -> TestResult {
    let p = ctx.prefix();
    let keys = [
        ctx.key("k"),
        format!("{p}:tag:k"),
        format!("foreign-{p}"),
        format!(":1:{p}"),
        format!("{p}-other:9:k"),
    ];
    for key in &keys {
        ctx.put_for(&ctx.foreign(key), "v", Expiry::Never).await?;
    }
    ctx.store.clear_store().await?;
    for key in &keys {
        ctx.expect(key, None, "after clear_store").await?;
    }
    ctx.store.clear_store().await?;
    ctx.put(&keys[0], "v").await?;
    ctx.expect(&keys[0], Some(b"v"), "written after clear_store").await?;
    Ok(())
}
