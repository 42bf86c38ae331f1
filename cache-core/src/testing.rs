//! For tests of stores and of services that use a cache: the conformance suite, a clock that tests move, a store that
//! fails when told to, and a plain store to compare with. Behind the feature `testing`.
//!
//! ```toml
//! [dev-dependencies]
//! cache-core = { version = "0.1", features = ["testing"] }
//! ```

mod clock;
pub mod conformance;
mod faulty;
pub mod model;

use std::pin::pin;

use tokio::sync::Notify;

pub use self::{
    clock::FakeClock,
    faulty::{Fault, Faulty, Held},
    model::Model,
};

/// Waits until `done`; whoever changes what that depends on wakes the waiters of `changed` afterwards.
async fn wait_for(changed: &Notify, done: impl Fn() -> bool) {
    loop {
        let mut next = pin!(changed.notified());
        // Enlisted before the look, so that no change between the two is missed.
        next.as_mut().enable();
        if done() {
            return;
        }
        next.await;
    }
}
