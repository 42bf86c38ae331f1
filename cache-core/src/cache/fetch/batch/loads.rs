use std::time::Duration;

use crate::{cache::tags::Declared, fetch::singleflight::Lead};

/// The loads of a batch that ran with one loader.
pub(super) struct Loads<'a> {
    pub(super) leads: &'a [Lead],
    /// The position of the key of each load.
    pub(super) places: &'a [usize],
    pub(super) declared: Declared,
    /// The duration of the loader.
    pub(super) took: Duration,
}
