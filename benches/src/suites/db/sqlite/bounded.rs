//! A full table, where each new key evicts an old key, and the longest write compared with the
//! median.

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use tempfile::TempDir;

use super::{Call, OURS, Ours, Raw, Rows, raw};
use crate::{
    harness::{Bench, Case, Contest, Unit},
    suites::network::{BUSY, SIZES, workers::Workers},
};

const BOUND: usize = 10_000;
const WRITES: usize = 20_000;

/// Full tables of `cache-db` and of direct use, and a table of `cache-db` without a bound.
struct Full {
    ours: Arc<Ours>,
    free: Arc<Ours>,
    raw: Arc<Raw>,
    _folder: TempDir,
}

impl Full {
    fn new() -> Result<Self> {
        let rows = Rows::new(BOUND, SIZES[0])?;
        let folder = tempfile::tempdir()?;
        let ours = |name: &str, options: &str| {
            let path = folder.path().join(name).display().to_string();
            let ours = Ours::new(&path, options, &rows)?;
            ours.fill()?;
            anyhow::Ok(ours)
        };
        let bounded = ours("ours.db", &format!("max_entries = {BOUND}"))?;
        let free = ours("free.db", "")?;
        let raw = Raw::open(Some(&folder.path().join("raw.db")), &rows)?;
        raw.fill()?;
        Ok(Self { ours: bounded, free, raw, _folder: folder })
    }
}

pub(super) fn run(bench: &mut Bench<'_>, workers: &Workers) -> Result<()> {
    let name = "set_bounded";
    if !bench.wants(name) {
        return Ok(());
    }
    let full = Full::new()?;
    for (tasks, unit) in [(1, Unit::Nanos), (BUSY, Unit::PerSecond)] {
        let side = |name, job| workers.side(name, tasks, job);
        let sides = vec![
            side(OURS, Call::SetNew.of(&full.ours)),
            // Eviction must cost little.
            side("unbounded", Call::SetNew.of(&full.free)),
            side("rusqlite", raw::inline(&full.raw, Raw::set_bounded)),
            side("rusqlite_blocking", raw::blocking(&full.raw, Raw::set_bounded)),
        ];
        let case = Case::new(name, unit, SIZES[0]).on_runtime(workers.flavour(), tasks);
        bench.run(Contest { case, sides })?;
    }
    Ok(())
}

/// Measures one write after the other in wall-clock time, which includes the load of other
/// programs.
pub(super) fn longest(bench: &mut Bench<'_>, workers: &Workers) -> Result<()> {
    let names = ["median_set_bounded", "p999_set_bounded", "longest_set_bounded"];
    if !names.iter().any(|it| bench.wants(it)) {
        return Ok(());
    }
    let full = Full::new()?;
    let mut samples = vec![vec![Vec::new(); 2]; names.len()];
    for _ in 0..bench.effort().rounds {
        let ours = times(|| workers.block_on(full.ours.set_new(0)))?;
        let raw = times(|| full.raw.set_bounded())?;
        for (side, times) in [ours, raw].iter().enumerate() {
            let figures = [times[WRITES / 2], times[WRITES - WRITES / 1000], times[WRITES - 1]];
            for (samples, figure) in samples.iter_mut().zip(figures) {
                samples[side].push(figure);
            }
        }
    }
    for (name, samples) in names.iter().zip(&samples) {
        let case = Case::new(*name, Unit::Nanos, SIZES[0]).on_runtime(workers.flavour(), 1);
        bench.tell(&case, &[OURS, "rusqlite"], samples)?;
    }
    Ok(())
}

/// Returns the durations of the writes in nanoseconds, the shortest first.
fn times(mut write: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let start = Instant::now();
        write()?;
        times.push(start.elapsed().as_nanos() as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
