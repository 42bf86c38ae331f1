//! Where futures run: the caller's runtime where stores need one, and a small one of our own for callers that have none.

use std::{
    cell::Cell,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Handle, Id};

use crate::{Error, ErrorKind, PerProcess, Result};

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
/// threads that have no runtime, and for timers that must not depend on the caller's. A child of `fork` has its own: the thread does not
/// run there, and the epoll is its parent's.
pub(crate) fn own() -> Result<&'static Handle> {
    #[derive(Default)]
    struct Own {
        handle: OnceLock<Handle>,
        starting: Mutex<()>,
    }
    static OWN: PerProcess<Own> = PerProcess::new();
    let own = OWN.get_or_init(Own::default);
    if let Some(handle) = own.handle.get() {
        return Ok(handle);
    }
    let _one_at_a_time = own.starting.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = own.handle.get() {
        return Ok(handle);
    }
    // A failure is not kept: a machine that is short of threads may have some later.
    let handle = start().map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("cannot start the library's runtime: {error}"))
    })?;
    Ok(own.handle.get_or_init(|| handle))
}

fn start() -> std::io::Result<Handle> {
    let (say, said) = mpsc::sync_channel(1);
    // Made by the thread that drives it: here, where there may be none, it could not even be dropped.
    thread::Builder::new().name("cache-runtime".into()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        // The receiver waits for it.
        match runtime {
            Ok(runtime) => {
                let _ = say.send(Ok(runtime.handle().clone()));
                runtime.block_on(std::future::pending::<()>());
            }
            Err(error) => drop(say.send(Err(error))),
        }
    })?;
    said.recv().map_err(std::io::Error::other)?
}

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

/// Whether this thread is in the middle of polling a task, so that blocking it would stop the runtime.
/// In `spawn_blocking` and `block_in_place` it is not.
pub(crate) fn is_async_context() -> bool {
    let Ok(handle) = Handle::try_current() else { return false };
    has_budget_of_a_task() || is_refused_to_block(&handle)
}

/// tokio says by a panic that a thread may not block, and in no other way: that is caught, its message is printed, and
/// with `panic = "abort"` it ends the program. Only a task that runs unconstrained gets that far.
fn is_refused_to_block(handle: &Handle) -> bool {
    catch_unwind(AssertUnwindSafe(|| handle.block_on(std::future::ready(())))).is_err()
}

/// Whether tokio counts the steps of a task on this thread. It does not in one that is `unconstrained`.
fn has_budget_of_a_task() -> bool {
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
    fn an_unconstrained_task_is_told_from_a_thread_that_may_block() {
        use tokio::task::{LocalSet, block_in_place, spawn_blocking, unconstrained};
        let question = || {
            unconstrained(async {
                assert!(!has_budget_of_a_task(), "the budget does not tell");
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
