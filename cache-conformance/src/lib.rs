#![doc = include_str!("../README.md")]
//! # Steps
//!
//! 1. Write a [`Harness`]: a name, and a function that opens a new handle on the store.
//! 2. If the store takes its time from the [`Clock`](cache_core::Clock) of its driver, pass a
//!    [`FakeClock`] to [`Harness::clock`]. The tests then move the clock instead of waiting.
//! 3. While you work, run a few tests with [`Harness::only`]; [`backend_tests`] and [`cache_tests`]
//!    list their names.
//! 4. Run the whole suite in the crate's tests. A store conforms if it passes all of it: a store
//!    that lacks an operation emulates it, or returns an error of the kind that the contract names.
//!
//! # How the suite runs
//!
//! - Each promise is a test with a name. Names that begin with `d` and a number are about a place
//!   where Django's own backends were measured to disagree.
//! - Each test has a namespace of its own with a random part, and removes it: a server may be
//!   shared. Only with [`Harness::may_clear_store`] does the suite remove entries that it did not
//!   write.
//! - For a store whose clock cannot be moved, the tests wait in real time, as long as
//!   [`Capabilities::granularity`](cache_core::store::Capabilities) makes necessary, and all of
//!   them at once.
//! - A test that is skipped is printed with its reason. A run in which every test was skipped
//!   fails.
//! - Races need threads: the suite refuses to run on a current-thread runtime.
//!
//! [`FakeClock`]: cache_core::testing::FakeClock

mod backend;
mod ctx;
mod facade;
mod harness;
mod report;
mod runner;
mod stop;
mod test;

pub use self::{
    harness::Harness,
    report::{Outcome, Report},
};

/// Checks a store against the contract of [`Backend`](cache_core::store::Backend).
///
/// # Panics
/// If a test fails or every test was skipped; the message names the tests that failed. Also as
/// [`backend_report`] does.
pub async fn run_backend(harness: Harness) {
    backend_report(harness).await.assert_passed();
}

/// Checks a store as [`run_backend`] does, and returns the outcome of each test.
///
/// # Panics
/// Without a multi-thread tokio runtime, and if the harness names a test that does not exist.
pub async fn backend_report(harness: Harness) -> Report {
    runner::run(harness, &backend::tests()).await
}

/// Checks a [`Cache`](cache_core::Cache) over a store: what the facade adds to the promises that
/// [`run_backend`] checks.
///
/// For a cache from settings, give `Cache::backend` of it to the harness.
///
/// # Panics
/// As [`run_backend`] does.
pub async fn run_cache(harness: Harness) {
    cache_report(harness).await.assert_passed();
}

/// Checks a cache as [`run_cache`] does, and returns the outcome of each test.
///
/// ```
/// use std::sync::Arc;
///
/// use cache_conformance::{Harness, cache_report};
/// use cache_core::{store::Inline, testing::{FakeClock, Model}};
///
/// # fn main() {
/// # tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap().block_on(async {
/// let time = FakeClock::new();
/// let clock = time.clock();
/// let harness = Harness::new("model", move || Arc::new(Inline::new(Model::new(clock.clone()))));
/// let report = cache_report(harness.clock(time).only(&["sixteen_callers_share_one_load"])).await;
/// assert_eq!(report.passed(), ["sixteen_callers_share_one_load"]);
/// # }) }
/// ```
///
/// # Panics
/// As [`backend_report`] does.
pub async fn cache_report(harness: Harness) -> Report {
    runner::run(harness, &facade::tests()).await
}

/// Returns the names of all tests of [`run_backend`], in the order in which they run.
///
/// ```
/// assert!(cache_conformance::backend_tests().contains(&"concurrent_adds_have_exactly_one_winner"));
/// ```
pub fn backend_tests() -> Vec<&'static str> {
    backend::tests().iter().map(|test| test.name).collect()
}

/// Returns the names of all tests of [`run_cache`], in the order in which they run.
pub fn cache_tests() -> Vec<&'static str> {
    facade::tests().iter().map(|test| test.name).collect()
}

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
