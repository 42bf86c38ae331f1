use super::{Call, Layer, Reply};
use crate::runtime;

/// Polls every call inside the library's own runtime, for callers without a runtime.
#[derive(Debug)]
pub(crate) struct OwnRuntime;

impl Layer for OwnRuntime {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        match runtime::own() {
            Ok(handle) => runtime::within(handle, async { run().await }).await,
            Err(error) => R::failed(&call, error),
        }
    }

    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}
