//! Where futures run: the caller's runtime where stores need one, and a small one of our own for callers that have none.

use std::{
    cell::Cell,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use tokio::runtime::{Builder, Handle, Id};

use crate::{Error, ErrorKind, Result};

/// The caller's tokio runtime, for a store that connects: sockets and timers belong to the runtime they
/// were made in, so a store keeps one pool for each [`Handle::id`].
///
/// `Config` if there is no tokio runtime, or one without a timer. tokio tells the latter only by a panic, which is caught here:
/// its message is printed, and with `panic = "abort"` it ends the program, as the first timer would.
///
/// ```
/// assert_eq!(cache_core::current_runtime().unwrap_err().kind(), cache_core::ErrorKind::Config);
///
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
/// runtime.block_on(async { assert!(cache_core::current_runtime().is_ok()) });
/// ```
pub fn current_runtime() -> Result<Handle> {
    thread_local! {
        /// The last runtime that was found to have a timer: asking is not free.
        static GOOD: Cell<Option<Id>> = const { Cell::new(None) };
    }
    let handle = Handle::try_current().map_err(|_| {
        Error::new(
            ErrorKind::Config,
            "this store needs a tokio runtime and was called without one; \
             call it from async code under tokio, or use `cache.blocking()`",
        )
    })?;
    if GOOD.get() != Some(handle.id()) {
        // tokio has no other way to ask; the panic goes no further.
        catch_unwind(AssertUnwindSafe(|| drop(tokio::time::sleep(Duration::ZERO)))).map_err(
            |_| {
                Error::new(
                    ErrorKind::Config,
                    "this store needs a tokio runtime with a timer; \
                     build the runtime with `enable_time()` or `enable_all()`",
                )
            },
        )?;
        GOOD.set(Some(handle.id()));
    }
    Ok(handle)
}

/// The runtime of the library, on a thread of its own from the first use on: for calls from
/// threads that have no runtime, and for timers that must not depend on the caller's.
pub(crate) fn own() -> Result<&'static Handle> {
    static OWN: OnceLock<Handle> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(handle) = OWN.get() {
        return Ok(handle);
    }
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = OWN.get() {
        return Ok(handle);
    }
    // A failure is not kept: a machine that is short of threads may have some later.
    let handle = start().map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("cannot start the library's runtime: {error}"))
    })?;
    Ok(OWN.get_or_init(|| handle))
}

fn start() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("cache-runtime".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

/// Sleeps by our own runtime's timer: the caller may have none, or one that tests have paused. If
/// there cannot be a thread for it, never ends.
pub(crate) async fn sleep(time: Duration) {
    let Ok(own) = own() else { return std::future::pending().await };
    let sleep = {
        let _entered = own.enter();
        tokio::time::sleep(time)
    };
    sleep.await;
}

/// Whether this thread is in the middle of polling a task, so that blocking it would stop the runtime.
/// In `spawn_blocking` and `block_in_place` it is not.
pub(crate) fn is_async_context() -> bool {
    if Handle::try_current().is_err() {
        return false;
    }
    // A thread that polls tasks runs them on a budget of steps, which blocking sections lift: so where
    // taking steps comes to an end, a task is being polled. Dropping the permits gives the steps back.
    let mut cx = Context::from_waker(Waker::noop());
    let mut permits = Vec::new();
    let mut polled = false;
    while !polled && permits.len() < 512 {
        match tokio::task::coop::poll_proceed(&mut cx) {
            Poll::Ready(permit) => permits.push(permit),
            Poll::Pending => polled = true,
        }
    }
    // Each permit restores the budget that it found: the first one last.
    while let Some(permit) = permits.pop() {
        drop(permit);
    }
    polled
}

/// Runs a future on this thread, parking it in between.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    // Calls of an in-process store are ready at once: no waker is made for them.
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

/// Polls a future inside a runtime's context, wherever it is polled from.
pub(crate) async fn within<F: Future>(handle: &Handle, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _entered = handle.enter();
        future.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_told_from_a_thread_that_may_block() {
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
                assert!(is_async_context(), "the question leaves the budget as it was");
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
    fn a_runtime_without_a_timer_is_a_typed_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(async { current_runtime().unwrap_err() });
        assert!(error.to_string().contains("enable_time"), "{error}");
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
