use std::{
    cell::Cell,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tokio::runtime::{Builder, Handle, Id};

use super::PerProcess;
use crate::error::{Error, ErrorKind, Result};

/// Returns the caller's tokio runtime, for stores that connect. Sockets and timers belong to the
/// runtime in which they were made, so a store keeps one pool per [`Handle::id`].
///
/// # Errors `Runtime` if the caller has no tokio runtime, or one without a timer. tokio reports the
/// missing timer only by a panic, which is caught here: its message is printed, and with `panic =
/// "abort"` it ends the program, as the first timer would.
///
/// ```
/// let error = cache_core::store::current_runtime().unwrap_err();
/// assert_eq!(error.kind(), cache_core::ErrorKind::Runtime);
///
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
/// runtime.block_on(async { assert!(cache_core::store::current_runtime().is_ok()) });
/// ```
pub fn current_runtime() -> Result<Handle> {
    thread_local! {
        /// The last runtime that had a timer, because the check is not free.
        static GOOD: Cell<Option<Id>> = const { Cell::new(None) };
    }
    let handle = Handle::try_current().map_err(|_| {
        Error::new(
            ErrorKind::Runtime,
            "this store needs a tokio runtime and was called without one; \
             call it from async code under tokio, or use `cache.blocking()`",
        )
    })?;
    if GOOD.get() != Some(handle.id()) {
        // tokio has no other way to check; the panic goes no further.
        catch_unwind(AssertUnwindSafe(|| drop(tokio::time::sleep(Duration::ZERO)))).map_err(
            |_| {
                Error::new(
                    ErrorKind::Runtime,
                    "this store needs a tokio runtime with a timer; \
                     build the runtime with `enable_time()` or `enable_all()`",
                )
            },
        )?;
        GOOD.set(Some(handle.id()));
    }
    Ok(handle)
}

/// Returns the library's runtime, for calls from threads without a runtime and for timers that must
/// not depend on the caller's. Its thread starts with the first use.
///
/// A child of `fork` starts its own: the thread does not exist there, and the epoll belongs to the
/// parent.
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
    // An error is not kept: a machine without free threads may have some later.
    let handle = start().map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("cannot start the library's runtime: {error}"))
    })?;
    Ok(own.handle.get_or_init(|| handle))
}

fn start() -> std::io::Result<Handle> {
    let (say, said) = mpsc::sync_channel(1);
    // Built by the thread that drives it: in the caller's async context it could not be dropped.
    thread::Builder::new().name("cache-runtime".into()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        // The receiver waits for the result.
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

/// Polls a future inside the context of a runtime.
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
    fn runtime_without_a_timer_is_a_typed_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(async { current_runtime().unwrap_err() });
        assert!(error.to_string().contains("enable_time"), "{error}");
    }
}
