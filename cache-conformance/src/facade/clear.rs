use cache_core::Timeout;

use crate::{
    ctx::Ctx,
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    clear_removes_all_versions_of_the_alias,
    clear_keeps_other_caches_and_foreign_keys,
    clear_store_removes_all_entries(wipes),
];

/// `clear` removes all versions of the cache's `key_prefix`, whatever version the handle has.
async fn clear_removes_all_versions_of_the_alias(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for version in [-1, 0, 1, 2, 1000] {
        cache.at_version(version).set("k", &version, Timeout::Never).await?;
        cache.at_version(version).set("a:1:b", &version, Timeout::Default).await?;
    }
    cache.at_version(7).clear().await?;
    for version in [-1, 0, 1, 2, 1000] {
        let found = cache.at_version(version).get_many::<i64, _>(["k", "a:1:b"]).await?;
        assert!(found.is_empty(), "version {version} after clear: {found:?}");
    }
    Ok(())
}

/// `clear` keeps foreign keys and other caches: `shop` does not clear `shop:eu`.
async fn clear_keeps_other_caches_and_foreign_keys(ctx: &Ctx) -> TestResult {
    let p = ctx.prefix();
    let shop = ctx.cache();
    let others: Vec<_> = ["shop:eu", "shopping", "x", ":"].map(|it| format!("{p}:{it}")).into();
    let mut caches = Vec::new();
    for prefix in &others {
        ctx.namespace(prefix);
        let other = ctx.builder().key_prefix(prefix).build("other")?;
        other.set("k", &1, Timeout::Default).await?;
        caches.push(other);
    }
    let foreign = ctx.foreign(format!("{p}foreign"));
    ctx.put(&foreign, "v").await?;
    shop.set("k", &1, Timeout::Default).await?;
    shop.clear().await?;
    assert!(!shop.has_key("k").await?);
    for other in caches {
        returned!(other.has_key("k").await?, true, "has_key in {other:?} after clear of {p}");
    }
    ctx.expect(&foreign, Some(b"v"), "a foreign key").await?;
    Ok(())
}

/// `clear_store` removes the entries of all caches and foreign keys.
async fn clear_store_removes_all_entries(ctx: &Ctx) -> TestResult {
    let p = ctx.prefix();
    let (shop, eu) = (ctx.cache(), ctx.builder().key_prefix(format!("{p}:eu")).build("eu")?);
    let foreign = ctx.foreign(format!("{p}foreign"));
    ctx.put(&foreign, "v").await?;
    shop.set("k", &1, Timeout::Never).await?;
    eu.set("k", &1, Timeout::Default).await?;
    shop.clear_store().await?;
    assert!(!shop.has_key("k").await? && !eu.has_key("k").await?);
    ctx.expect(&foreign, None, "after clear_store").await?;
    Ok(())
}
