//! Stores, and a service on axum with clients.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{Request, Response, StatusCode, header},
    response::IntoResponse,
    routing::post,
};
use cache_core::{Cache, Caches};
use cache_memory::Memory;
use cache_redis as _;
use cache_tower::session::CacheSessionStore;
use serde_json::Value;
use test_servers::Redis;
use tokio::sync::Barrier;
use tower::ServiceExt;
use tower_sessions::{Session, SessionManagerLayer};

/// Runs a test over a store in memory and one on a server.
pub(crate) async fn on_each_store(test: impl AsyncFn(Cache)) {
    test(Cache::builder(Memory::new()).tags(true).build("sessions").unwrap()).await;
    let redis = Redis::start().unwrap();
    test(on_redis(&redis.url())).await;
}

/// Returns a cache on Redis that a slow machine does not fail, and that fails open.
pub(crate) fn on_redis(url: &str) -> Cache {
    let toml = format!(
        "[caches.default]\nbackend = 'redis'\nlocation = '{url}'\ntags = true\n\
         deadline = '20s'\nconnect_deadline = '20s'\nbreaker.enabled = false\n"
    );
    Caches::from_toml(&toml).unwrap().get("default").unwrap().clone()
}

/// Lets two requests load their sessions before one of them is saved, or a request and a test.
pub(crate) type Gate = Arc<Barrier>;

/// A service.
#[derive(Clone)]
pub(crate) struct App {
    router: Router,
    pub(crate) gate: Gate,
}

pub(crate) fn app(store: &CacheSessionStore) -> App {
    app_with(SessionManagerLayer::new(store.clone()))
}

pub(crate) fn app_with(layer: SessionManagerLayer<CacheSessionStore>) -> App {
    let gate = Arc::new(Barrier::new(2));
    let router = Router::new()
        .route("/get/{name}", post(get))
        .route("/set/{name}/{value}", post(set))
        .route("/gated/{name}/{value}", post(gated))
        .route("/look", post(look))
        .route("/login/{user}", post(login))
        .route("/logout", post(logout))
        .route("/bye", post(bye))
        .layer(layer)
        .with_state(Arc::clone(&gate));
    App { router, gate }
}

async fn get(session: Session, Path(name): Path<String>) -> impl IntoResponse {
    match session.get::<Value>(&name).await {
        Ok(value) => (StatusCode::OK, value.unwrap_or_default().to_string()),
        // An application that does not know better: the cookie must survive it all the same.
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

async fn set(session: Session, Path((name, value)): Path<(String, String)>) -> impl IntoResponse {
    match session.insert(&name, value).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Loads the session, and changes it between two passes of the gate.
async fn gated(
    State(gate): State<Gate>,
    session: Session,
    Path((name, value)): Path<(String, String)>,
) -> impl IntoResponse {
    session.get_value(&name).await.unwrap();
    gate.wait().await;
    session.insert(&name, value).await.unwrap();
    gate.wait().await;
}

/// As `gated`, without a change.
async fn look(State(gate): State<Gate>, session: Session) -> impl IntoResponse {
    session.get_value("any").await.unwrap();
    gate.wait().await;
    gate.wait().await;
}

async fn login(session: Session, Path(user): Path<String>) -> impl IntoResponse {
    session.cycle_id().await.unwrap();
    session.insert("user", user).await.unwrap();
}

async fn logout(session: Session) -> impl IntoResponse {
    match session.flush().await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// As `logout`, and tells the next page that it was one.
async fn bye(session: Session) -> impl IntoResponse {
    session.flush().await.unwrap();
    session.insert("flash", "bye").await.unwrap();
}

/// A browser.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) app: App,
    pub(crate) cookie: Option<String>,
    /// Whether the last response set or removed the cookie.
    pub(crate) cookie_was_set: bool,
}

impl Client {
    pub(crate) fn new(app: &App) -> Self {
        Self { app: app.clone(), cookie: None, cookie_was_set: false }
    }

    pub(crate) async fn post(&mut self, path: &str) -> (StatusCode, String) {
        let mut request = Request::post(path);
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.app.router.clone().oneshot(request).await.unwrap();
        self.keep_cookie(&response);
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn status(&mut self, path: &str) -> u16 {
        self.post(path).await.0.as_u16()
    }

    /// Returns a session value as JSON.
    pub(crate) async fn get(&mut self, name: &str) -> String {
        let (status, body) = self.post(&format!("/get/{name}")).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    fn keep_cookie(&mut self, response: &Response<Body>) {
        let cookie = response.headers().get(header::SET_COOKIE).map(|it| it.to_str().unwrap());
        self.cookie_was_set = cookie.is_some();
        if let Some(cookie) = cookie {
            let pair = cookie.split(';').next().unwrap().to_owned();
            let is_removed = pair.ends_with('=');
            self.cookie = (!is_removed).then_some(pair);
        }
    }

    /// Returns the id in the cookie.
    pub(crate) fn id(&self) -> &str {
        self.cookie.as_deref().unwrap().split_once('=').unwrap().1
    }
}
