//! The clients: `cache-redis`, and the crate `redis`.

mod by_hand;
mod settings;

use std::sync::Arc;

use anyhow::Result;

use self::{by_hand::ByHand, settings::settings};
use super::{calls::each, inputs::Inputs, workers::Job};
use crate::suites::network::ours::Ours;

/// All clients in one runtime.
pub(super) struct Clients {
    /// `cache-redis` with each number of connections.
    ours: Vec<(usize, Arc<Ours>)>,
    /// `cache-redis` with its default number of connections.
    pub(super) ours_default: Arc<Ours>,
    pub(super) raw: Arc<ByHand>,
    pub(super) raw_x4: Arc<ByHand>,
}

/// The numbers of connections.
pub(super) const CONNECTIONS: [usize; 4] = [1, 2, 4, 8];

impl Clients {
    pub(super) async fn connect(url: &str, inputs: &Arc<Inputs>) -> Result<Self> {
        let mut ours = Vec::new();
        for count in CONNECTIONS {
            ours.push((count, Arc::new(Ours::new(&settings(url, Some(count)), inputs)?)));
        }
        let ours_default = Arc::new(Ours::new(&settings(url, None), inputs)?);
        ours_default.fill().await?;
        let raw = Arc::new(ByHand::connect(url, 1, inputs).await?);
        let raw_x4 = Arc::new(ByHand::connect(url, 4, inputs).await?);
        Ok(Self { ours, ours_default, raw, raw_x4 })
    }

    /// Returns `cache-redis` with this number of connections.
    pub(super) fn ours(&self, connections: usize) -> &Arc<Ours> {
        let found = self.ours.iter().find(|it| it.0 == connections);
        found.map_or(&self.ours_default, |it| &it.1)
    }

    /// Returns gets of the keys of a batch, one by one, with `cache-redis`.
    pub(super) fn ours_one_by_one(&self) -> Job {
        each!(self.ours(1), get_one_by_one)
    }

    /// Returns increments of the client without a check for an existing key.
    pub(super) fn raw_incrby(&self) -> Job {
        each!(&self.raw, incrby)
    }
}
