use std::time::Duration;

use cache_core::{
    Ttl,
    store::{Expiry, SetMode},
};

use crate::{
    ctx::{Ctx, LONG},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    set_overwrites_the_value,
    set_resets_the_lifetime,
    add_writes_an_absent_key,
    add_of_a_live_key_changes_nothing,
    replace_writes_a_live_key,
    replace_of_an_absent_key_stores_nothing,
    touch_of_an_absent_key_creates_nothing,
    touch_of_a_live_key_is_true_for_any_lifetime,
    touch_sets_the_lifetime,
    touch_keeps_the_value,
    touch_with_a_shorter_lifetime_expires_the_entry_earlier(timed),
    touch_with_a_longer_lifetime_keeps_the_entry_alive(timed),
    delete_of_a_live_key_is_true_once,
    pop_returns_and_removes_the_value,
    removed_key_can_be_written_again,
];

const OTHER: Expiry = Expiry::After(Duration::from_secs(7200));

/// `set` writes an absent key and overwrites a live one.
async fn set_overwrites_the_value(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for value in ["first", "second, and longer", "3rd", ""] {
        ctx.put(&key, value).await?;
        ctx.expect(&key, Some(value.as_bytes()), "after a set").await?;
    }
    Ok(())
}

/// `set` replaces the lifetime, also from and to `Never`.
async fn set_resets_the_lifetime(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for expiry in [LONG, OTHER, Expiry::Never, LONG, Expiry::Never, OTHER] {
        let start = ctx.now();
        ctx.put_for(&key, "v", expiry).await?;
        ctx.expect_lifetime(&key, expiry, start, "after a set").await?;
    }
    Ok(())
}

/// `add` writes an absent key with its lifetime.
async fn add_writes_an_absent_key(ctx: &Ctx) -> TestResult {
    for (name, expiry) in [("long", LONG), ("never", Expiry::Never)] {
        let (key, start) = (ctx.key(name), ctx.now());
        assert!(ctx.store.set(&key, "v".into(), expiry, SetMode::IfAbsent).await?);
        ctx.expect(&key, Some(b"v"), "after add").await?;
        ctx.expect_lifetime(&key, expiry, start, "after add").await?;
    }
    Ok(())
}

/// An `add` that returns `false` changes neither value nor lifetime.
async fn add_of_a_live_key_changes_nothing(ctx: &Ctx) -> TestResult {
    for (name, value, life) in
        [("long", "old", LONG), ("never", "old", Expiry::Never), ("empty", "", LONG)]
    {
        let (key, start) = (ctx.key(name), ctx.now());
        ctx.put_for(&key, value, life).await?;
        returned!(
            ctx.store.set(&key, "new".into(), OTHER, SetMode::IfAbsent).await?,
            false,
            "add of a live key ({name})"
        );
        ctx.expect(&key, Some(value.as_bytes()), "after add").await?;
        ctx.expect_lifetime(&key, life, start, "after add").await?;
    }
    Ok(())
}

/// `replace` writes a live key with the new lifetime.
async fn replace_writes_a_live_key(ctx: &Ctx) -> TestResult {
    for (name, value, life) in
        [("long", "old", LONG), ("never", "old", Expiry::Never), ("empty", "", LONG)]
    {
        let (key, start) = (ctx.key(name), ctx.now());
        ctx.put_for(&key, value, life).await?;
        returned!(
            ctx.store.set(&key, "new".into(), OTHER, SetMode::IfPresent).await?,
            true,
            "replace of a live key ({name})"
        );
        ctx.expect(&key, Some(b"new"), "after replace").await?;
        ctx.expect_lifetime(&key, OTHER, start, "after replace").await?;
    }
    Ok(())
}

/// `replace` of an absent key returns `false` and stores nothing.
async fn replace_of_an_absent_key_stores_nothing(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    assert!(!ctx.store.set(&key, "v".into(), LONG, SetMode::IfPresent).await?);
    ctx.expect(&key, None, "after replace").await?;
    Ok(())
}

/// `touch` of an absent key returns `false` and stores nothing. For expired entries:
/// `touch_of_an_expired_entry_does_not_revive_it`.
async fn touch_of_an_absent_key_creates_nothing(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    returned!(ctx.store.touch(&key, LONG).await?, false, "touch of a key that was never written");
    ctx.put(&key, "v").await?;
    ctx.store.delete(&key).await?;
    returned!(ctx.store.touch(&key, LONG).await?, false, "touch of a deleted key");
    returned!(
        ctx.store.touch(&key, Expiry::Never).await?,
        false,
        "touch of a deleted key to Never"
    );
    returned!(ctx.store.has(&key).await?, false, "has after touch of an absent key");
    Ok(())
}

/// `touch` of a live key returns `true`, also from `Never` to `Never` and if the lifetime stays the
/// same.
async fn touch_of_a_live_key_is_true_for_any_lifetime(ctx: &Ctx) -> TestResult {
    for (name, life) in [("long", LONG), ("never", Expiry::Never)] {
        let key = ctx.key(name);
        ctx.put_for(&key, "v", life).await?;
        for expiry in [life, life, OTHER, OTHER, Expiry::Never, Expiry::Never, LONG] {
            returned!(
                ctx.store.touch(&key, expiry).await?,
                true,
                "touch of a live key ({name}) to {expiry:?}"
            );
        }
    }
    Ok(())
}

