//! Stores that break one promise each.

mod backend;
mod bug;
mod store;

pub(crate) use self::{bug::Bug, store::Mutant};
