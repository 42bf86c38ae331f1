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

/// The setting `tag_staleness` of the cache whose values have tags and namespaces, in milliseconds.
pub const TAG_STALENESS: u64 = 50;

/// The time after a fault in which connections are made again.
const RECOVERY: u64 = 300 * MS;

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
    /// Whether a node that is killed or frozen may lose acknowledged writes, because its replica
    /// replaces it.
    pub outage_loses_writes: bool,
    /// How old a value may be that a read of another process returns from its near tier, in
    /// milliseconds; `None` without a near tier.
    pub near: Option<u64>,
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
        let losses = history.spans(|it| match it.fault {
            Fault::FailOver => true,
            Fault::Freeze | Fault::Restart => limits.outage_loses_writes,
            _ => false,
        });
        Self { history, limits, wipes, losses }
    }

    /// Returns whether acknowledged writes of these calls may have been lost in a failover.
    pub(super) fn may_be_lost(&self, operations: &[&Operation]) -> bool {
        let start = operations.iter().map(|it| it.start).min().unwrap_or_default();
        let end = operations.iter().map(|it| it.end()).max().unwrap_or_default();
        self.losses.iter().any(|it| it.0 <= end && start <= it.1)
    }

    /// Returns whether a near tier may answer a read.
    pub(super) fn has_near(&self) -> bool {
        self.limits.near.is_some()
    }

    /// Returns how old a value may be, which was replaced at `since`, when this read of another
    /// process returns it. A tier knows the age of its last heartbeat by the clock.
    pub(super) fn allowed(&self, read: &Operation, since: u64) -> u64 {
        let Some(near) = self.limits.near else { return 0 };
        let clock = self.history.standstills.iter();
        let clock = clock.filter(|it| it.process == read.process && it.is_of_clock);
        near * MS + overlap(clock.map(|it| (it.start, it.end)), since, read.start)
    }

    /// Returns for how long a process stood still between two moments: because it was stopped, or
    /// because the machine was busy.
    pub(super) fn stood_still(&self, process: u32, from: u64, to: u64) -> u64 {
        let stops = self.history.faults.iter();
        let stops = stops.filter(|it| it.fault == Fault::Stop && it.process == Some(process));
        let alone = self.history.standstills.iter().filter(|it| it.process == process);
        let stops = stops.map(|it| (it.start, it.end));
        // A process that was stopped has measured it as well, and it counts once.
        overlap(stops.chain(alone.map(|it| (it.start, it.end))), from, to)
    }

    /// Returns whether no fault could have delayed a report between two moments.
    pub(super) fn is_calm(&self, start: u64, end: u64) -> bool {
        self.history.faults.iter().all(|it| it.start > end || it.end + RECOVERY < start)
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

/// Returns how much of the time between two moments these times cover.
fn overlap(times: impl Iterator<Item = (u64, u64)>, from: u64, to: u64) -> u64 {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let (mut sum, mut until) = (0, from);
    for (start, end) in times {
        let end = end.min(to);
        sum += end.saturating_sub(start.max(until));
        until = until.max(end);
    }
    sum
}
