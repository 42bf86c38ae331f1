//! The README's example, word for word.

use std::sync::Arc;

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::{
    store::Inline,
    testing::{FakeClock, Model},
};

fn harness() -> Harness {
    let time = FakeClock::new();
    let clock = time.clock();
    // `Model` stands for your store.
    let open = move || Arc::new(Inline::new(Model::new(clock.clone()))) as _;
    Harness::new("my store", open).clock(time).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_conforms() {
    run_backend(harness()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_over_the_store_conforms() {
    run_cache(harness()).await;
}

#[test]
fn readme_shows_the_code_of_this_file() {
    let readme = include_str!("../README.md");
    let example = readme.split("```rust\n").nth(1).and_then(|it| it.split("```").next());
    let example = example.expect("the README has a block of Rust");
    assert!(include_str!("readme.rs").contains(example), "copy the example again:\n{example}");
}
