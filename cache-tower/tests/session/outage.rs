//! A store that is down: requests fail, and users stay logged in.

use cache_core::{
    Cache, ErrorKind,
    testing::{Fault, Faulty},
};
use cache_memory::Memory;
use cache_tower::session::CacheSessionStore;
use test_servers::{Proxy, Redis, Server as _};
use tower_sessions::SessionManagerLayer;

use crate::support::{Client, app, app_with, on_redis};

/// Checks a client that was logged in before the store failed.
async fn fails_and_keeps_its_cookie(client: &mut Client) {
    let cookie = client.cookie.clone();
    for path in ["/get/user", "/set/cart/pen"] {
        let (status, body) = client.post(path).await;
        assert_eq!(status, 503, "{path}: {body}");
        assert!(!client.cookie_was_set, "{path}");
        let id = cookie.as_deref().unwrap().split_once('=').unwrap().1;
        assert!(!body.contains(id), "the id is in the error: {body}");
    }
    let mut stranger = Client { cookie: None, ..client.clone() };
    assert_eq!(stranger.status("/set/cart/pen").await, 500, "its session was not stored");
    assert_eq!(stranger.cookie, None);
}

#[tokio::test]
async fn failing_store_logs_no_user_out() {
    let faulty = Faulty::new(Memory::new());
    let cache = Cache::builder(std::sync::Arc::new(faulty.clone())).fail_open(true);
    let cache = cache.build("sessions").unwrap();
    let store = CacheSessionStore::new(&cache);
    let mut client = Client::new(&app(&store));
    let always = SessionManagerLayer::new(store).with_always_save(true);
    client.status("/login/ada").await;
    faulty.inject(|_| Fault::Error(ErrorKind::Unavailable));
    fails_and_keeps_its_cookie(&mut client).await;
    let mut eager = Client::new(&app_with(always));
    eager.cookie = client.cookie.clone();
    assert_eq!(eager.status("/get/user").await, 503);
    assert!(!eager.cookie_was_set);
    faulty.heal();
    assert_eq!(client.get("user").await, "\"ada\"");
    assert_eq!(client.get("cart").await, "null");
}

#[tokio::test]
async fn logout_during_an_outage_is_made_up_for() {
    let faulty = Faulty::new(Memory::new());
    let cache = Cache::new("sessions", std::sync::Arc::new(faulty.clone()));
    let mut client = Client::new(&app(&CacheSessionStore::new(&cache)));
    client.status("/login/ada").await;
    faulty.inject(|_| Fault::Error(ErrorKind::Unavailable));
    assert_eq!(client.status("/logout").await, 503);
    assert!(!client.cookie_was_set);
    faulty.heal();
    assert_eq!(client.get("user").await, "null");
}

#[tokio::test]
async fn network_outage_logs_no_user_out() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let url = format!("redis://{}", proxy.address());
    let mut client = Client::new(&app(&CacheSessionStore::new(&on_redis(&url))));
    client.status("/login/ada").await;
    proxy.refuse();
    proxy.cut();
    fails_and_keeps_its_cookie(&mut client).await;
    proxy.pass();
    // The slot may still report the attempt of a moment ago.
    while client.status("/get/user").await == 503 {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.get("user").await, "\"ada\"");
}

#[tokio::test]
async fn killed_server_fails_requests_and_a_new_one_serves_new_sessions() {
    let redis = Redis::start().unwrap();
    let mut client = Client::new(&app(&CacheSessionStore::new(&on_redis(&redis.url()))));
    client.status("/login/ada").await;
    redis.kill();
    fails_and_keeps_its_cookie(&mut client).await;
    redis.restart().unwrap();
    while client.status("/get/user").await == 503 {
        tokio::task::yield_now().await;
    }
    // This server keeps nothing on disk.
    assert_eq!(client.get("user").await, "null");
    client.status("/login/ada").await;
    assert_eq!(client.get("user").await, "\"ada\"");
}
