//! Attempts whose runtime shuts down.

use std::future::pending;

use cache_core::{ErrorKind, Result};
use cache_net::Attempt;
use tokio::runtime::Builder;

#[tokio::test]
async fn attempt_is_finished_and_unavailable_when_its_runtime_shuts_down() {
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let attempt = Attempt::start(runtime.handle(), pending::<Result<()>>());
    assert!(!attempt.is_finished());
    runtime.shutdown_background();
    assert_eq!(attempt.outcome().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(attempt.is_finished());
}
