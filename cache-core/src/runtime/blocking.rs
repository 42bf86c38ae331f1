use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use tokio::runtime::Handle;

/// Returns whether this thread is polling a task, so that blocking it would stop the runtime.
/// Inside `spawn_blocking` and `block_in_place` it may block.
pub(crate) fn is_async_context() -> bool {
    let Ok(handle) = Handle::try_current() else { return false };
    has_budget_of_a_task() || is_refused_to_block(&handle)
}

/// Returns whether tokio refuses to block this thread.
///
/// tokio reports it only by a panic, which is caught here: its message is printed, and with
/// `panic = "abort"` it ends the program. Only unconstrained tasks get this far.
fn is_refused_to_block(handle: &Handle) -> bool {
    catch_unwind(AssertUnwindSafe(|| handle.block_on(std::future::ready(())))).is_err()
}

/// Returns whether this thread has the coop budget of a task. Tasks that are `unconstrained` have
/// no budget.
fn has_budget_of_a_task() -> bool {
    // A thread polls each task with a budget of steps, which blocking sections lift: if the steps
    // run out, a task is being polled. Dropping the permits returns the steps.
    let mut cx = Context::from_waker(Waker::noop());
    let mut permits = Vec::new();
    let mut polled = false;
    while !polled && permits.len() < 512 {
        match tokio::task::coop::poll_proceed(&mut cx) {
            Poll::Ready(permit) => permits.push(permit),
            Poll::Pending => polled = true,
        }
    }
    // Each permit restores the budget from before it, so the first one is dropped last.
    while let Some(permit) = permits.pop() {
        drop(permit);
    }
    polled
}

/// Runs a future on this thread, which is parked while the future waits.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    // Calls of an in-process store are ready at once and need no waker.
    if let Poll::Ready(res) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return res;
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(res) = future.as_mut().poll(&mut cx) {
            return res;
        }
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::sleep, *};

    #[test]
    fn task_is_distinguished_from_a_thread_that_may_block() {
        assert!(!is_async_context());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        {
            let _entered = runtime.enter();
            assert!(!is_async_context(), "entered only");
        }
        runtime.block_on(async {
            assert!(is_async_context(), "block_on");
            let task = tokio::spawn(async {
                assert!(is_async_context(), "worker");
                assert!(is_async_context(), "the first call did not change the budget");
                tokio::task::block_in_place(|| assert!(!is_async_context(), "block_in_place"));
                assert!(is_async_context(), "worker, after block_in_place");
            });
            task.await.unwrap();
            tokio::task::spawn_blocking(|| assert!(!is_async_context(), "spawn_blocking"))
                .await
                .unwrap();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { assert!(is_async_context(), "current_thread") });
    }

    #[test]
    fn unconstrained_task_is_distinguished_from_a_thread_that_may_block() {
        use tokio::task::{LocalSet, block_in_place, spawn_blocking, unconstrained};
        let question = || {
            unconstrained(async {
                assert!(!has_budget_of_a_task(), "an unconstrained task has no budget");
                is_async_context()
            })
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            assert!(question().await, "block_on");
            assert!(tokio::spawn(question()).await.unwrap(), "worker");
            let lifted = unconstrained(async { block_in_place(is_async_context) });
            assert!(!tokio::spawn(lifted).await.unwrap(), "block_in_place");
            let blocking = unconstrained(async { spawn_blocking(is_async_context).await });
            assert!(!blocking.await.unwrap(), "spawn_blocking");
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(question()), "current_thread");
        assert!(LocalSet::new().block_on(&runtime, question()), "a local set");
    }

    #[test]
    fn block_on_parks_until_it_is_woken() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || block_on(receive));
        send.send(7).unwrap();
        assert_eq!(thread.join().unwrap(), Ok(7));
        block_on(sleep(Duration::from_millis(1)));
    }
}
