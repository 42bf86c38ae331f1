//! Stores that break one promise each.

mod backend;
mod bug;
mod calls;
mod reads;
mod store;
mod writes;

pub(crate) use self::{bug::Bug, calls::Calls, store::Mutant};
