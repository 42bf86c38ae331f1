//! The clients: `cache-memcached`, and the clients of the crate `memcache`.

mod blocking;
mod by_hand;
mod settings;

use std::sync::Arc;

use anyhow::{Context, Result};

use self::{blocking::Blocking, by_hand::ByHand, settings::settings};
use super::{calls::each, inputs::Inputs, workers::Job};
use crate::suites::network::ours::Ours;

/// All clients in one runtime.
pub(super) struct Clients {
    /// `cache-memcached` for each number of connections.
    ours: Vec<(usize, Arc<Ours>)>,
    /// The client of the crate for each number of connections.
    by_hand: Vec<(usize, Arc<ByHand>)>,
    /// `cache-memcached` with its default number of connections.
    pub(super) ours_default: Arc<Ours>,
    /// The client of the crate with the default number of `cache-memcached`.
    pub(super) by_hand_default: Arc<ByHand>,
    /// The client of the crate with its own default number of connections.
    pub(super) by_hand_unset: Arc<ByHand>,
    pub(super) blocking: Arc<Blocking>,
}

/// The numbers of connections, with the names of both contenders.
pub(super) const CONNECTIONS: [(usize, &str, &str); 4] = [
    (4, "4_connections", "memcache_4"),
    (8, "8_connections", "memcache_8"),
    (16, "16_connections", "memcache_16"),
    (64, "64_connections", "memcache_64"),
];
/// The default number of connections of `cache-memcached`.
const DEFAULT: usize = 16;

impl Clients {
    pub(super) async fn connect(address: &str, inputs: &Arc<Inputs>) -> Result<Self> {
        let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
        for (count, ..) in CONNECTIONS {
            ours.push((count, Arc::new(Ours::new(&settings(address, Some(count)), inputs)?)));
            by_hand.push((count, Arc::new(ByHand::connect(address, Some(count), inputs).await?)));
        }
        let ours_default = Arc::new(Ours::new(&settings(address, None), inputs)?);
        ours_default.fill().await?;
        let by_hand_default = Arc::new(ByHand::connect(address, Some(DEFAULT), inputs).await?);
        by_hand_default.fill().await?;
        let by_hand_unset = Arc::new(ByHand::connect(address, None, inputs).await?);
        let blocking = Arc::new(Blocking::connect(address, DEFAULT, inputs)?);
        Ok(Self { ours, by_hand, ours_default, by_hand_default, by_hand_unset, blocking })
    }

    /// Returns `cache-memcached` with this number of connections.
    pub(super) fn ours(&self, connections: usize) -> &Arc<Ours> {
        let found = self.ours.iter().find(|it| it.0 == connections);
        found.map_or(&self.ours_default, |it| &it.1)
    }

    /// Returns the client of the crate with this number of connections.
    pub(super) fn by_hand(&self, connections: usize) -> &Arc<ByHand> {
        let found = self.by_hand.iter().find(|it| it.0 == connections);
        found.map_or(&self.by_hand_default, |it| &it.1)
    }

    /// Returns increments of the crate's client without a check of the old value.
    pub(super) fn increment(&self) -> Job {
        each!(&self.by_hand_default, increment)
    }
}

fn found<T>(it: Option<T>) -> Result<T> {
    it.context("the key is absent")
}
