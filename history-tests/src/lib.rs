//! Histories: several processes call one store while processes, servers and networks fail. Each
//! records its calls, and a checker verifies the promises on the history of all:
//!
//! - No acknowledged increment is lost, and none counts twice.
//! - Of several callers, one wins `add`, `pop` and a lock.
//! - An expired or deleted entry does not come back.
//! - A value that is loaded with a fence is never older than an acknowledged delete.
//! - A value with tags or in a namespace is never older than an acknowledged invalidation or clear:
//!   at once in the process that made the call, after `tag_staleness` in the others.
//! - A value is never older than an acknowledged revision.
//! - Batches obey the same rules for each key.
//!
//! [`run()`] starts a real server and the workers, which are processes of this crate's program. A
//! worker [appends](record) each call to its file before the call begins, and the reply after its
//! end, with the time of a [clock] that all processes share. So a killed worker leaves calls
//! without a reply, and the [checks](check()) allow that such a call took effect or not. The limits
//! of a store that the book states are [`check::Limits`], each tied to a fault.
//!
//! The tests run each store for some seconds, and with [planted bugs](Bug); `cargo xtask
//! histories` runs longer.

#![cfg(target_os = "linux")]

pub mod check;
mod client;
pub mod clock;
pub mod fault;
pub mod history;
mod inject;
mod near;
mod plan;
mod planted;
mod random;
pub mod record;
mod run;
pub mod source;
mod stage;
mod standstill;
mod store;
pub mod worker;

pub use self::{
    check::check,
    near::NearCounts,
    planted::Bug,
    run::{Outcome, run},
    stage::Options,
    store::Store,
};

use cache_db as _;
use cache_file as _;
use cache_memcached as _;
use cache_memory as _;
use cache_redis as _;
