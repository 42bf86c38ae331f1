//! The fences, and what they use of the module `fetch`.

#[allow(dead_code)]
#[path = "../../../src/cache/fetch/fence.rs"]
mod fence;
mod load;
mod refresh;

use std::time::Duration;

pub(crate) use crate::singleflight;

/// The settings of all loads of the model.
pub(crate) struct Policy {
    pub(crate) load_deadline: Duration,
}

impl Policy {
    pub(crate) fn lease_wait(&self) -> bool {
        true
    }
}
