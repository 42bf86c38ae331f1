//! Runs the tests and collects their outcomes. Tests that wait in real time run at the same time,
//! all others one by one.

use std::{any::Any, collections::BTreeMap, sync::Arc};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{JoinError, JoinHandle},
    time,
};

use crate::{
    Harness, Outcome, Report,
    ctx::Ctx,
    stop::Stop,
    test::{Kind, Test},
};

pub(crate) async fn run(harness: Harness, tests: &[Test]) -> Report {
    assert_eq!(
        Handle::current().runtime_flavor(),
        RuntimeFlavor::MultiThread,
        "the conformance suite needs a multi-thread runtime, without which it cannot test races: \
         #[tokio::test(flavor = \"multi_thread\", worker_threads = 4)]"
    );
    let skipped = skipped(&harness, tests);
    let tests = selected(&harness, tests);
    let run_id = crate::ctx::random_id();
    let mut report = Report { name: harness.name.clone(), outcomes: Vec::new() };

    let start = |test: &Test| {
        let ctx = Arc::new(Ctx::new(&harness, &run_id, test.name));
        let (run, limit) = (test.run, harness.test_timeout);
        tokio::spawn(async move {
            let result = time::timeout(limit, run(Arc::clone(&ctx))).await;
            ctx.clean_up().await;
            match result {
                Ok(Ok(())) => Outcome::Passed,
                Ok(Err(Stop::Error(error))) => {
                    Outcome::Failed(format!("a call returned an error: {error}"))
                }
                Ok(Err(Stop::Skip(reason))) => Outcome::Skipped(reason),
                Err(_) => Outcome::Failed(format!("timed out after {limit:?}")),
            }
        })
    };

    // Tests that wait in real time can wait together. A test that moves the clock must run alone,
    // because the clock moves for all tests.
    let mut waiting: BTreeMap<&str, JoinHandle<Outcome>> = BTreeMap::new();
    if harness.clock.is_none() {
        let timed =
            tests.iter().filter(|it| it.kind == Kind::Timed && !skipped.contains_key(it.name));
        waiting.extend(timed.map(|it| (it.name, start(it))));
    }
    // Last, because a test that waits would lose its entries.
    let (wipes, others): (Vec<&Test>, Vec<&Test>) =
        tests.into_iter().partition(|it| it.kind == Kind::Wipes);
    for test in others.into_iter().chain(wipes) {
        let outcome = if let Some(reason) = skipped.get(test.name) {
            Outcome::Skipped(reason.clone())
        } else {
            let task = waiting.remove(test.name).unwrap_or_else(|| start(test));
            task.await.unwrap_or_else(|err| Outcome::Failed(message(err)))
        };
        println!("conformance {}: {} ... {outcome}", harness.name, test.name);
        report.outcomes.push((test.name, outcome));
    }
    report
}

fn selected<'a>(harness: &Harness, tests: &'a [Test]) -> Vec<&'a Test> {
    let Some(only) = &harness.only else { return tests.iter().collect() };
    let only: Vec<_> = only.iter().map(|it| find(tests, it)).collect();
    println!("conformance {}: {} of {} tests", harness.name, only.len(), tests.len());
    tests.iter().filter(|it| only.contains(&it.name)).collect()
}

fn find(tests: &[Test], name: &str) -> &'static str {
    let test = tests.iter().find(|it| it.name == name);
    // An unknown name that is ignored would hide that the test was renamed.
    test.unwrap_or_else(|| panic!("the conformance suite has no test named `{name}`")).name
}

/// The tests that the harness skips, with the reason.
fn skipped(harness: &Harness, tests: &[Test]) -> BTreeMap<&'static str, String> {
    let mut res = BTreeMap::new();
    if !harness.may_clear_store {
        let wipes = tests.iter().filter(|it| it.kind == Kind::Wipes);
        res.extend(wipes.map(|it| {
            (
                it.name,
                "the store may hold entries of others (`Harness::may_clear_store`)".to_owned(),
            )
        }));
    }
    res.extend(harness.skipped.iter().map(|(name, reason)| (find(tests, name), reason.clone())));
    res
}

fn message(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "the task of the test was aborted".to_owned();
    };
    let panic: &(dyn Any + Send) = panic.as_ref();
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panicked without a message")
        .to_owned()
}
