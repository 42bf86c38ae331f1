//! Which server serves what.

use std::sync::{
    Arc,
    atomic::{AtomicU16, AtomicUsize, Ordering},
};

use crate::{
    node::Node,
    slot::{SLOTS, slot},
};

/// The servers of a store, as they were last heard to be.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) shards: Vec<Shard>,
    /// Of a Cluster: the number of the shard that serves each slot.
    slots: Option<Box<[AtomicU16]>>,
}

/// A server that takes writes, and its copies.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) leader: Arc<Node>,
    pub(crate) replicas: Vec<Arc<Node>>,
    next: AtomicUsize,
}

/// The slots from the first to the last, and the number of the shard that serves them.
pub(crate) type Range = (u16, u16, usize);

const UNASSIGNED: u16 = u16::MAX;

impl Topology {
    /// Of one leader and its replicas.
    pub(crate) fn single(leader: Arc<Node>, replicas: Vec<Arc<Node>>) -> Self {
        Self { shards: vec![Shard::new(leader, replicas)], slots: None }
    }

    /// Of a Cluster.
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

    /// The slot of a key, where there are slots.
    pub(crate) fn slot(&self, key: &str) -> u16 {
        if self.is_cluster() { slot(key) } else { 0 }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.slots.is_some()
    }

    /// Who serves a slot, and its number here.
    pub(crate) fn shard(&self, slot: u16) -> Option<(usize, &Shard)> {
        let number = match &self.slots {
            None => 0,
            Some(slots) => usize::from(slots[usize::from(slot)].load(Ordering::Relaxed)),
        };
        Some((number, self.shards.get(number)?))
    }

    /// Notes that another leader serves the slot now, if it is one of those known here.
    pub(crate) fn moved(&self, slot: u16, to: &Node) {
        let known = self.shards.iter().position(|it| it.leader.address == to.address);
        if let (Some(known), Some(slots)) = (known, &self.slots) {
            slots[usize::from(slot)]
                .store(known.try_into().unwrap_or(UNASSIGNED), Ordering::Relaxed);
        }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.shards.iter().flat_map(|it| [&it.leader].into_iter().chain(&it.replicas))
    }
}

impl Shard {
    pub(crate) fn new(leader: Arc<Node>, replicas: Vec<Arc<Node>>) -> Self {
        Self { leader, replicas, next: AtomicUsize::new(0) }
    }

    /// The replica whose turn it is, if there is any.
    pub(crate) fn replica(&self) -> Option<&Arc<Node>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.replicas.get(turn.checked_rem(self.replicas.len())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_are_none_are_passed_over() {
        let topology = Topology::with_slots(
            Vec::new(),
            &[(u16::MAX, u16::MAX, 0), (5, 3, 0), (0, u16::MAX, 0)],
        );
        assert!(topology.shard(0).is_none());
    }
}
