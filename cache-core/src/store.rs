//! The traits that a store implements, and helpers for their implementation.

mod backend;
mod capabilities;
pub(crate) mod dummy;
mod forward;
mod id;
mod inline;
pub mod integer;
mod into_backend;
mod nowait;
mod offload;
pub(crate) mod threads;
mod types;

pub use self::{
    backend::{Backend, SyncBackend, Views},
    capabilities::Capabilities,
    dummy::Dummy,
    id::StoreId,
    inline::Inline,
    into_backend::IntoBackend,
    nowait::{NowaitReads, WouldBlock},
    offload::Offload,
    threads::Threads,
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
