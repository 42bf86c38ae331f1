//! The time of a read, and the outcome of a command that depends on it.

use crate::key::KeyNames;

/// The time of a read. Its result is valid as long as the generations have not been invalidated
/// since: a restarted server may give the same CAS number to another entry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    pub(crate) names: KeyNames,
    /// How many times the generations were invalidated before.
    pub(crate) invalidations: u64,
}

/// The outcome of a command that depends on an entry that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    Done,
    /// Another client has changed the entry since.
    Changed,
    /// The command was not sent, because the read is not valid: a connection has started or ended
    /// since, or the clock entry was missing.
    ReadAgain,
}
