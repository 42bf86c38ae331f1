//! A service to which requests with idempotency keys are sent.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use cache_core::Cache;
use cache_tower::idempotency::IdempotencyLayer;
use tokio::sync::{Notify, Semaphore};

use crate::http::{Reply, send, serve};

/// A service that counts its payments. Each waits for a permit of `gate`.
#[derive(Clone)]
pub(crate) struct Payments {
    pub(crate) runs: Arc<AtomicUsize>,
    pub(crate) began: Arc<Notify>,
    pub(crate) gate: Arc<Semaphore>,
}

impl Payments {
    pub(crate) fn open() -> Self {
        Self { gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), ..Self::closed() }
    }

    pub(crate) fn closed() -> Self {
        Self { runs: Arc::default(), began: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(SeqCst)
    }

    pub(crate) fn router(&self) -> Router {
        let it = self.clone();
        let pay = async move |Path(status): Path<u16>, headers: HeaderMap, body: String| {
            let run = it.runs.fetch_add(1, SeqCst) + 1;
            it.began.notify_one();
            it.gate.acquire().await.unwrap().forget();
            let status = StatusCode::from_u16(status).unwrap();
            let secret = headers.get("x-secret").cloned();
            let kept =
                [("location", format!("/payments/{run}")), ("x-request-id", run.to_string())];
            let body = format!("{run}: {body}");
            (status, kept, secret.map(|it| [("set-cookie", it)]), body).into_response()
        };
        Router::new()
            .route("/pay/{status}", post(pay.clone()).get(pay.clone()).patch(pay.clone()).put(pay))
    }

    pub(crate) async fn serve(&self, layer: IdempotencyLayer) -> SocketAddr {
        serve(self.router().layer(layer)).await
    }
}

/// The sender is in a header, as an authentication layer would set it.
pub(crate) fn layer(cache: &Cache) -> IdempotencyLayer {
    IdempotencyLayer::new(cache, |parts| {
        Some(parts.headers.get("x-user")?.to_str().ok()?.to_owned())
    })
}

pub(crate) async fn pay(to: SocketAddr, key: &str, body: &str) -> Reply {
    send(to, &head("POST /pay/201", "ada", key), body).await
}

pub(crate) fn head(line: &str, user: &str, key: &str) -> String {
    format!("{line}\r\nx-user: {user}\r\nidempotency-key: \"{key}\"\r\n")
}
