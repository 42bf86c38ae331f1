//! Detection of tokio runtimes without an I/O driver.

use std::panic::AssertUnwindSafe;

use cache_core::{Error, ErrorKind, Result};
use futures_util::FutureExt as _;

/// Returns the output of a future that opens connections. tokio panics if the runtime has no I/O
/// driver, and offers no other way to detect one; here the panic becomes an error.
///
/// # Errors
/// `Runtime` if the future panics.
///
/// # Cancel safety
/// The future is dropped.
///
/// ```
/// use cache_core::ErrorKind;
/// use cache_net::with_io_driver;
/// use tokio::net::TcpListener;
///
/// let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// let error = runtime.block_on(with_io_driver(TcpListener::bind("127.0.0.1:0"))).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Runtime);
/// ```
pub async fn with_io_driver<T>(future: impl Future<Output = T>) -> Result<T> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|_| {
        let message = "no I/O driver: this store needs a tokio runtime that is built with \
                       `enable_io()` or `enable_all()`";
        Error::new(ErrorKind::Runtime, message)
    })
}
