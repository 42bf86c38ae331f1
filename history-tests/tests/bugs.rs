//! The checks find bugs: each planted bug within a bounded number of calls, and none in the store
//! without one.

#![cfg(target_os = "linux")]

use std::{path::PathBuf, time::Duration};

use history_tests::{Bug, Options, Outcome, Store, run};

/// The most runs of each bug. A bug is found in the first runs; the others are for a machine that
/// is busy, where fewer calls overlap.
const RUNS: u64 = 30;
/// The runs without a bug.
const WITHOUT: u64 = 8;
/// The calls of each of the nine clients in a run.
const CALLS: u64 = 150;

fn run_with(bug: Option<Bug>, seed: u64) -> Outcome {
    let outcome = run(&Options {
        program: PathBuf::from(env!("CARGO_BIN_EXE_history-tests")),
        store: Store::Redis,
        seed,
        time: Duration::from_secs(60),
        calls: CALLS,
        faults: false,
        bug,
    });
    outcome.unwrap()
}

#[test]
fn each_planted_bug_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let found = (1..=RUNS).find_map(|seed| {
            let outcome = run_with(Some(*bug), seed);
            outcome.report.violations.first().map(|it| (seed, outcome.calls, it.clone()))
        });
        match found {
            None => missed.push(bug),
            Some((seed, calls, it)) => {
                println!("{bug:?}: seed {seed}, {calls} calls: {}", it.message);
            }
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn store_without_a_bug_passes() {
    for seed in 1..=WITHOUT {
        let outcome = run_with(None, seed);
        let all: Vec<_> = outcome.report.violations.iter().map(ToString::to_string).collect();
        assert!(all.is_empty(), "seed {seed}: {}", all.join("\n"));
        // Without a fault, the store answers each call in time, unless the machine stands still. It
        // is not known then whether a write took effect, and a search may take too long.
        let (unanswered, undecided) = (outcome.unanswered, outcome.report.undecided);
        println!("seed {seed}: {} calls, {unanswered} without an answer", outcome.calls);
        assert!(unanswered > 0 || undecided == 0, "seed {seed}: {undecided} keys");
    }
}
