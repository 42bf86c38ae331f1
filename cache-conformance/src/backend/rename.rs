use std::time::Duration;

use cache_core::store::{Expected, Expiry};

use crate::{
    ctx::{Ctx, LONG},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    rename_moves_the_value,
    rename_moves_the_lifetime,
    rename_overwrites_the_target,
    rename_of_an_absent_key_changes_nothing,
    renamed_entry_can_be_renamed_back,
    renamed_entry_works_with_other_operations,
];

const OTHER: Expiry = Expiry::After(Duration::from_secs(7200));

/// `rename` moves the value and removes the old key.
async fn rename_moves_the_value(ctx: &Ctx) -> TestResult {
    let every_byte: Vec<u8> = (0..=255).collect();
    for (n, value) in [b"text".to_vec(), b"42".to_vec(), vec![], every_byte].into_iter().enumerate()
    {
        let (from, to) = (ctx.key(format_args!("from{n}")), ctx.key(format_args!("to{n}")));
        ctx.put(&from, value.clone()).await?;
        assert!(ctx.store.rename(&from, &to).await?);
        ctx.expect(&from, None, "the old key").await?;
        ctx.expect(&to, Some(&value), "the new key").await?;
    }
    Ok(())
}

/// `rename` moves the remaining lifetime.
async fn rename_moves_the_lifetime(ctx: &Ctx) -> TestResult {
    for (name, life) in [("long", LONG), ("other", OTHER), ("never", Expiry::Never)] {
        let (from, to, start) = (ctx.key(format_args!("{name}-from")), ctx.key(name), ctx.now());
        ctx.put_for(&from, "v", life).await?;
        assert!(ctx.store.rename(&from, &to).await?);
        ctx.expect_lifetime(&to, life, start, "after rename").await?;
    }
    Ok(())
}

/// `rename` replaces value and lifetime of a live target.
async fn rename_overwrites_the_target(ctx: &Ctx) -> TestResult {
    let (from, to) = (ctx.key("from"), ctx.key("to"));
    for (life, old) in [(LONG, OTHER), (Expiry::Never, LONG), (LONG, Expiry::Never)] {
        let start = ctx.now();
        ctx.put_for(&to, "old, and longer", old).await?;
        ctx.put_for(&from, "new", life).await?;
        assert!(ctx.store.rename(&from, &to).await?);
        ctx.expect(&from, None, "the old key").await?;
        ctx.expect(&to, Some(b"new"), "the target").await?;
        ctx.expect_lifetime(&to, life, start, "the target").await?;
    }
    Ok(())
}

/// `rename` of an absent key returns `false` and leaves the target alone.
async fn rename_of_an_absent_key_changes_nothing(ctx: &Ctx) -> TestResult {
    let (absent, target, nowhere) = (ctx.key("absent"), ctx.key("target"), ctx.key("nowhere"));
    let start = ctx.now();
    ctx.put(&target, "v").await?;
    assert!(!ctx.store.rename(&absent, &target).await?);
    assert!(!ctx.store.rename(&absent, &nowhere).await?);
    ctx.expect(&target, Some(b"v"), "the target").await?;
    ctx.expect_lifetime(&target, LONG, start, "the target").await?;
    ctx.expect(&nowhere, None, "an absent target").await?;
    Ok(())
}

/// An entry can be renamed back, as `decr_version` does after `incr_version`.
async fn renamed_entry_can_be_renamed_back(ctx: &Ctx) -> TestResult {
    let (a, b, start) = (ctx.key("a"), ctx.key("b"), ctx.now());
    ctx.put(&a, "v").await?;
    for _ in 0..3 {
        assert!(ctx.store.rename(&a, &b).await?);
        returned!(ctx.store.rename(&a, &b).await?, false, "rename of an entry that was moved");
        assert!(ctx.store.rename(&b, &a).await?);
    }
    ctx.expect(&a, Some(b"v"), "renamed to another key and back").await?;
    ctx.expect_lifetime(&a, LONG, start, "renamed to another key and back").await?;
    Ok(())
}

/// Every operation finds a renamed entry by its new key, also if the store keeps the key beside the
/// value.
async fn renamed_entry_works_with_other_operations(ctx: &Ctx) -> TestResult {
    let (from, to) = (ctx.key("from"), ctx.key("to"));
    ctx.put(&from, "41").await?;
    assert!(ctx.store.rename(&from, &to).await?);
    let seen = ctx.store.get_entry(&to).await?.expect("the entry was renamed to this key");
    let many =
        ctx.store.get_many(&[&to, &from]).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(many, [Some("41".into()), None]);
    assert!(ctx.store.touch(&to, OTHER).await?);
    returned!(
        ctx.store.compare_and_delete(&to, Expected::entry(&seen)).await?,
        false,
        "compare_and_delete with the stamp from before touch"
    );
    assert_eq!(ctx.store.incr(&to, 1, None).await?, Some(42));
    assert!(ctx.store.delete(&to).await?);
    returned!(ctx.store.has(&to).await?, false, "has of a deleted key");
    Ok(())
}
