//! Counts the allocations of the calls of the suites `layers` and `facade`:
//! `allocations [--json FILE]`.
//!
//! A separate program, because counting slows down every allocation, and threads would contend for
//! the counters.

use std::{alloc::System, env, path::Path};

use anyhow::{Result, bail};
use benches::{
    harness::{Bench, Effort, Report, Side, Unit},
    suites::counted,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CALLS: u64 = 10_000;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut report = match args[..] {
        [] => Report::new(None)?,
        ["--json", file] => Report::new(Some(Path::new(file)))?,
        _ => bail!("usage: allocations [--json FILE]"),
    };
    counted(|suite, contests| {
        let mut bench = Bench::new(suite, None, Effort::QUICK, &mut report);
        for mut contest in contests {
            let counts: Vec<Vec<f64>> =
                contest.sides.iter_mut().map(|it| vec![count(it)]).collect();
            let names: Vec<&str> = contest.sides.iter().map(Side::name).collect();
            bench.tell(&contest.case.in_unit(Unit::Allocations), &names, &counts)?;
        }
        Ok(())
    })
}

/// Allocations per call, without those of the first call.
fn count(side: &mut Side<'_>) -> f64 {
    side.time(CALLS);
    let region = Region::new(ALLOCATOR);
    side.time(CALLS);
    let change = region.change();
    let all = u32::try_from(change.allocations + change.reallocations).unwrap_or(u32::MAX);
    f64::from(all) / f64::from(u32::try_from(CALLS).unwrap_or(u32::MAX))
}
