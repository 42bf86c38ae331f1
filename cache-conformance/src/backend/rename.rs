use std::time::Duration;

use cache_core::{Expiry, Seen};

use crate::{
    ctx::{Ctx, LONG},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    rename_moves_the_value,
    d16_rename_moves_the_lifetime,
    rename_overwrites_its_target,
    rename_of_an_absent_key_changes_nothing,
    a_renamed_entry_can_be_renamed_back,
    a_renamed_entry_is_an_entry,
];

const OTHER: Expiry = Expiry::After(Duration::from_secs(7200));

/// "Moves value and remaining lifetime of `from` to `to`."
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

/// `incr_version`: "value and lifetime (D16) are written to the target".
async fn d16_rename_moves_the_lifetime(ctx: &Ctx) -> TestResult {
    for (name, life) in [("long", LONG), ("other", OTHER), ("never", Expiry::Never)] {
        let (from, to, start) = (ctx.key(format_args!("{name}-from")), ctx.key(name), ctx.now());
        ctx.put_for(&from, "v", life).await?;
        assert!(ctx.store.rename(&from, &to).await?);
        ctx.expect_life(&to, life, start, "after rename").await?;
    }
    Ok(())
}

/// "overwriting it": the target's value and lifetime are gone.
async fn rename_overwrites_its_target(ctx: &Ctx) -> TestResult {
    let (from, to) = (ctx.key("from"), ctx.key("to"));
    for (life, old) in [(LONG, OTHER), (Expiry::Never, LONG), (LONG, Expiry::Never)] {
        let start = ctx.now();
        ctx.put_for(&to, "old, and longer", old).await?;
        ctx.put_for(&from, "new", life).await?;
        assert!(ctx.store.rename(&from, &to).await?);
        ctx.expect(&from, None, "the old key").await?;
        ctx.expect(&to, Some(b"new"), "the target").await?;
        ctx.expect_life(&to, life, start, "the target").await?;
    }
    Ok(())
}

/// "`false`, and nothing changed, if `from` is absent."
async fn rename_of_an_absent_key_changes_nothing(ctx: &Ctx) -> TestResult {
    let (absent, target, nowhere) = (ctx.key("absent"), ctx.key("target"), ctx.key("nowhere"));
    let start = ctx.now();
    ctx.put(&target, "v").await?;
    assert!(!ctx.store.rename(&absent, &target).await?);
    assert!(!ctx.store.rename(&absent, &nowhere).await?);
    ctx.expect(&target, Some(b"v"), "the target").await?;
    ctx.expect_life(&target, LONG, start, "the target").await?;
    ctx.expect(&nowhere, None, "an absent target").await?;
    Ok(())
}

/// `decr_version` undoes `incr_version`.
async fn a_renamed_entry_can_be_renamed_back(ctx: &Ctx) -> TestResult {
    let (a, b, start) = (ctx.key("a"), ctx.key("b"), ctx.now());
    ctx.put(&a, "v").await?;
    for _ in 0..3 {
        assert!(ctx.store.rename(&a, &b).await?);
        assert!(!ctx.store.rename(&a, &b).await?, "it has been moved");
        assert!(ctx.store.rename(&b, &a).await?);
    }
    ctx.expect(&a, Some(b"v"), "there and back").await?;
    ctx.expect_life(&a, LONG, start, "there and back").await?;
    Ok(())
}

/// A store that keeps the full key next to the value has changed that, too.
async fn a_renamed_entry_is_an_entry(ctx: &Ctx) -> TestResult {
    let (from, to) = (ctx.key("from"), ctx.key("to"));
    ctx.put(&from, "41").await?;
    assert!(ctx.store.rename(&from, &to).await?);
    let seen = ctx.store.get_entry(&to).await?.expect("it was moved here");
    let many =
        ctx.store.get_many(&[&to, &from]).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(many, [Some("41".into()), None]);
    assert!(ctx.store.touch(&to, OTHER).await?);
    assert!(!ctx.store.compare_and_delete(&to, Expected::entry(&seen)).await?, "it was touched");
    assert_eq!(ctx.store.incr(&to, 1, None).await?, Some(42));
    assert!(ctx.store.delete(&to).await?);
    assert!(!ctx.store.has(&to).await?);
    Ok(())
}
