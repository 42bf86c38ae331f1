//! Counts the allocations of the calls of the suites `layers` and `facade`, or with `--servers` of
//! `redis` and `memcached`: `allocations [--servers] [--json FILE]`.
//!
//! A separate program, because counting slows down every allocation, and threads would contend for
//! the counters.

use std::{alloc::System, env, path::Path};

use anyhow::{Result, bail};
use benches::{
    harness::{Bench, Contest, Effort, Report, Selection, Side, Unit},
    suites::counted,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CALLS: u64 = 10_000;
/// The number of calls over a network, which take longer.
const CALLS_ON_SERVERS: u64 = 1_000;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (on_servers, args) = match &args[..] {
        ["--servers", args @ ..] => (true, args),
        args => (false, args),
    };
    let mut report = match args {
        [] => Report::new(None)?,
        ["--json", file] => Report::new(Some(Path::new(file)))?,
        _ => bail!("usage: allocations [--servers] [--json FILE]"),
    };
    let calls = if on_servers { CALLS_ON_SERVERS } else { CALLS };
    let count_all = |suite: &str, contests: Vec<Contest<'_>>| {
        let mut bench = Bench::new(suite, Selection::All, Effort::QUICK, &mut report);
        for mut contest in contests {
            let counts: Vec<Vec<f64>> =
                contest.sides.iter_mut().map(|it| vec![count(it, calls)]).collect();
            let names: Vec<&str> = contest.sides.iter().map(Side::name).collect();
            bench.tell(&contest.case.in_unit(Unit::Allocations), &names, &counts)?;
        }
        Ok(())
    };
    if !on_servers {
        return counted(count_all);
    }
    #[cfg(target_os = "linux")]
    return benches::suites::on_servers(count_all);
    #[cfg(not(target_os = "linux"))]
    bail!("servers are started on Linux only")
}

/// Allocations per call, without those of the first call.
fn count(side: &mut Side<'_>, calls: u64) -> f64 {
    side.time(calls);
    let region = Region::new(ALLOCATOR);
    side.time(calls);
    let change = region.change();
    let all = u32::try_from(change.allocations + change.reallocations).unwrap_or(u32::MAX);
    f64::from(all) / f64::from(u32::try_from(calls).unwrap_or(u32::MAX))
}
