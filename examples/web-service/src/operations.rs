//! The pages for operators.

use axum::{extract::State, http::StatusCode};
use cache_core::Caches;
use metrics_exporter_prometheus::PrometheusHandle;

/// The service is healthy while its database answers. A cache that is down makes it slower, so its
/// line says so, and the status stays 200: a load balancer must not take the service away.
pub(crate) async fn health(State(caches): State<&'static Caches>) -> (StatusCode, String) {
    (StatusCode::OK, format!("{}\n", caches.check().await))
}

/// Counters of the caches in the format of Prometheus.
pub(crate) async fn metrics(State(metrics): State<PrometheusHandle>) -> String {
    metrics.render()
}
