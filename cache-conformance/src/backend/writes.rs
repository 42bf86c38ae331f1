use std::time::Duration;

use cache_core::{Expiry, SetMode, Ttl};

use crate::{
    ctx::{Ctx, LONG},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    set_overwrites_the_value,
    set_resets_the_lifetime,
    add_writes_an_absent_key,
    add_leaves_a_live_key_as_it_is,
    replace_writes_a_live_key,
    replace_leaves_an_absent_key_absent,
    d01_touch_never_creates,
    d02_touch_is_true_for_every_live_key,
    touch_sets_the_lifetime,
    touch_keeps_the_value,
    touch_with_a_shorter_life_ends_it_earlier(timed),
    touch_with_a_longer_life_saves_the_entry(timed),
    delete_is_true_once,
    pop_reads_and_removes,
    a_removed_key_can_be_written_again,
];

const OTHER: Expiry = Expiry::After(Duration::from_secs(7200));

/// `set`: "upsert".
async fn set_overwrites_the_value(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for value in ["first", "second, and longer", "3rd", ""] {
        ctx.put(&key, value).await?;
        ctx.expect(&key, Some(value.as_bytes()), "after a set").await?;
    }
    Ok(())
}

/// `set`: "resets the lifetime", from and to "never" too.
async fn set_resets_the_lifetime(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for expiry in [LONG, OTHER, Expiry::Never, LONG, Expiry::Never, OTHER] {
        let start = ctx.now();
        ctx.put_for(&key, "v", expiry).await?;
        ctx.expect_life(&key, expiry, start, "after a set").await?;
    }
    Ok(())
}

/// `add`: "atomic set-if-absent".
async fn add_writes_an_absent_key(ctx: &Ctx) -> TestResult {
    for (name, expiry) in [("long", LONG), ("never", Expiry::Never)] {
        let (key, start) = (ctx.key(name), ctx.now());
        assert!(ctx.store.set(&key, "v".into(), expiry, SetMode::IfAbsent).await?);
        ctx.expect(&key, Some(b"v"), "after add").await?;
        ctx.expect_life(&key, expiry, start, "after add").await?;
    }
    Ok(())
}

/// An `add` that answers `false` changes neither value nor lifetime.
async fn add_leaves_a_live_key_as_it_is(ctx: &Ctx) -> TestResult {
    for (name, value, life) in
        [("long", "old", LONG), ("never", "old", Expiry::Never), ("empty", "", LONG)]
    {
        let (key, start) = (ctx.key(name), ctx.now());
        ctx.put_for(&key, value, life).await?;
        assert!(!ctx.store.set(&key, "new".into(), OTHER, SetMode::IfAbsent).await?, "{name}");
        ctx.expect(&key, Some(value.as_bytes()), "after add").await?;
        ctx.expect_life(&key, life, start, "after add").await?;
    }
    Ok(())
}

/// `replace`: "atomic set-if-present", with the new lifetime.
async fn replace_writes_a_live_key(ctx: &Ctx) -> TestResult {
    for (name, value, life) in
        [("long", "old", LONG), ("never", "old", Expiry::Never), ("empty", "", LONG)]
    {
        let (key, start) = (ctx.key(name), ctx.now());
        ctx.put_for(&key, value, life).await?;
        assert!(ctx.store.set(&key, "new".into(), OTHER, SetMode::IfPresent).await?, "{name}");
        ctx.expect(&key, Some(b"new"), "after replace").await?;
        ctx.expect_life(&key, OTHER, start, "after replace").await?;
    }
    Ok(())
}

/// `replace` of an absent key is `false` and stores nothing.
async fn replace_leaves_an_absent_key_absent(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    assert!(!ctx.store.set(&key, "v".into(), LONG, SetMode::IfPresent).await?);
    ctx.expect(&key, None, "after replace").await?;
    Ok(())
}

/// `touch`: "never revives" (D1), nor makes something of nothing. Expired entries: `d01_touch_never_revives`.
async fn d01_touch_never_creates(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    assert!(!ctx.store.touch(&key, LONG).await?, "never written");
    ctx.put(&key, "v").await?;
    ctx.store.delete(&key).await?;
    assert!(!ctx.store.touch(&key, LONG).await?, "deleted");
    assert!(!ctx.store.touch(&key, Expiry::Never).await?, "deleted");
    assert!(!ctx.store.has(&key).await?, "touch made a key");
    Ok(())
}

