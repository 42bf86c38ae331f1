//! Loads missing values, one load per key at a time.

mod context;
mod failures;
mod outcome;
mod policy;
mod refreshes;
mod settings;
pub(crate) mod singleflight;
mod state;

pub use self::{
    context::LoadContext,
    outcome::{FetchOutcome, Fetched, Loaded, Staleness},
    settings::{FetchSettings, RefreshAhead},
};
pub(crate) use self::{
    context::Orders,
    policy::{NEEDS_REVISIONS, Overrides, Policy},
    state::FetchState,
};
