//! Keeps deleted values deleted after a failed write, remembers the versions of markers, queues the
//! updates of one key, and knows all aliases of one store.

pub(crate) mod markers;
mod peers;
pub(crate) mod tag_set;
mod task_claim;
pub(crate) mod tombstones;
pub(crate) mod update_queue;

pub(crate) use self::{
    peers::{Peer, Peers},
    task_claim::TaskClaim,
};
