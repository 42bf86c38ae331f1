//! What several wait for.

use std::future::pending;

use cache_core::{ErrorKind, Result};
use cache_net::Attempt;
use tokio::runtime::Builder;

#[tokio::test]
async fn an_attempt_whose_runtime_has_ended_is_over_and_says_so() {
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let attempt = Attempt::start(runtime.handle(), pending::<Result<()>>());
    assert!(!attempt.is_finished());
    runtime.shutdown_background();
    assert_eq!(attempt.outcome().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(attempt.is_finished());
}
