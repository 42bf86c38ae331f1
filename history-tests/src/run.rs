//! A run: workers, faults, and the check of the history.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use anyhow::Result;
use cache_core::ErrorKind;

use crate::{
    check::{Report, check},
    clock::{self, MS},
    fault::{Fault, plan},
    history::{FaultRecord, History, Operation},
    inject::make,
    near::NearCounts,
    random::Random,
    record::Reply,
    stage::{Options, Stage},
};

/// The time at the end of a run in which no fault begins: the store recovers and is read.
const RECOVERY: u64 = 1000 * MS;
/// Much longer than a worker needs for its last call, on a busy machine as well.
const LIMIT: Duration = Duration::from_secs(180);

/// The numbers and the result of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The number of calls.
    pub calls: usize,
    /// The number of calls that failed, were dropped, or have no reply.
    pub failed: usize,
    /// The number of calls that the store did not answer in time, or not at all.
    pub unanswered: usize,
    /// The number of faults of each kind.
    pub faults: BTreeMap<Fault, usize>,
    /// The counters of the near tiers.
    pub near: NearCounts,
    /// The result of the checks.
    pub report: Report,
}

/// Runs the workers to their end, and checks what they recorded.
///
/// # Errors
/// If a server does not start, or a worker fails.
pub fn run(options: &Options) -> Result<Outcome> {
    let mut stage = Stage::start(options)?;
    let faults = if options.faults { inject(&mut stage, options)? } else { Vec::new() };
    let left = Duration::from_nanos(stage.until.saturating_sub(clock::now()));
    stage.wait(left + LIMIT)?;
    // The entries of a store in a process have ended with the process.
    if options.store.is_shared() {
        stage.count(counters(&stage.history()?), LIMIT)?;
    }
    let history = History { faults, ..stage.history()? };
    let failed =
        |it: &&Operation| it.reply.as_ref().is_none_or(|it| matches!(it.1, Reply::Failed(_)));
    let is_outage = |error: &String| {
        [ErrorKind::TimedOut, ErrorKind::Unavailable]
            .iter()
            .any(|it| error.starts_with(&format!("{it:?}")))
    };
    let unanswered = |it: &&Operation| match &it.reply {
        Some((_, Reply::Failed(error))) => is_outage(error),
        reply => reply.is_none(),
    };
    let mut faults = BTreeMap::new();
    for it in &history.faults {
        *faults.entry(it.fault).or_default() += 1;
    }
    Ok(Outcome {
        calls: history.operations.len(),
        failed: history.operations.iter().filter(failed).count(),
        unanswered: history.operations.iter().filter(unanswered).count(),
        faults,
        near: history.near,
        report: check(&history, options.store.limits()),
    })
}

/// Lets faults happen until shortly before the end.
fn inject(stage: &mut Stage<'_>, options: &Options) -> Result<Vec<FaultRecord>> {
    let mut random = Random::new(options.seed, u64::MAX);
    let mut res = Vec::new();
    loop {
        let next = plan(&mut random, options.store.faults(), stage.workers.len());
        if clock::now() + (next.pause + next.lasts) * MS + RECOVERY > stage.until {
            return Ok(res);
        }
        // sleeps: the workers call meanwhile
        thread::sleep(Duration::from_millis(next.pause));
        res.push(make(stage, next)?);
    }
}

/// Returns the names of all counters.
fn counters(history: &History) -> Vec<String> {
    let keys = history.operations.iter().map(|it| &it.key);
    let counters = keys.filter(|it| it.starts_with("counter") || it.starts_with("update"));
    counters.cloned().collect::<BTreeSet<String>>().into_iter().collect()
}
