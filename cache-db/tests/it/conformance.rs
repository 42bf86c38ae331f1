//! The conformance suite, for the store and for a cache over it.

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::testing::FakeClock;
use tempfile::TempDir;

use crate::support::{store_by, text};

/// Values are refused at a small size, to save time. Slow machines are slow, not wrong.
const MORE: &str = "deadline = \"20s\"\n[caches.default.options]\nmax_value_bytes = \"500KiB\"\n";

/// A harness over a file, or over memory that each handle has for itself.
fn harness(name: &str, folder: Option<&TempDir>, more: &str) -> Harness {
    let location = folder.map_or(":memory:".into(), |it| text(&it.path().join("cache.db")));
    let (time, more) = (FakeClock::new(), format!("{MORE}{more}"));
    let clock = time.clock();
    Harness::new(name, move || store_by(&clock, &location, &more)).clock(time).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn file_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    run_backend(harness("file", Some(&folder), "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_on_a_file_conforms() {
    let folder = tempfile::tempdir().unwrap();
    run_cache(harness("file", Some(&folder), "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn direct_reads_conform() {
    let folder = tempfile::tempdir().unwrap();
    let more = "direct_reads = true\nsynchronous = \"off\"\ntable = 'a \"b\" c'";
    run_backend(harness("direct reads", Some(&folder), more)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_store_conforms() {
    run_backend(harness("memory", None, "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_on_memory_conforms() {
    run_cache(harness("memory", None, "")).await;
}
