//! The routes of the service, and the layers around them.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Path, State as Part},
    http::{StatusCode, header::CACHE_CONTROL},
    response::IntoResponse,
    routing::{get, post},
};
use cache_core::{CACHES, Cache, cache};
use cache_tower::{
    http_cache::HttpCache,
    idempotency::IdempotencyLayer,
    memo::RequestMemoLayer,
    rate_limit::{ClientAddress, ClientKey, Limiter, RateLimit, RateLimitLayer},
    session::CacheSessionStore,
};
use tower_sessions::{
    Expiry, Session, SessionManagerLayer, cookie::time::Duration as CookieDuration,
};

use crate::{
    error::{Error, Result},
    operations,
    sessions::{self, LoggedIn},
    state::State,
    users::{NewUser, User, Users, user},
};

/// How often one address may try to log in within a minute.
const LOGINS: u32 = 10;

/// Returns the service. The layers of a route are written below it, the outermost last.
pub(crate) fn service(state: State) -> cache_core::Result<Router> {
    let pages = HttpCache::new(cache()).layer();
    let once = IdempotencyLayer::new(cache(), |parts| {
        parts.extensions.get::<Session>()?.id().map(|it| it.to_string())
    });
    // A guess must not pass while nothing counts it.
    let logins = Limiter::deny_on_failure(
        cache(),
        "logins",
        RateLimit::sliding_window(LOGINS, Duration::from_secs(60)),
    )?;
    let by_address = ClientKey::address(ClientAddress::of_peer(|parts| {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        peer.map(|ConnectInfo(address)| address.ip())
    }));
    let sessions = SessionManagerLayer::new(CacheSessionStore::new(CACHES.get("sessions")?))
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(CookieDuration::hours(12)));

    Ok(Router::new()
        .route("/users", get(list).route_layer(pages))
        .route("/users", post(create).route_layer(once))
        .route("/users/{id}", get(show).put(update))
        .route(
            "/login",
            post(sessions::log_in).route_layer(RateLimitLayer::new(logins, by_address)),
        )
        .route("/logout", post(sessions::log_out))
        .route("/me", get(sessions::me))
        .layer(sessions)
        .layer(RequestMemoLayer::new())
        // For operators, who have no session.
        .route("/health", get(operations::health))
        .route("/metrics", get(operations::metrics))
        .with_state(state))
}

/// The page of all users. The HTTP cache goes by `Cache-Control`. By the tag, `forget` reaches the
/// stored page.
async fn list(Part(users): Part<Users>) -> Result<impl IntoResponse> {
    let headers = [(CACHE_CONTROL.as_str(), "public, max-age=60"), ("cache-tag", "users")];
    Ok((headers, Json(users.all().await?)))
}

async fn show(Part(users): Part<Users>, Path(id): Path<i64>) -> Result<Json<User>> {
    user(&users, id).await?.map(Json).ok_or(Error::NotFound)
}

async fn create(
    _: LoggedIn,
    Part(users): Part<Users>,
    Part(cache): Part<Cache>,
    Json(new): Json<NewUser>,
) -> Result<(StatusCode, Json<User>)> {
    let created = users.insert(new).await?;
    // It was remembered that this user does not exist, if anyone has asked.
    forget(&cache, created.id).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

async fn update(
    _: LoggedIn,
    Part(users): Part<Users>,
    Part(cache): Part<Cache>,
    Path(id): Path<i64>,
    Json(new): Json<NewUser>,
) -> Result<Json<User>> {
    let updated = users.update(id, new).await?.ok_or(Error::NotFound)?;
    forget(&cache, id).await?;
    Ok(Json(updated))
}

/// Invalidates what contains a user, after the database has the new one: a load that began before
/// does not store what it has read.
async fn forget(cache: &Cache, id: i64) -> Result<()> {
    user::invalidate(id).await?;
    cache.invalidate_tags(["users"]).await?;
    Ok(())
}
