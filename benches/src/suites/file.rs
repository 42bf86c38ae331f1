//! The store in a directory, compared with direct use of `std::fs`, the crate `cacache`, and caches
//! for Django.
//!
//! Direct use means a file for each key in 256 folders and `serde_json`. A write renames a new
//! file, so that a reader never sees a part of a value. There are no lifetimes, bounds, checksums
//! or locks. Reads run on the calling thread (`fs_read`), which a slow disk would block, and in
//! `spawn_blocking` (`fs_read_blocking`); writes run in `spawn_blocking`.

mod by_hand;
mod cacache;
mod django;
mod growth;
mod settings;

use anyhow::Result;

use self::{
    by_hand::ByHand,
    cacache::{CACACHE, Cacache},
    settings::{OURS, settings},
};
use super::network::{
    BUSY, THREADS,
    calls::{CALLS, Call},
    inputs::Inputs,
    ours::Ours,
    workers::Workers,
};
use crate::{
    harness::{Bench, Case, Contest, Side, Unit},
    peers::{self, Peer, PeerCase},
};

/// The name of the suite on the command line.
pub const NAME: &str = "file";

/// Direct use on the calling thread.
const FS_READ: &str = "fs_read";
const SIZES: [usize; 3] = [100, 10_000, 100_000];

/// Measures calls with few entries and with many entries.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let peers = if CALLS.iter().any(|it| bench.wants(it.name())) {
        peers::django(&django::caches(directory.path(), 1_000_000))
    } else {
        None
    };
    let peers = peers.unwrap_or_default();
    let workers = Workers::multi_thread()?;
    for size in SIZES {
        let inputs = Inputs::new(size)?;
        let at = |name: &str| directory.path().join(format!("{name}-{size}"));
        let default = Ours::new(&settings(&at("default"), "direct_reads = false"), &inputs)?;
        let direct = Ours::new(&settings(&at("direct"), "direct_reads = true"), &inputs)?;
        workers.block_on(default.fill())?;
        workers.block_on(direct.fill())?;
        let suite = Suite {
            workers: &workers,
            default: default.into(),
            direct: direct.into(),
            by_hand: ByHand::new(&at("by-hand"), &inputs)?.into(),
            cacache: Cacache::new(&at("cacache"), &inputs)?.into(),
            peers: &peers,
            size,
        };
        suite.run(bench)?;
    }
    growth::run(bench, directory.path())
}

/// The contenders with values of one size.
struct Suite<'a> {
    workers: &'a Workers,
    default: std::sync::Arc<Ours>,
    direct: std::sync::Arc<Ours>,
    by_hand: std::sync::Arc<ByHand>,
    cacache: std::sync::Arc<Cacache>,
    peers: &'a [Peer],
    size: usize,
}

impl<'a> Suite<'a> {
    fn run(&'a self, bench: &mut Bench<'_>) -> Result<()> {
        for call in [Call::Get, Call::Set, Call::Incr, Call::GetMany, Call::SetMany] {
            if call == Call::Incr && self.size != SIZES[0] {
                continue;
            }
            for tasks in [1, BUSY] {
                let mut sides = vec![self.side(OURS, tasks, call.of(&self.default))];
                if matches!(call, Call::Get | Call::GetMany) {
                    sides.push(self.side(FS_READ, tasks, call.of(&self.by_hand.direct())));
                }
                if call != Call::Incr {
                    sides.push(self.side(by_hand::name_of(call), tasks, call.of(&self.by_hand)));
                    sides.push(self.side(CACACHE, tasks, call.of(&self.cacache)));
                }
                // The threads of a Django process, compared with many tasks.
                let threads = if tasks == 1 { 1 } else { THREADS };
                let case = PeerCase::new(call.name(), self.size).on_threads(threads);
                // Django takes milliseconds for each write, so large writes of many threads take
                // too long.
                let is_slow = tasks > 1 || self.size > SIZES[1];
                let peers = if is_slow && call != Call::Get { &[] } else { self.peers };
                sides.extend(peers.iter().map(|it| it.side(&case)));
                let unit = if tasks == 1 { Unit::Nanos } else { Unit::PerSecond };
                bench.run(Contest { case: self.case(call.name(), tasks, unit), sides })?;
            }
        }
        // On the calling thread: the time of the store and the system alone.
        for (name, call, ours) in [
            ("get_bytes", Call::GetBytes, &self.default),
            ("get_direct", Call::Get, &self.direct),
            ("get_bytes_direct", Call::GetBytes, &self.direct),
        ] {
            let sides = vec![
                self.side(OURS, 1, call.of(ours)),
                self.side(FS_READ, 1, call.of(&self.by_hand.direct())),
                self.side(CACACHE, 1, call.of(&self.cacache.direct())),
            ];
            bench.run(Contest { case: self.case(name, 1, Unit::Nanos), sides })?;
        }
        Ok(())
    }

    fn side(
        &'a self,
        name: &'static str,
        tasks: usize,
        job: super::network::workers::Job,
    ) -> Side<'a> {
        self.workers.side(name, tasks, job)
    }

    fn case(&self, name: &str, tasks: usize, unit: Unit) -> Case {
        // The size of a counter does not depend on the values.
        let size = if name == Call::Incr.name() { 8 } else { self.size };
        Case::new(name, unit, size).on_runtime(self.workers.flavour(), tasks).with_cpu()
    }
}
