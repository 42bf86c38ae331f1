use std::{
    future::poll_fn,
    task::Poll,
    time::{Duration, Instant},
};

use super::{current_runtime, own::own};

/// Sleeps by our own runtime's timer: the caller may have none, or one that tests have paused. Where no thread or descriptor is
/// left for it, the caller's timer does as well.
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
        // No timer at all: asked again and again, which is costly, and ends in time.
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
