//! Keeps deleted values deleted after a failed write, remembers the versions of markers, and queues
//! the updates of one key.

pub(crate) mod markers;
pub(crate) mod tag_set;
pub(crate) mod tombstones;
pub(crate) mod update_queue;
