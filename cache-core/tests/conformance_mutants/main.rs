//! The conformance suite finds bugs: for each way to break a promise, the test of the promise
//! fails.

mod cases;
mod layers;
mod mutants;
#[path = "../replicated/mod.rs"]
mod replicated;
mod views;

use std::{sync::Arc, time::Duration};

use cache_conformance::{
    Harness, backend_report, backend_tests, cache_report, run_backend, run_cache,
};
use cache_core::{
    layer::{Layered, Operation},
    store::{Expiry, Inline, Offload, SetMode, SyncBackend},
    testing::{FakeClock, Fault, Faulty, Model},
};

use crate::{
    cases::{CASES, FOUND_AT_RANDOM, THROUGH_THE_FACADE},
    layers::{BY_THE_WALL, COUNTED_TWICE, DESYNCHRONISED, ONE_RUNTIME},
    mutants::{Bug, Mutant},
    views::{LEADER_VIEW, SYNC_VIEW},
};

fn harness(bug: Bug) -> Harness {
    let time = FakeClock::new();
    let clock = time.clock();
    let open = move || {
        let mutant = Mutant::new(bug, Model::new(clock.clone()));
        // On its own threads, because a mutant that pauses must not stop the tasks that race with
        // it.
        Arc::new(Layered::new(mutant.calls(), Arc::new(Offload::new(mutant, 8)))) as _
    };
    Harness::new(format!("{bug:?}"), open).clock(time).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_bug_fails_its_test() {
    let mut missed = Vec::new();
    for (bug, test) in CASES {
        let report = backend_report(harness(*bug).only(&[test])).await;
        missed.extend((report.failed() != [*test]).then_some((bug, test)));
    }
    for (bug, test) in THROUGH_THE_FACADE {
        let report = cache_report(harness(*bug).only(&[test])).await;
        missed.extend((report.failed() != [*test]).then_some((bug, test)));
    }
    assert!(missed.is_empty(), "these tests do not find these bugs: {missed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_operations_find_bugs_without_races() {
    let test = "random_operations_match_the_model";
    let mut missed = Vec::new();
    for bug in FOUND_AT_RANDOM {
        let report = backend_report(harness(*bug).only(&[test])).await;
        if report.failed() != [test] {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "random operations do not find {missed:?}");
}

#[test]
fn every_test_of_the_suite_has_a_mutant_that_fails_it() {
    // A store that fails these fails every other test as well.
    let plain = ["get_returns_the_value_that_was_set", "get_of_an_absent_key_is_a_miss"];
    let random = ["random_operations_match_the_model"];
    let elsewhere = DESYNCHRONISED
        .iter()
        .chain(&COUNTED_TWICE)
        .chain(&ONE_RUNTIME)
        .chain(&SYNC_VIEW)
        .chain(&LEADER_VIEW)
        .chain(&BY_THE_WALL);
    let seen: Vec<_> =
        CASES.iter().map(|it| &it.1).chain(elsewhere).chain(&plain).chain(&random).collect();
    let tests = backend_tests();
    let never: Vec<_> = tests.iter().filter(|it| !seen.contains(it)).collect();
    assert!(never.is_empty(), "no mutant fails {never:#?}");
}

/// A store that rounds lifetimes as its capabilities declare passes with a fake clock and in real
/// time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_of_whole_seconds_passes() {
    run_backend(harness(Bug::WholeSeconds)).await;
    run_cache(harness(Bug::WholeSeconds)).await;
    let open = || Arc::new(Inline::new(Mutant::new(Bug::WholeSeconds, Model::default()))) as _;
    run_backend(Harness::new("whole seconds in real time", open)).await;
}

/// The store holds an entry before the suite runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shared_store_is_tested_with_several_handles_and_keeps_foreign_entries() {
    let time = FakeClock::new();
    let store = Arc::new(Mutant::new(Bug::Lasting, Model::new(time.clock())));
    let shared = || {
        let store = Arc::clone(&store);
        let open = move || Arc::new(Inline::from_arc(Arc::clone(&store))) as _;
        Harness::new("lasting", open).clock(time.clone())
    };
    store.set("foreign", "v".into(), Expiry::Never, SetMode::Always).unwrap();
    let report = backend_report(shared()).await;
    report.assert_passed();
    assert!(report.passed().contains(&"handles_of_a_shared_store_see_the_same_entries"));
    assert!(report.passed().contains(&"entries_of_a_persistent_store_outlive_their_handle"));
    run_cache(shared()).await;
    assert_eq!(store.entries(), 1, "the entries after the suite");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_that_hangs_fails_its_test_and_not_the_others() {
    let open = || {
        let store = Faulty::new(Arc::new(Inline::new(Model::default())));
        store.inject(|call| match call.operation {
            Operation::HasKey => Fault::Hang,
            _ => Fault::None,
        });
        Arc::new(store) as _
    };
    let harness = Harness::new("hangs", open)
        .test_timeout(Duration::from_millis(50))
        .only(&["has_key_is_true_for_live_keys_only", "get_returns_the_value_that_was_set"]);
    let report = backend_report(harness).await;
    assert_eq!(report.failed(), ["has_key_is_true_for_live_keys_only"]);
    assert_eq!(report.passed(), ["get_returns_the_value_that_was_set"]);
}
