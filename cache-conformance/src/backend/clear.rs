use cache_core::{Create, Expiry, Result, SetMode, testing::RESERVED_WORDS};

use crate::{
    ctx::{Ctx, LONG, borrowed},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    clear_removes_every_version,
    clear_removes_what_the_library_stored,
    clear_removes_all_kinds_of_entries,
    d26_clear_spares_what_is_not_in_the_namespace,
    clear_takes_the_prefix_literally,
    clear_of_an_unusual_prefix_is_exact,
    clear_removes_thousands_of_keys,
    clear_of_nothing_is_no_error,
    a_cleared_key_can_be_written_again,
    clear_of_the_empty_prefix_spares_other_keys(wipes),
    clear_store_removes_everything(wipes),
];

/// `clear`: "removes this alias's namespace (its `key_prefix`, all versions ...)".
async fn clear_removes_every_version(ctx: &Ctx) -> TestResult {
    let namespace = ctx.namespace(ctx.prefix());
    let versions = [0, 1, 2, -1, 10, 1_000_000, i64::MAX, i64::MIN];
    let keys: Vec<_> = versions.iter().map(|it| format!("{}:{it}:k", ctx.prefix())).collect();
    gone(ctx, &namespace, &keys).await
}

/// "... and what the library stored for it)": the words that stand where the version would.
async fn clear_removes_what_the_library_stored(ctx: &Ctx) -> TestResult {
    let namespace = ctx.namespace(ctx.prefix());
    let keys: Vec<_> =
        RESERVED_WORDS.iter().map(|it| format!("{}:{it}:1:k", ctx.prefix())).collect();
    gone(ctx, &namespace, &keys).await
}

async fn gone(ctx: &Ctx, namespace: &cache_core::Namespace, keys: &[String]) -> TestResult {
    for key in keys {
        assert!(namespace.contains(key), "{key} is one of {namespace:?}");
        ctx.put(key, "v").await?;
    }
    ctx.store.clear(namespace).await?;
    for key in keys {
        ctx.expect(key, None, "after clear").await?;
    }
    Ok(())
}

/// However it was written, whatever lifetime it has.
async fn clear_removes_all_kinds_of_entries(ctx: &Ctx) -> TestResult {
    let keys =
        ["set", "never", "added", "counted", "batch", "renamed", "touched", "a:b:c", "empty"];
    let keys: Vec<_> = keys.iter().map(|it| ctx.key(it)).collect();
    ctx.put(&keys[0], "v").await?;
    ctx.put_for(&keys[1], "v", Expiry::Never).await?;
    ctx.store.set(&keys[2], "v".into(), LONG, SetMode::IfAbsent).await?;
    ctx.store.incr(&keys[3], 1, Some(CounterInit { initial: 0, expiry: LONG })).await?;
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
        assert!(!ctx.store.has(key).await?, "{key}");
        assert!(ctx.store.set(key, "v".into(), LONG, SetMode::IfAbsent).await?, "{key}");
    }
    Ok(())
}

/// "... and nothing else: foreign keys in the same database, table or directory survive (D26: Django's is FLUSHDB); `shop`
/// does not clear `shop:eu`".
async fn d26_clear_spares_what_is_not_in_the_namespace(ctx: &Ctx) -> TestResult {
    let shop = ctx.prefix();
    let namespace = ctx.namespace(shop);
    let spared = [
        format!("{shop}:eu:1:k"), // another prefix, after a colon
        format!("{shop}:eu:tag:1:k"),
        format!("{shop}ping:1:k"), // another prefix that begins with this
        shop.to_owned(),
        format!("{shop}:"),
        format!("{shop}:1"), // no key follows
        format!("{shop}::1:k"),
        format!("{shop}:01:k"), // no version
        format!("{shop}:+1:k"),
        format!("{shop}:-0:k"),
        format!("{shop}:1a:k"),
        format!("{shop}:1.0:k"),
        format!("{shop}:tags:k"), // no word of ours
        format!("{shop}:TAG:k"),
        format!("x{shop}:1:k"), // it does not begin so
        format!("x:{shop}:1:k"),
        format!("{}:1:k", shop.to_uppercase()),
        format!("foreign-{shop}"),
    ];
    for key in &spared {
        assert!(!namespace.contains(key), "{key} is not one of {namespace:?}");
        ctx.put_for(&ctx.foreign(key), "v", Expiry::Never).await?;
    }
    ctx.put(&ctx.key("k"), "v").await?;
    ctx.store.clear(&namespace).await?;
    ctx.expect(&ctx.key("k"), None, "its own key").await?;
    for key in &spared {
        ctx.expect(key, Some(b"v"), "what is not in the namespace").await?;
        ctx.expect_life(key, Expiry::Never, ctx.now(), "what is not in the namespace").await?;
    }
    Ok(())
}