/// `touch`: "true iff live, also for `Never` on a persistent key (D2)", "also if the lifetime is the same as before".
async fn d02_touch_is_true_for_every_live_key(ctx: &Ctx) -> TestResult {
    for (name, life) in [("long", LONG), ("never", Expiry::Never)] {
        let key = ctx.key(name);
        ctx.put_for(&key, "v", life).await?;
        for expiry in [life, life, OTHER, OTHER, Expiry::Never, Expiry::Never, LONG] {
            assert!(ctx.store.touch(&key, expiry).await?, "{name}, then {expiry:?}");
        }
    }
    Ok(())
}

/// `touch`: "new lifetime", to never and back.
async fn touch_sets_the_lifetime(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "v").await?;
    for expiry in [OTHER, Expiry::Never, Expiry::Never, LONG, OTHER] {
        let start = ctx.now();
        assert!(ctx.store.touch(&key, expiry).await?);
        ctx.expect_life(&key, expiry, start, "after touch").await?;
    }
    Ok(())
}

/// `touch` changes nothing but the lifetime, whatever the value looks like.
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

/// The lifetime of `touch` counts, not the longer one before it.
async fn touch_with_a_shorter_life_ends_it_earlier(ctx: &Ctx) -> TestResult {
    let (long, never) = (ctx.key("long"), ctx.key("never"));
    ctx.put(&long, "v").await?;
    ctx.put_for(&never, "v", Expiry::Never).await?;
    assert!(ctx.store.touch(&long, ctx.short()).await?);
    assert!(ctx.store.touch(&never, ctx.short()).await?);
    ctx.outlive_short().await;
    ctx.expect(&long, None, "after the new life").await?;
    ctx.expect(&never, None, "after the new life").await?;
    Ok(())
}

/// A trap: "`touch` that extends the store's lifetime but not the header's".
async fn touch_with_a_longer_life_saves_the_entry(ctx: &Ctx) -> TestResult {
    let (long, never) = (ctx.key("long"), ctx.key("never"));
    // Time enough for the calls, in real time.
    let life = Duration::from_secs(2);
    for (key, expiry) in [(&long, LONG), (&never, Expiry::Never)] {
        loop {
            let start = ctx.now();
            ctx.put_for(key, "v", Expiry::After(life)).await?;
            if ctx.store.touch(key, expiry).await? {
                break;
            }
            // Only where they took longer than that does it begin anew.
            assert!(ctx.since(start) >= life, "it is live, and was not touched");
        }
    }
    ctx.outlive(life).await;
    ctx.expect(&long, Some(b"v"), "after the old life").await?;
    ctx.expect(&never, Some(b"v"), "after the old life").await?;
    assert_eq!(ctx.store.ttl(&never).await?, Some(Ttl::Forever));
    Ok(())
}

/// `delete`: "true iff a live entry was removed".
async fn delete_is_true_once(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    assert!(!ctx.store.delete(&key).await?, "nothing there");
    for life in [LONG, Expiry::Never] {
        ctx.put_for(&key, "v", life).await?;
        assert!(ctx.store.delete(&key).await?, "it was there");
        ctx.expect(&key, None, "after delete").await?;
        assert!(!ctx.store.delete(&key).await?, "it was gone");
    }
    Ok(())
}

/// `pop`: "get and delete in one step".
async fn pop_reads_and_removes(ctx: &Ctx) -> TestResult {
    let (key, other) = (ctx.key("k"), ctx.key("other"));
    assert_eq!(ctx.store.take(&key).await?, None, "nothing there");
    ctx.put(&other, "stays").await?;
    for value in ["v", ""] {
        ctx.put(&key, value).await?;
        assert_eq!(ctx.store.take(&key).await?.as_deref(), Some(value.as_bytes()));
        assert_eq!(ctx.store.take(&key).await?, None, "it was taken");
        assert!(!ctx.store.has(&key).await?);
    }
    ctx.expect(&other, Some(b"stays"), "another key").await?;
    Ok(())
}

/// No marker of a removal outlives it, and no lifetime of the entry before.
async fn a_removed_key_can_be_written_again(ctx: &Ctx) -> TestResult {
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
