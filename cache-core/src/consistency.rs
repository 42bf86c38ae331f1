//! Keeps deleted values deleted after a failed write, and queues the updates of one key.

pub(crate) mod tombstones;
pub(crate) mod update_queue;