/// `touch` sets the lifetime, also to `Never` and back.
async fn touch_sets_the_lifetime(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "v").await?;
    for expiry in [OTHER, Expiry::Never, Expiry::Never, LONG, OTHER] {
        let start = ctx.now();
        assert!(ctx.store.touch(&key, expiry).await?);
        ctx.expect_lifetime(&key, expiry, start, "after touch").await?;
    }
    Ok(())
}

/// `touch` changes the lifetime and not the value, whatever its bytes are.
async fn touch_keeps_the_value(ctx: &Ctx) -> TestResult {
    let every_byte: Vec<u8> = (0..=255).collect();
    for (name, value) in [("empty", vec![]), ("number", b"42".to_vec()), ("bytes", every_byte)] {
        let key = ctx.key(name);
        ctx.put(&key, value.clone()).await?;
        assert!(ctx.store.touch(&key, Expiry::Never).await?);
        ctx.expect(&key, Some(&value), "after touch").await?;
        assert!(ctx.store.touch(&key, OTHER).await?);
        ctx.expect(&key, Some(&value), "after touch").await?;
    }
    Ok(())
}

/// The lifetime of `touch` replaces a longer one.
async fn touch_with_a_shorter_lifetime_expires_the_entry_earlier(ctx: &Ctx) -> TestResult {
    let (long, never) = (ctx.key("long"), ctx.key("never"));
    ctx.put(&long, "v").await?;
    ctx.put_for(&never, "v", Expiry::Never).await?;
    assert!(ctx.store.touch(&long, ctx.short()).await?);
    assert!(ctx.store.touch(&never, ctx.short()).await?);
    ctx.outlive_short().await;
    ctx.expect(&long, None, "after the new lifetime").await?;
    ctx.expect(&never, None, "after the new lifetime").await?;
    Ok(())
}

/// The lifetime of `touch` replaces a shorter one, in each place where the store keeps it.
async fn touch_with_a_longer_lifetime_keeps_the_entry_alive(ctx: &Ctx) -> TestResult {
    let (long, never) = (ctx.key("long"), ctx.key("never"));
    // Longer than the calls take in real time.
    let life = Duration::from_secs(2);
    for (key, expiry) in [(&long, LONG), (&never, Expiry::Never)] {
        loop {
            let start = ctx.now();
            ctx.put_for(key, "v", Expiry::After(life)).await?;
            if ctx.store.touch(key, expiry).await? {
                break;
            }
            // The entry may have expired between the calls. Otherwise `touch` failed.
            assert!(ctx.since(start) >= life, "touch of a live key returned false");
        }
    }
    ctx.outlive(life).await;
    ctx.expect(&long, Some(b"v"), "after the old lifetime").await?;
    ctx.expect(&never, Some(b"v"), "after the old lifetime").await?;
    assert_eq!(ctx.store.ttl(&never).await?, Some(Ttl::Forever));
    Ok(())
}

/// `delete` returns `true` if it removed a live entry.
async fn delete_of_a_live_key_is_true_once(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    returned!(ctx.store.delete(&key).await?, false, "delete of an absent key");
    for life in [LONG, Expiry::Never] {
        ctx.put_for(&key, "v", life).await?;
        returned!(ctx.store.delete(&key).await?, true, "delete of a live key");
        ctx.expect(&key, None, "after delete").await?;
        returned!(ctx.store.delete(&key).await?, false, "second delete");
    }
    Ok(())
}

/// `take` returns the value and removes the entry.
async fn pop_returns_and_removes_the_value(ctx: &Ctx) -> TestResult {
    let (key, other) = (ctx.key("k"), ctx.key("other"));
    assert_eq!(ctx.store.take(&key).await?, None, "take of an absent key");
    ctx.put(&other, "stays").await?;
    for value in ["v", ""] {
        ctx.put(&key, value).await?;
        assert_eq!(ctx.store.take(&key).await?.as_deref(), Some(value.as_bytes()));
        assert_eq!(ctx.store.take(&key).await?, None, "second take");
        assert!(!ctx.store.has(&key).await?);
    }
    ctx.expect(&other, Some(b"stays"), "another key").await?;
    Ok(())
}

/// Nothing of a removed entry, neither a tombstone nor its lifetime, affects the next entry of the
/// key.
async fn removed_key_can_be_written_again(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "old").await?;
    ctx.store.delete(&key).await?;
    assert!(ctx.store.set(&key, "added".into(), Expiry::Never, SetMode::IfAbsent).await?);
    assert_eq!(ctx.store.ttl(&key).await?, Some(Ttl::Forever));
    assert_eq!(ctx.store.take(&key).await?.as_deref(), Some(&b"added"[..]));
    ctx.put(&key, "new").await?;
    ctx.expect(&key, Some(b"new"), "after set").await?;
    Ok(())
}
