//! Deleted values stay deleted: keys whose write failed, and updates of one key in turn.

pub(crate) mod tombstones;
pub(crate) mod update_queue;
