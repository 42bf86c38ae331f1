//! The conformance suite passes on the model, in every wrapper that a store can have.

use std::{sync::Arc, time::Duration};

use cache_conformance::{
    Harness, Outcome, backend_report, backend_tests, cache_report, cache_tests, run_backend,
    run_cache,
};
use cache_core::{
    layer::{Call, Layer, Layered, Reply},
    store::{Backend, Inline, Offload},
    testing::{FakeClock, Faulty, Model},
};

/// Returns a harness for a model in a wrapper. The model has a size limit, because tests of the
/// limit are skipped without one.
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
async fn inline_passes() {
    let report = backend_report(harness("inline", |it| Arc::new(Inline::new(it)))).await;
    report.assert_passed();
    assert_eq!(
        report.skipped(),
        [
            "handles_of_a_shared_store_see_the_same_entries",
            "entries_of_a_persistent_store_outlive_their_handle",
            "leader_view_is_the_same_store"
        ],
        "a store inside the process skips only what it cannot have"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn offload_passes() {
    run_backend(harness("offload", |it| Arc::new(Offload::new(it, 3)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn layered_with_a_layer_that_does_nothing_passes() {
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
    run_backend(harness("layered", wrap)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faulty_without_a_fault_passes() {
    let wrap = |it| Arc::new(Faulty::new(Arc::new(Inline::new(it)))) as _;
    run_backend(harness("faulty", wrap)).await;
    let wrap = |it| Arc::new(Faulty::inline(Arc::new(Inline::new(it)))) as _;
    run_backend(harness("faulty, inline", wrap)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_in_real_time_passes() {
    let open = || Arc::new(Inline::new(Model::default())) as _;
    run_backend(Harness::new("real time", open)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn skipped_tests_report_the_reason() {
    let harness = Harness::new("model", || Arc::new(Inline::new(Model::default())) as _)
        .skip("get_returns_the_value_that_was_set", "a reason")
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
        Some(Outcome::Skipped("a reason".into()))
    );
    let Some(Outcome::Skipped(why)) = reason("clear_store_removes_everything") else { panic!() };
    assert!(why.contains("may_clear_store"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "has no test named `unknown`")]
async fn unknown_test_name_is_refused() {
    let harness = Harness::new("model", || Arc::new(Inline::new(Model::default())) as _);
    run_backend(harness.skip("unknown", "a reason")).await;
}

#[tokio::test]
#[should_panic(expected = "needs a multi-thread runtime")]
async fn current_thread_runtime_is_refused() {
    run_backend(Harness::new("model", || Arc::new(Inline::new(Model::default())) as _)).await;
}

#[test]
fn test_names_are_unique_and_fit_into_keys() {
    for mut names in [backend_tests(), cache_tests()] {
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "unique names of {names:?}");
        let longest = names.iter().map(|it| it.len()).max();
        assert!(longest <= Some(75), "a namespace has no room for a name of {longest:?} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_over_the_model_passes() {
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
async fn cache_with_msgpack_passes() {
    let harness = harness("msgpack", |it| Arc::new(Inline::new(it)));
    run_cache(harness.configure(|it| it.codec(cache_core::Codec::MsgPack))).await;
}

/// Every promise holds on a cache whose reads look for values with a grace, and where loads store
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_with_grace_passes() {
    let mut settings = cache_core::FetchSettings::with_grace(Duration::from_secs(3600));
    settings.ttl = Some(Duration::from_secs(600).into());
    settings.negative_ttl = Some(Duration::from_secs(60).into());
    let inline = harness("grace", |it| Arc::new(Inline::new(it)));
    run_cache(inline.configure(move |it| it.fetch(settings))).await;
    let offload = harness("grace, offload", |it| Arc::new(Offload::new(it, 3)));
    run_cache(offload.configure(move |it| it.fetch(settings))).await;
}

/// Every promise holds on a cache whose loads are fenced.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_with_fenced_loads_passes() {
    let mut settings = cache_core::FetchSettings::default();
    settings.fenced = Some(true);
    let inline = harness("fenced", |it| Arc::new(Inline::new(it)));
    run_cache(inline.configure(move |it| it.fetch(settings))).await;
    let offload = harness("fenced, offload", |it| Arc::new(Offload::new(it, 3)));
    run_cache(offload.configure(move |it| it.fetch(settings))).await;
}

/// Every promise holds on a cache whose entries may have revisions.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_with_revisions_passes() {
    let inline = harness("revisions", |it| Arc::new(Inline::new(it)));
    run_cache(inline.configure(|it| it.revisions(true))).await;
    let mut settings = cache_core::FetchSettings::with_grace(Duration::from_secs(3600));
    settings.ttl = Some(Duration::from_secs(600).into());
    settings.fenced = Some(true);
    let offload = harness("revisions, offload", |it| Arc::new(Offload::new(it, 3)));
    run_cache(offload.configure(move |it| it.revisions(true).fetch(settings))).await;
}

#[cfg(feature = "postcard")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_with_postcard_passes() {
    let harness = harness("postcard", |it| Arc::new(Inline::new(it)));
    run_cache(harness.configure(|it| it.codec(cache_core::Codec::Postcard))).await;
}
