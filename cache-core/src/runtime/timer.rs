use std::{
    future::poll_fn,
    task::Poll,
    time::{Duration, Instant},
};

use super::{current_runtime, own::own};

/// Sleeps by the timer of the library's runtime: the caller may have no timer, or one that tests
/// have paused. If no thread or file descriptor is left for it, the caller's timer is used.
pub(crate) async fn sleep(time: Duration) {
    let began = Instant::now();
    match own().cloned().or_else(|_| current_runtime()) {
        Ok(timer) => {
            let sleep = {
                let _entered = timer.enter();
                tokio::time::sleep(time)
            };
            sleep.await;
        }
        // Without any timer, it polls again and again. This is costly, but ends in time.
        Err(_) => {
            poll_fn(|cx| {
                if began.elapsed() >= time {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }
}
