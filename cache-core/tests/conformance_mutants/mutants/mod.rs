//! Stores that break one promise each.

mod backend;
mod bug;
mod calls;
mod store;

pub(crate) use self::{bug::Bug, calls::Calls, store::Mutant};
