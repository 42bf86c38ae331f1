//! Parts for the tests of stores and of services that use a cache: a clock that tests move, a store
//! with injected faults, and a model of a store. Behind the feature `testing`.
//!
//! The suite that checks a store against the contract of [`Backend`](crate::store::Backend) is the
//! crate `cache-conformance`.
//!
//! ```toml
//! [dev-dependencies]
//! cache-core = { version = "0.1", features = ["testing"] }
//! ```

mod clock;
mod faulty;
pub mod model;

use std::pin::pin;

use tokio::sync::Notify;

pub use self::{
    clock::FakeClock,
    faulty::{Fault, Faulty, Held},
    model::Model,
};
use crate::LongKeys;

/// The words that stand where the version would, in the keys of entries that the library itself
/// stores.
///
/// ```
/// let shop = cache_core::store::Namespace::new("shop")?;
/// for word in cache_core::testing::RESERVED_WORDS {
///     assert!(shop.contains(&format!("shop:{word}:key")));
/// }
/// # Ok::<_, cache_core::Error>(())
/// ```
pub const RESERVED_WORDS: &[&str] = &crate::key::RESERVED;

/// [`LongKeys`] that hashes, or `None` if `cache-core` was built without the feature `long-keys`.
/// For tests in other crates, which cannot know.
pub const HASHED_LONG_KEYS: Option<LongKeys> = {
    #[cfg(feature = "long-keys")]
    let res = Some(LongKeys::Hash);
    #[cfg(not(feature = "long-keys"))]
    let res = None;
    res
};

/// Waits until `done` returns true. A change that may make it true must be followed by
/// `changed.notify_waiters()`.
async fn wait_for(changed: &Notify, done: impl Fn() -> bool) {
    loop {
        let mut next = pin!(changed.notified());
        // Enabled before the check, so that a change between the two is not missed.
        next.as_mut().enable();
        if done() {
            return;
        }
        next.await;
    }
}
