//! Loads while the store fails.

use cache_core::{ErrorKind, Result, Timeout, testing::Fault};

use crate::{OPEN, both, down, kind, writes};

/// The contract: "`get_or_set` loads and returns the value when the store fails, and does not write
/// to a store that just failed it."
#[tokio::test]
async fn load_returns_the_value_without_a_write_when_the_store_fails() -> Result<()> {
    for (store, cache) in both() {
        for kind in OPEN {
            down(&store, kind);
            let before = store.all_calls();
            assert_eq!(cache.get_or_set("k", Timeout::Default, || async { 7 }).await?, 7);
            assert_eq!(store.all_calls() - before, 1, "one read, no write");
        }
        let load = || async { panic!("a strict handle loads") };
        let strict = cache.strict().get_or_set::<i32, _>("k", Timeout::Default, load).await;
        assert_eq!(kind(strict), ErrorKind::Backend, "the read's error, without loading");
        store.heal();
        assert!(!cache.has_key("k").await?);
    }
    Ok(())
}

/// The contract: "A failed write of a loaded value is counted, never returned", also in strict
/// mode. The key has no old value that could be stale.
#[tokio::test]
async fn loaded_value_that_cannot_be_stored_is_returned() -> Result<()> {
    for (store, cache) in both() {
        for kind in OPEN.into_iter().chain([ErrorKind::TooLarge, ErrorKind::Unsupported]) {
            store.inject(writes(Fault::Error(kind)));
            let before = cache.stats().load_writes_failed;
            assert_eq!(
                cache.get_or_set("k", Timeout::Default, || async { 7 }).await?,
                7,
                "{kind:?}"
            );
            assert_eq!(
                cache.strict().get_or_set("k", Timeout::Default, || async { 8 }).await?,
                8,
                "{kind:?}"
            );
            assert_eq!(cache.stats().load_writes_failed - before, 2, "{kind:?}");
        }
        store.heal();
        assert!(!cache.has_key("k").await?);
    }
    Ok(())
}
