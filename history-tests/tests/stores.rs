//! Each store keeps its promises while processes, servers and networks fail.

#![cfg(target_os = "linux")]

use std::{path::PathBuf, time::Duration};

use history_tests::{Options, Store, run};

const SECONDS: u64 = 5;

fn check(store: Store, seeds: [u64; 2]) {
    for seed in seeds {
        let outcome = run(&Options {
            program: PathBuf::from(env!("CARGO_BIN_EXE_history-tests")),
            store,
            seed,
            time: Duration::from_secs(SECONDS),
            calls: u64::MAX,
            faults: true,
            bug: None,
        });
        let outcome = outcome.unwrap();
        let all: Vec<_> = outcome.report.violations.iter().map(ToString::to_string).collect();
        let again = format!(
            "cargo xtask histories --store {} --seconds {SECONDS} --seed {seed}",
            store.name()
        );
        assert!(all.is_empty(), "{}\nagain: {again}", all.join("\n"));
        // A run in which nothing happens proves nothing.
        assert!(outcome.calls > 500 && outcome.failed * 2 < outcome.calls, "{outcome:?}");
        assert!(!outcome.faults.is_empty() && outcome.report.undecided < 5, "{outcome:?}");
        if store.near_bound().is_some() {
            let (near, reads) = (outcome.near, outcome.report.staleness.reads);
            let calls = outcome.calls;
            assert!(near.hits * 40 > calls as u64 && reads * 20 > calls, "{near:?}, {reads} reads");
        }
    }
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
