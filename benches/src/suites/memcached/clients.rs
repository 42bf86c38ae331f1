//! The clients: `cache-memcached`, and the clients of the crate `memcache`.

mod blocking;
mod by_hand;
mod settings;

use std::sync::Arc;

use anyhow::Result;

use self::{blocking::Blocking, by_hand::ByHand, settings::settings};
use super::{calls::each, inputs::Inputs, workers::Job};
use crate::suites::network::ours::Ours;

/// All clients in one runtime.
pub(super) struct Clients {
    /// `cache-memcached` with other numbers of connections.
    pub(super) ours: Vec<(&'static str, Arc<Ours>)>,
    /// The client of the crate with other numbers of connections.
    pub(super) by_hand: Vec<(&'static str, Arc<ByHand>)>,
    /// `cache-memcached` with its default number of connections.
    pub(super) ours_default: Arc<Ours>,
    /// The client of the crate with [`DEFAULT`] connections.
    pub(super) by_hand_default: Arc<ByHand>,
    pub(super) blocking: Arc<Blocking>,
}

/// Other numbers of connections of `cache-memcached`, with their names.
const OURS: [(usize, &str); 3] = [(2, "2_connections"), (4, "4_connections"), (8, "8_connections")];
/// Other numbers of connections of the crate, with their names. One is its own default.
const BY_HAND: [(Option<usize>, &str); 3] =
    [(Some(4), "memcache_4"), (Some(64), "memcache_64"), (None, "memcache_unset")];
/// The number of connections with which the crate was fastest, all in all.
const DEFAULT: usize = 16;

impl Clients {
    pub(super) async fn connect(address: &str, inputs: &Arc<Inputs>) -> Result<Self> {
        let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
        for (count, name) in OURS {
            ours.push((name, Arc::new(Ours::new(&settings(address, Some(count)), inputs)?)));
        }
        for (count, name) in BY_HAND {
            by_hand.push((name, Arc::new(ByHand::connect(address, count, inputs).await?)));
        }
        let ours_default = Arc::new(Ours::new(&settings(address, None), inputs)?);
        ours_default.fill().await?;
        let by_hand_default = Arc::new(ByHand::connect(address, Some(DEFAULT), inputs).await?);
        by_hand_default.fill().await?;
        let blocking = Arc::new(Blocking::connect(address, DEFAULT, inputs)?);
        Ok(Self { ours, by_hand, ours_default, by_hand_default, blocking })
    }

    /// Returns increments of the crate's client without a check of the old value.
    pub(super) fn increment(&self) -> Job {
        each!(&self.by_hand_default, increment)
    }
}
