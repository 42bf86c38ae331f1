//! The contenders of one table, and their contests.

use std::sync::Arc;

use anyhow::Result;

use super::by_hand::ByHand;
use crate::{
    harness::{Bench, Case, Contest, Side, Unit},
    peers::{Peer, PeerCase},
    suites::{
        db::{
            ours::{OURS, Ours},
            rows::Rows,
        },
        network::{
            BUSY, THREADS,
            calls::Call,
            workers::{Job, Workers},
        },
    },
};

/// The contenders of one runtime and one table.
pub(super) struct Suite<'a> {
    pub(super) workers: &'a Workers,
    pub(super) ours: Arc<Ours>,
    pub(super) one: Arc<ByHand>,
    pub(super) several: Arc<ByHand>,
    pub(super) rows: &'a Arc<Rows>,
    pub(super) suffix: &'static str,
    pub(super) peers: &'a [Peer],
}

/// The options of `cache-db`: a bound that no case reaches.
pub(super) const OPTIONS: &str = "max_bytes = \"16GiB\"";
/// The number of calls before a measurement, which connect and prepare statements.
const WARM: u64 = 256;

impl Suite<'_> {
    pub(super) fn call(&self, bench: &mut Bench<'_>, call: Call) -> Result<()> {
        let name = self.name(call.name());
        let contest = |unit, tasks, peers: bool| {
            let mut sides = self.sides(call, tasks);
            if peers {
                sides.extend(self.peers(call, tasks));
            }
            Contest { case: self.case(&name, call, unit, tasks), sides }
        };
        bench.run(contest(Unit::Nanos, 1, self.workers.is_current_thread()))?;
        if !self.workers.is_current_thread() && !self.peers.is_empty() {
            bench.run(contest(Unit::PerSecond, THREADS, true))?;
        }
        bench.run(contest(Unit::PerSecond, BUSY, false))
    }

    fn sides(&self, call: Call, tasks: usize) -> Vec<Side<'_>> {
        vec![
            self.side(OURS, tasks, call.of(&self.ours)),
            self.side("tokio-postgres", tasks, call.of(&self.one)),
            self.side("tokio-postgres_x2", tasks, call.of(&self.several)),
        ]
    }

    /// Returns a contender that is connected and has prepared its statements, which takes as long
    /// as many calls.
    pub(super) fn side(&self, name: &'static str, tasks: usize, job: Job) -> Side<'_> {
        let mut side = self.workers.side(name, tasks, job);
        side.time(WARM);
        side
    }

    fn peers(&self, call: Call, threads: usize) -> impl Iterator<Item = Side<'_>> {
        let case = PeerCase::new(call.name(), self.rows.size).on_threads(threads);
        self.peers.iter().map(move |it| it.side(&case))
    }

    pub(super) fn name(&self, call: &str) -> String {
        named(call, self.suffix)
    }

    pub(super) fn case(&self, name: &str, call: Call, unit: Unit, tasks: usize) -> Case {
        // The size of a counter does not depend on the values.
        let size = if call == Call::Incr { 8 } else { self.rows.size };
        Case::new(name, unit, size).on_runtime(self.workers.flavour(), tasks).with_cpu()
    }
}

pub(super) fn named(call: &str, suffix: &str) -> String {
    format!("pg_{call}{suffix}")
}
