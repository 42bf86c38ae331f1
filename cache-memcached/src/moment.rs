//! The time of a read.

use crate::key::KeyNames;

/// The time of a read. Its result is valid as long as the generations have not been invalidated
/// since: a restarted server may give the same CAS number to another entry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    pub(crate) names: KeyNames,
    /// How many times the generations were invalidated before.
    pub(crate) invalidations: u64,
}
