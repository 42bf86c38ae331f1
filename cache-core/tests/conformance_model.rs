//! The conformance suite passes on the plain model, in every wrapping that a store can have.

use std::sync::Arc;

use cache_conformance::{
    Harness, Outcome, backend_report, backend_tests, cache_report, run_backend, run_cache,
};
use cache_core::{
    layer::{Call, Layer, Layered, Reply},
    store::{Backend, Inline, Offload},
    testing::{FakeClock, Faulty, Model},
};

/// A harness for a model that `wrap` makes a backend of. It knows a limit, so that all tests run.
fn harness(
    name: &str,
    wrap: impl Fn(Model) -> Arc<dyn Backend> + Send + Sync + 'static,
) -> Harness {
    let time = FakeClock::new();
    let clock = time.clock();
    let open = move || wrap(Model::new(clock.clone()).with_max_value_len(1 << 20));
    Harness::new(name, open).clock(time).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn inline() {
    let report = backend_report(harness("inline", |it| Arc::new(Inline::new(it)))).await;
    report.assert_passed();
    assert_eq!(
        report.skipped(),
        [
            "handles_of_a_shared_store_see_the_same_entries",
            "entries_of_a_persistent_store_outlive_their_handle",
            "leader_view_is_the_same_store"
        ],
        "all that a store in this process can show is shown"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn offload() {
    run_backend(harness("offload", |it| Arc::new(Offload::new(it, 3)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn around_a_hook_that_does_nothing() {
    #[derive(Debug)]
    struct Nothing;
    impl Layer for Nothing {
        async fn around<R: Reply, F: Future<Output = R> + Send>(
            &self,
            _: Call<'_>,
            run: impl Fn() -> F + Send + Sync,
        ) -> R {
            run().await
        }
        fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
            run()
        }
    }
    let wrap = |it| Arc::new(Layered::new(Arc::new(Nothing), Arc::new(Inline::new(it)))) as _;
    run_backend(harness("around", wrap)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_faulty_store_without_a_fault() {
    let wrap = |it| Arc::new(Faulty::new(Arc::new(Inline::new(it)))) as _;
    run_backend(harness("faulty", wrap)).await;
    let wrap = |it| Arc::new(Faulty::inline(Arc::new(Inline::new(it)))) as _;
    run_backend(harness("faulty, inline", wrap)).await;
}

/// The suite's own waiting is right, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_real_time() {
    let open = || Arc::new(Inline::new(Model::default())) as _;
    run_backend(Harness::new("real time", open)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_skipped_has_its_reason() {
    let harness = Harness::new("model", || Arc::new(Inline::new(Model::default())) as _)
        .skip("get_returns_the_value_that_was_set", "just so")
        .only(&[
            "get_returns_the_value_that_was_set",
            "clear_store_removes_everything",
            "delete_of_a_live_key_is_true_once",
        ]);
    let report = backend_report(harness).await;
    assert_eq!(report.passed(), ["delete_of_a_live_key_is_true_once"]);
    let reason = |name| report.outcomes().iter().find(|it| it.0 == name).map(|it| it.1.clone());
    assert_eq!(
        reason("get_returns_the_value_that_was_set"),
        Some(Outcome::Skipped("just so".into()))
    );
    let Some(Outcome::Skipped(why)) = reason("clear_store_removes_everything") else { panic!() };
    assert!(why.contains("may_clear_store"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "has no test named `gone`")]
async fn a_name_that_is_no_test_is_refused() {
    let harness = Harness::new("model", || Arc::new(Inline::new(Model::default())) as _);
    run_backend(harness.skip("gone", "it was renamed")).await;
}

#[tokio::test]
#[should_panic(expected = "needs a multi-thread runtime")]
async fn races_need_threads() {
    run_backend(Harness::new("model", || Arc::new(Inline::new(Model::default())) as _)).await;
}

#[test]
fn names_are_unique_and_fit_into_keys() {
    let mut names = backend_tests();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    let longest = names.iter().map(|it| it.len()).max();
    assert!(longest <= Some(75), "a namespace has room for {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_over_it() {
    let report = cache_report(harness("inline", |it| Arc::new(Inline::new(it)))).await;
    report.assert_passed();
    let skipped: &[&str] =
        if cfg!(feature = "long-keys") { &[] } else { &["long_keys_can_be_hashed"] };
    assert_eq!(report.skipped(), skipped);
    run_cache(harness("offload", |it| Arc::new(Offload::new(it, 3)))).await;
    let open = || Arc::new(Inline::new(Model::default())) as _;
    run_cache(Harness::new("real time", open)).await;
}

#[cfg(feature = "msgpack")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_with_another_codec() {
    let harness = harness("msgpack", |it| Arc::new(Inline::new(it)));
    run_cache(harness.configure(|it| it.codec(cache_core::Codec::MsgPack))).await;
}
