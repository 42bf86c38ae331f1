//! Which server serves which keys.

use std::sync::{
    Arc,
    atomic::{AtomicU16, AtomicUsize, Ordering},
};

use crate::{
    address::Address,
    node::Node,
    slot::{SLOTS, slot},
};

/// The servers of a store, as of the last refresh.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) shards: Vec<Shard>,
    /// In a Cluster, the shard number of each slot.
    slots: Option<Box<[AtomicU16]>>,
}

/// A leader and its replicas.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) leader: Arc<Node>,
    pub(crate) replicas: Vec<Arc<Node>>,
    next: AtomicUsize,
}

/// The first slot, the last slot, and the number of the shard that serves them.
pub(crate) type Range = (u16, u16, usize);

const UNASSIGNED: u16 = u16::MAX;

impl Topology {
    /// A topology of one leader and its replicas.
    pub(crate) fn single(leader: Arc<Node>, replicas: Vec<Arc<Node>>) -> Self {
        Self { shards: vec![Shard::new(leader, replicas)], slots: None }
    }

    /// The topology of a Cluster.
    pub(crate) fn with_slots(shards: Vec<Shard>, ranges: &[Range]) -> Self {
        let slots: Box<[AtomicU16]> = (0..SLOTS).map(|_| AtomicU16::new(UNASSIGNED)).collect();
        for &(first, last, shard) in ranges {
            let range = usize::from(first)..=usize::from(last.min(SLOTS - 1));
            for slot in slots.get(range).into_iter().flatten() {
                slot.store(shard.try_into().unwrap_or(UNASSIGNED), Ordering::Relaxed);
            }
        }
        Self { shards, slots: Some(slots) }
    }

    /// Returns the slot of a key. Outside of a Cluster it is 0.
    pub(crate) fn slot(&self, key: &str) -> u16 {
        if self.is_cluster() { slot(key) } else { 0 }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.slots.is_some()
    }

    /// Returns the same topology with the nodes of another pool.
    pub(crate) fn with(
        &self,
        leader: impl Fn(&Address) -> Arc<Node>,
        replica: impl Fn(&Address) -> Arc<Node>,
    ) -> Self {
        let shard = |it: &Shard| {
            let replicas = it.replicas.iter().map(|it| replica(&it.address)).collect();
            Shard::new(leader(&it.leader.address), replicas)
        };
        let slot = |it: &AtomicU16| AtomicU16::new(it.load(Ordering::Relaxed));
        let slots = self.slots.as_ref().map(|it| it.iter().map(slot).collect());
        Self { shards: self.shards.iter().map(shard).collect(), slots }
    }

    /// Returns the shard that serves a slot, and its number.
    pub(crate) fn shard(&self, slot: u16) -> Option<(usize, &Shard)> {
        let number = match &self.slots {
            None => 0,
            Some(slots) => usize::from(slots[usize::from(slot)].load(Ordering::Relaxed)),
        };
        Some((number, self.shards.get(number)?))
    }

    /// Assigns a slot to another leader, if that leader is known.
    pub(crate) fn moved(&self, slot: u16, to: &Node) {
        let known = self.shards.iter().position(|it| it.leader.address == to.address);
        if let (Some(known), Some(slots)) = (known, &self.slots) {
            slots[usize::from(slot)]
                .store(known.try_into().unwrap_or(UNASSIGNED), Ordering::Relaxed);
        }
    }

    /// Returns the addresses of the leaders, in order.
    pub(crate) fn leaders(&self) -> Vec<Address> {
        let mut res: Vec<_> = self.shards.iter().map(|it| it.leader.address.clone()).collect();
        res.sort_unstable();
        res
    }

    /// Returns the leaders of all shards.
    pub(crate) fn leader_nodes(&self) -> Vec<Arc<Node>> {
        self.shards.iter().map(|it| Arc::clone(&it.leader)).collect()
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.shards.iter().flat_map(|it| [&it.leader].into_iter().chain(&it.replicas))
    }
}

impl Shard {
    pub(crate) fn new(leader: Arc<Node>, replicas: Vec<Arc<Node>>) -> Self {
        Self { leader, replicas, next: AtomicUsize::new(0) }
    }

    /// Returns the next replica in turn, if there is one.
    pub(crate) fn replica(&self) -> Option<&Arc<Node>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.replicas.get(turn.checked_rem(self.replicas.len())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_ranges_are_skipped() {
        let topology = Topology::with_slots(
            Vec::new(),
            &[(u16::MAX, u16::MAX, 0), (5, 3, 0), (0, u16::MAX, 0)],
        );
        assert!(topology.shard(0).is_none());
    }
}
