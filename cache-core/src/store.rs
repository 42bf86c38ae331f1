//! The traits that a store implements, and helpers for their implementation.

mod backend;
mod bus;
mod capabilities;
pub(crate) mod dummy;
mod forward;
mod heartbeat;
mod id;
mod inline;
pub mod integer;
mod into_backend;
mod invalidations;
pub(crate) mod near_invalidation;
mod nowait;
mod objects;
mod offload;
pub(crate) mod threads;
mod types;

pub(crate) use self::near_invalidation::NearInvalidation;
pub use self::{
    backend::{Backend, SyncBackend, Views},
    bus::{Bus, BusMessage, BusReceiver},
    capabilities::Capabilities,
    dummy::Dummy,
    heartbeat::Heartbeat,
    id::StoreId,
    inline::Inline,
    into_backend::IntoBackend,
    invalidations::{Invalidation, InvalidationReceiver, Invalidations},
    nowait::{NowaitReads, WouldBlock},
    objects::{Kept, Object, Objects},
    offload::Offload,
    threads::{Threads, caller_has_left},
    types::{CounterInit, Entry, Expected, SetMode, Stamp, TtlUpdate},
};
#[doc(inline)]
pub use crate::__forward as forward;
pub use crate::{
    config::{Build, BuildContext, Driver},
    key::Namespace,
    runtime::{PerProcess, PerRuntime, SharedDeadline, current_runtime, jitter},
    timeout::Expiry,
    value::payload_len,
};
