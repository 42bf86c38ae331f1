//! Each store keeps its promises while processes, servers and networks fail.

#![cfg(target_os = "linux")]

use std::{path::PathBuf, time::Duration};

use history_tests::{Options, Outcome, Store, run};

/// The time of a run in seconds. A run in which little happened proves nothing. If the machine
/// stood still meanwhile, the next one lasts longer.
const SECONDS: [u64; 3] = [5, 15, 45];

fn check(store: Store, seeds: [u64; 2]) {
    for seed in seeds {
        let mut poor = Vec::new();
        for seconds in SECONDS {
            let outcome = keeps_its_promises(store, seed, seconds);
            if is_proof(store, seconds, &outcome) {
                poor.clear();
                break;
            }
            poor.push(outcome);
        }
        assert!(poor.is_empty(), "{} with seed {seed} proves nothing: {poor:?}", store.name());
    }
}

/// Runs a store, and asserts that no promise was broken.
fn keeps_its_promises(store: Store, seed: u64, seconds: u64) -> Outcome {
    let outcome = run(&Options {
        program: PathBuf::from(env!("CARGO_BIN_EXE_history-tests")),
        store,
        seed,
        time: Duration::from_secs(seconds),
        calls: u64::MAX,
        faults: true,
        bug: None,
    });
    let outcome = outcome.unwrap();
    let all: Vec<_> = outcome.report.violations.iter().map(ToString::to_string).collect();
    let again =
        format!("cargo xtask histories --store {} --seconds {seconds} --seed {seed}", store.name());
    assert!(all.is_empty(), "{}\nagain: {again}", all.join("\n"));
    outcome
}

/// Returns whether so much happened that a broken promise would have been found.
fn is_proof(store: Store, seconds: u64, outcome: &Outcome) -> bool {
    let Outcome { calls, failed, faults, near, report, .. } = outcome;
    let happened = *calls > 500 && failed * 2 < *calls && !faults.is_empty();
    let is_decided = (report.undecided as u64) < seconds;
    let is_near = store.near_bound().is_none()
        || (near.hits * 40 > *calls as u64 && report.staleness.reads * 20 > *calls);
    happened && is_decided && is_near
}

#[test]
fn memory_keeps_its_promises() {
    check(Store::Memory, [1, 2]);
}

#[test]
fn directory_keeps_its_promises() {
    check(Store::File, [1, 2]);
}

#[test]
fn sqlite_keeps_its_promises() {
    check(Store::Sqlite, [1, 2]);
}

#[test]
fn postgres_keeps_its_promises() {
    check(Store::Postgres, [1, 3]);
}

#[test]
fn redis_keeps_its_promises() {
    check(Store::Redis, [1, 4]);
}

#[test]
fn memcached_keeps_its_promises() {
    check(Store::Memcached, [1, 5]);
}

#[test]
fn redis_behind_near_tiers_keeps_its_promises() {
    check(Store::NearRedis, [1, 2]);
}

#[test]
fn redis_behind_near_tiers_that_hear_nothing_keeps_its_promises() {
    check(Store::NearSilent, [1, 2]);
}

#[test]
fn postgres_behind_near_tiers_keeps_its_promises() {
    check(Store::NearPostgres, [1, 2]);
}

#[test]
fn sentinel_group_behind_near_tiers_keeps_its_promises() {
    check(Store::NearSentinel, [1, 2]);
}

#[test]
fn cluster_behind_near_tiers_keeps_its_promises() {
    check(Store::NearCluster, [1, 2]);
}
