//! A synchronous store as a [`Backend`](crate::Backend): on the caller's thread, or on threads of its own.

mod inline;
mod offload;
pub(crate) mod threads;

pub use self::{inline::Inline, offload::Offload, threads::Threads};
