//! Those who call: ours, by its settings, and the crate's clients by hand.

mod blocking;
mod by_hand;
mod settings;

use std::sync::Arc;

use anyhow::{Context, Result};

use self::{blocking::Blocking, by_hand::ByHand, settings::settings};
use super::{calls::each, inputs::Inputs, workers::Job};
use crate::suites::network::ours::Ours;

/// All of them, in one runtime.
pub(super) struct Clients {
    /// With so many connections.
    ours: Vec<(usize, Arc<Ours>)>,
    by_hand: Vec<(usize, Arc<ByHand>)>,
    /// With as many as there are if nobody says anything.
    pub(super) ours_default: Arc<Ours>,
    /// With as many as that.
    pub(super) by_hand_default: Arc<ByHand>,
    /// With as many as the crate makes by itself.
    pub(super) by_hand_unset: Arc<ByHand>,
    pub(super) blocking: Arc<Blocking>,
}

/// How many connections are tried, with the names of ours and the other.
pub(super) const CONNECTIONS: [(usize, &str, &str); 4] = [
    (4, "4_connections", "memcache_4"),
    (8, "8_connections", "memcache_8"),
    (16, "16_connections", "memcache_16"),
    (64, "64_connections", "memcache_64"),
];
/// The default of ours.
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

    /// Ours with so many connections.
    pub(super) fn ours(&self, connections: usize) -> &Arc<Ours> {
        let found = self.ours.iter().find(|it| it.0 == connections);
        found.map_or(&self.ours_default, |it| &it.1)
    }

    /// The crate's with so many connections.
    pub(super) fn by_hand(&self, connections: usize) -> &Arc<ByHand> {
        let found = self.by_hand.iter().find(|it| it.0 == connections);
        found.map_or(&self.by_hand_default, |it| &it.1)
    }

    /// The crate's, which adds to whatever is there.
    pub(super) fn increment(&self) -> Job {
        each!(&self.by_hand_default, increment)
    }
}

fn found<T>(it: Option<T>) -> Result<T> {
    it.context("it is not there")
}
