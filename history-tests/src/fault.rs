//! The faults of a run, chosen by its seed.

use crate::random::Random;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// A worker is killed, and another one is started. A store in its process ends with it.
    Kill,
    /// A worker stands still, with the locks that it holds.
    Stop,
    /// The server stands still; its kernel receives what is sent.
    Freeze,
    /// The server is killed and started again.
    Restart,
    /// The Sentinels promote a replica.
    FailOver,
    /// A replica of a Cluster takes over from its master, which waits for it: nothing is lost.
    HandOver,
    /// The connections of a worker are reset.
    Cut,
    /// The connections of a worker are half open: nothing arrives on them any more.
    HalfOpen,
    /// A worker cannot reach the server.
    Refuse,
    /// The replies to a worker are late.
    Delay,
    /// The network holds what a worker sends, and delivers it later.
    Hold,
    /// A connection of a worker ends in the middle of a reply.
    Truncate,
}

impl Fault {
    /// Returns whether bytes that were sent may arrive later than what was sent after them.
    pub(crate) fn holds_bytes(self) -> bool {
        matches!(self, Self::Freeze | Self::Hold)
    }

    /// Returns whether the fault concerns one worker.
    pub(crate) fn is_of_a_worker(self) -> bool {
        !matches!(self, Self::Freeze | Self::Restart | Self::FailOver | Self::HandOver)
    }
}

/// A fault that is about to happen. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The time without faults before it.
    pub(crate) pause: u64,
    pub(crate) fault: Fault,
    pub(crate) worker: usize,
    pub(crate) lasts: u64,
}

/// Returns the next fault.
pub(crate) fn plan(random: &mut Random, faults: &[Fault], workers: usize) -> Planned {
    let fault = faults[usize::try_from(random.below(faults.len() as u64)).unwrap_or_default()];
    let worker = usize::try_from(random.below(workers as u64)).unwrap_or_default();
    Planned { pause: random.between(50, 500), fault, worker, lasts: random.between(20, 1200) }
}
