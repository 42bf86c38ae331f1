use std::sync::{Arc, Mutex, PoisonError};

use super::{markers::Markers, tombstones::Tombstones};
use crate::fetch::singleflight::Singleflight;

/// The state of the aliases of one store, by prefix: a clear of the store concerns them all.
#[derive(Default)]
pub(crate) struct Peers(Mutex<Vec<Peer>>);

/// The state of the aliases with one prefix.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) flights: Arc<Singleflight>,
    pub(crate) tombstones: Arc<Tombstones>,
    pub(crate) markers: Arc<Markers>,
}

impl Peers {
    pub(crate) fn add(&self, peer: Peer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
    }

    pub(crate) fn all(&self) -> Vec<Peer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
