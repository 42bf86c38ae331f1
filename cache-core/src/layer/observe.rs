use super::{Call, Layer, Reply};
use crate::telemetry::observer::Observer;

/// Reports every call to a store to `tracing` and `metrics`, if these features are enabled.
pub(crate) struct Observe {
    pub(crate) backend: &'static str,
    pub(crate) observer: Observer,
}

impl Layer for Observe {
    fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> impl Future<Output = R> + Send {
        self.observer.in_call(self.backend, call.operation, call.keys, run)
    }

    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

impl std::fmt::Debug for Observe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observe").finish_non_exhaustive()
    }
}
