//! The state that handlers share.

use axum::extract::FromRef;
use cache_core::{Cache, Caches};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::users::Users;

/// Everything that handlers share. A handler names the part that it needs, by `FromRef`.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) caches: &'static Caches,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) users: Users,
}

impl FromRef<State> for &'static Caches {
    fn from_ref(state: &State) -> Self {
        state.caches
    }
}

/// The default cache, for handlers that use it directly.
impl FromRef<State> for Cache {
    fn from_ref(_state: &State) -> Self {
        cache_core::cache().clone()
    }
}

impl FromRef<State> for PrometheusHandle {
    fn from_ref(state: &State) -> Self {
        state.metrics.clone()
    }
}

impl FromRef<State> for Users {
    fn from_ref(state: &State) -> Self {
        state.users.clone()
    }
}