/// Stores find keys by patterns: what a prefix holds of their letters means itself.
async fn clear_takes_the_prefix_literally(ctx: &Ctx) -> TestResult {
    let p = ctx.prefix();
    for (own, like_it) in [
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
        exact(ctx, &own, &like_it).await?;
    }
    Ok(())
}

/// Letters outside ASCII, quotes, and letters that differ only in their case.
async fn clear_of_an_unusual_prefix_is_exact(ctx: &Ctx) -> TestResult {
    let p = ctx.prefix();
    for (own, like_it) in [
        (format!("{p}-ä"), format!("{p}-a")),
        (format!("{p}-é"), format!("{p}-e\u{301}")), // the same to the eye
        (format!("{p}-日本"), format!("{p}-日")),
        (format!("{p}-K"), format!("{p}-k")),
        (format!("{p}'"), format!("{p}''")),
        (format!("{p}\""), p.to_owned()),
        (format!("{p}/"), p.to_owned()),
        (format!("{p}/.."), format!("{p}/")),
        (format!("{p}:a:b"), format!("{p}:a")),
        (format!("{p}:"), p.to_owned()),
    ] {
        exact(ctx, &own, &like_it).await?;
        exact(ctx, &like_it, &own).await?;
    }
    Ok(())
}

/// Clears one prefix and looks at the other.
async fn exact(ctx: &Ctx, own: &str, other: &str) -> TestResult {
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

/// More than one page of whatever the store lists keys with.
async fn clear_removes_thousands_of_keys(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(2500);
    let keys = borrowed(&keys);
    let items: Vec<_> = keys.iter().map(|key| (*key, "v".into())).collect();
    ctx.store.set_many(&items, LONG).await.into_iter().collect::<Result<()>>()?;
    let spared = ctx.foreign(format!("{}:eu:1:k", ctx.prefix()));
    ctx.put(&spared, "v").await?;
    ctx.store.clear(&ctx.namespace(ctx.prefix())).await?;
    let left: Result<Vec<_>> = ctx.store.get_many(&keys).await.into_iter().collect();
    assert_eq!(left?.iter().flatten().count(), 0, "entries left");
    ctx.expect(&spared, Some(b"v"), "not in the namespace").await?;
    Ok(())
}

/// An empty namespace is cleared in no time, and twice.
async fn clear_of_nothing_is_no_error(ctx: &Ctx) -> TestResult {
    let namespace = ctx.namespace(ctx.prefix());
    ctx.store.clear(&namespace).await?;
    ctx.store.clear(&namespace).await?;
    Ok(())
}

/// What is written after `clear` stays.
async fn a_cleared_key_can_be_written_again(ctx: &Ctx) -> TestResult {
    let (key, namespace) = (ctx.key("k"), ctx.namespace(ctx.prefix()));
    for round in 0..5 {
        let value = format!("v{round}");
        ctx.put(&key, value.clone()).await?;
        ctx.expect(&key, Some(value.as_bytes()), "written after clear").await?;
        ctx.store.clear(&namespace).await?;
        ctx.expect(&key, None, "after clear").await?;
        assert_eq!(ctx.store.incr(&key, 1, None).await?, None, "nothing to count");
    }
    Ok(())
}

/// `clear`: "an empty prefix clears only keys of the form `:version:…`".
async fn clear_of_the_empty_prefix_spares_other_keys(ctx: &Ctx) -> TestResult {
    let p = ctx.prefix();
    let own = [format!(":1:{p}"), format!(":-7:{p}"), format!(":tag:{p}"), format!(":1::{p}")];
    let spared = [
        ctx.key("k"),
        p.to_owned(),
        format!(":{p}:1:k"),
        format!("::1:{p}"),
        format!(":01:{p}"),
        format!("1:{p}"),
    ];
    let empty = cache_core::Namespace::new("")?;
    for key in own.iter().chain(&spared) {
        ctx.put(&ctx.foreign(key), "v").await?;
    }
    ctx.store.clear(&empty).await?;
    for key in &own {
        ctx.expect(key, None, "after clear").await?;
    }
    for key in &spared {
        ctx.expect(key, Some(b"v"), "after clear").await?;
    }
    Ok(())
}

/// `clear_store`: "the separate, explicit \"everything\"".
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
