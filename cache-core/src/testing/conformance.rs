//! What every store must do, as tests that the author of any store can run.
//!
//! One call checks a store against the whole contract of [`Backend`](crate::store::Backend):
//!
//! ```
//! use cache_core::{store::Inline, testing::{FakeClock, Model, conformance::{Harness, self}}};
//! use std::sync::Arc;
//!
//! # fn main() {
//! # tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap().block_on(async {
//! // In a test: #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
//! let time = FakeClock::new();
//! let clock = time.clock();
//! let harness = Harness::new("model", move || Arc::new(Inline::new(Model::new(clock.clone()))))
//!     .clock(time)
//!     .may_clear_store();
//! # let harness = harness.only(&["get_answers_what_was_set"]);
//! conformance::run_backend(harness).await;
//! # }) }
//! ```
//!
//! [`run_cache`] does the same with a whole [`Cache`](crate::Cache) over the store.
//!
//! - Each promise is a test with a name; names that begin with `d` and a number are about a place where Django's own backends
//!   were measured to disagree. [`backend_tests`] and [`cache_tests`] list them all.
//! - Each test has a namespace of its own with a random part, and removes it: a server may be shared. Only with
//!   [`Harness::may_clear_store`] is anything removed that the suite did not write.
//! - Time is the [`FakeClock`](super::FakeClock) of [`Harness::clock`] where the store takes its time from one. For other
//!   stores the tests wait in real time, as long as [`Capabilities::granularity`](crate::store::Capabilities) makes
//!   necessary, and all of them at once.
//! - What is not run is printed with its reason. A run in which nothing ran fails.
//! - Races need threads: the suite refuses to run on a current-thread runtime.

mod backend;
mod ctx;
mod facade;
mod harness;
mod report;
mod runner;

pub use self::{
    harness::Harness,
    report::{Outcome, Report},
};

/// Runs the suite against a store and answers what came of each test.
///
/// # Panics
/// Without a multi-thread tokio runtime, and if the harness names a test that does not exist.
pub async fn backend(harness: Harness) -> Report {
    runner::run(harness, &backend::tests()).await
}

/// Runs the suite against a store.
///
/// # Panics
/// As [`backend`](fn@backend) does, and if a test fails or none has run; the message names those that failed.
pub async fn run_backend(harness: Harness) {
    backend(harness).await.assert_passed();
}

/// Runs the suite for a whole [`Cache`](crate::Cache) over a store: what the facade adds to what [`backend`](fn@backend) checks.
///
/// For a cache from settings, give `Cache::backend` of it to the harness.
///
/// ```
/// use cache_core::{store::Inline, testing::{FakeClock, Model, conformance::{Harness, self}}};
/// use std::sync::Arc;
///
/// # fn main() {
/// # tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap().block_on(async {
/// let time = FakeClock::new();
/// let clock = time.clock();
/// let harness = Harness::new("model", move || Arc::new(Inline::new(Model::new(clock.clone()))));
/// let report = conformance::cache(harness.clock(time).only(&["d19_sixteen_callers_make_one_load"])).await;
/// assert_eq!(report.passed(), ["d19_sixteen_callers_make_one_load"]);
/// # }) }
/// ```
///
/// # Panics
/// As [`backend`](fn@backend) does.
pub async fn cache(harness: Harness) -> Report {
    runner::run(harness, &facade::tests()).await
}

/// Runs the suite for a whole [`Cache`](crate::Cache).
///
/// # Panics
/// As [`run_backend`] does.
pub async fn run_cache(harness: Harness) {
    cache(harness).await.assert_passed();
}

/// The names of all tests of [`cache`](cache()), in the order in which they are run.
pub fn cache_tests() -> Vec<&'static str> {
    facade::tests().iter().map(|it| it.name).collect()
}

/// The names of all tests of [`backend`](fn@backend), in the order in which they are run.
///
/// ```
/// let tests = cache_core::testing::conformance::backend_tests();
/// assert!(tests.contains(&"d07_add_has_exactly_one_winner"));
/// ```
pub fn backend_tests() -> Vec<&'static str> {
    backend::tests().iter().map(|it| it.name).collect()
}
