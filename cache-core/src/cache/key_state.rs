use std::sync::Arc;

use crate::{
    consistency::{
        Peer, Peers, markers::Markers, tombstones::Tombstones, update_queue::UpdateQueue,
    },
    fetch::singleflight::Singleflight,
    runtime::{Clock, PerProcess},
};

/// The state of single keys. Aliases with the same keys in the same store share it: a delete
/// through one alias ends a load through the other.
#[derive(Clone)]
pub(crate) struct KeyState {
    pub(super) flights: Arc<Singleflight>,
    pub(super) tombstones: Arc<Tombstones>,
    pub(super) updates: Arc<UpdateQueue>,
    pub(super) lease_owner: Arc<PerProcess<u64>>,
    pub(super) markers: Arc<Markers>,
    /// The states of all aliases of the store, of which this is one.
    pub(super) peers: Arc<Peers>,
}

impl KeyState {
    /// Creates the state. `waits` is `false` for a store that never waits.
    pub(crate) fn new(waits: bool, clock: &Clock, peers: &Arc<Peers>) -> Self {
        let (clock, tombstones_clock, markers_clock) =
            (clock.clone(), clock.clone(), clock.clone());
        let state = Self {
            flights: Arc::new(Singleflight::new(waits, move || clock.coarse())),
            tombstones: Arc::new(Tombstones::new(move || tombstones_clock.coarse())),
            updates: Arc::default(),
            lease_owner: Arc::default(),
            markers: Arc::new(Markers::new(waits, move || markers_clock.coarse())),
            peers: Arc::clone(peers),
        };
        peers.add(state.as_peer());
        state
    }

    /// Returns the part that a clear of the store concerns.
    pub(super) fn as_peer(&self) -> Peer {
        Peer {
            flights: Arc::clone(&self.flights),
            tombstones: Arc::clone(&self.tombstones),
            markers: Arc::clone(&self.markers),
        }
    }
}
