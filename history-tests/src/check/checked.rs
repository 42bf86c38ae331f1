//! The history that is checked, and the limits of its store.

use super::report::Violation;
use crate::{
    clock::MS,
    fault::Fault,
    history::{History, Operation},
};

/// How much earlier than its lifetime an entry may expire: the clock of the store and the clock of
/// the history are not the same.
pub(super) const CLOCKS_DIFFER: u64 = MS;

/// The limits that the book states for a store. Everything else is a violation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Whether a restart of the server (for a store in the process: its death) removes all entries.
    pub restart_loses_all: bool,
    /// Whether a failed write may arrive after a later write if the network or the frozen server
    /// held it: memcached has no command that ends a connection at the server.
    pub held_writes_arrive_late: bool,
    /// How much later than its lifetime an entry may expire, in milliseconds.
    pub expiry_is_late_by: u64,
}

/// A history and the spans in which a store may do otherwise.
pub(super) struct Checked<'a> {
    pub(super) history: &'a History,
    pub(super) limits: Limits,
    /// In each of these spans, the store lost all entries at one moment.
    pub(super) wipes: Vec<(u64, u64)>,
    /// In each of these spans, the store may have lost acknowledged writes.
    pub(super) losses: Vec<(u64, u64)>,
}

impl<'a> Checked<'a> {
    pub(super) fn new(history: &'a History, limits: Limits) -> Self {
        let wipes = history.spans(|it| limits.restart_loses_all && it.fault == Fault::Restart);
        let losses = history.spans(|it| it.fault == Fault::FailOver);
        Self { history, limits, wipes, losses }
    }

    /// Returns whether acknowledged writes of these calls may have been lost in a failover.
    pub(super) fn may_be_lost(&self, operations: &[&Operation]) -> bool {
        let start = operations.iter().map(|it| it.start).min().unwrap_or_default();
        let end = operations.iter().map(|it| it.end()).max().unwrap_or_default();
        self.losses.iter().any(|it| it.0 <= end && start <= it.1)
    }

    /// Returns the beginning of the first wipe or loss that ended after `time`.
    pub(super) fn next_loss(&self, time: u64) -> u64 {
        let all = self.wipes.iter().chain(&self.losses);
        all.filter(|it| it.1 >= time).map(|it| it.0).min().unwrap_or(u64::MAX)
    }

    pub(super) fn violation(&self, message: String, operations: &[&Operation]) -> Violation {
        let mut operations: Vec<Operation> = operations.iter().copied().cloned().collect();
        operations.sort_by_key(|it| it.start);
        operations.dedup_by_key(|it| it.id);
        let start = operations.first().map_or(0, |it| it.start);
        let end = operations.iter().map(|it| it.reply.as_ref().map_or(it.start, |it| it.0)).max();
        let end = end.unwrap_or(start);
        let faults = self.history.faults.iter();
        let faults = faults.filter(|it| it.start <= end && start <= it.end).cloned().collect();
        Violation { message, operations, faults }
    }
}
