//! The near tier: a bounded store in the process's memory in front of the store of an alias.
//!
//! An entry is near for at most `near.timeout`, counted from the moment at which its read began,
//! and never longer than it remains in the far store. No read that starts after a write of this
//! process was acknowledged returns an older value: see [`Fences`](fences::Fences).

mod build;
mod entry;
mod fences;
mod link;
pub(crate) mod listen;
mod nanos;
mod objects;
mod receive;
mod settings;
mod stats;
mod store;
mod stream;
mod tier;

pub(crate) use self::{build::Tiers, link::Link, store::Near};
pub use self::{settings::NearSettings, stats::NearStats};
