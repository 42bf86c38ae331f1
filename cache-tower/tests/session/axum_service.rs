//! A service with one request at a time.

use cache_core::Cache;
use cache_tower::session::CacheSessionStore;
use tower_sessions::{Expiry, SessionManagerLayer, cookie::time::Duration};

use crate::support::{Client, app, app_with, on_each_store};

#[tokio::test]
async fn session_lasts_until_logout() {
    on_each_store(async |cache: Cache| {
        let app = app(&CacheSessionStore::new(&cache));
        let (mut ada, mut bob) = (Client::new(&app), Client::new(&app));
        assert_eq!(ada.get("user").await, "null");
        assert_eq!(ada.cookie, None, "a session that is only read is not stored");
        ada.status("/login/ada").await;
        bob.status("/login/bob").await;
        ada.status("/set/cart/book").await;
        assert_eq!(ada.get("user").await, "\"ada\"");
        assert_eq!(ada.get("cart").await, "\"book\"");
        assert_eq!(bob.get("user").await, "\"bob\"");
        assert_eq!(bob.get("cart").await, "null");
        let old = ada.clone();
        ada.status("/logout").await;
        assert_eq!(ada.cookie, None);
        let mut thief = old;
        assert_eq!(thief.get("user").await, "null", "the old cookie is worthless");
        assert_eq!(bob.get("user").await, "\"bob\"");
    })
    .await;
}

#[tokio::test]
async fn login_keeps_values_under_another_id() {
    on_each_store(async |cache: Cache| {
        let mut client = Client::new(&app(&CacheSessionStore::new(&cache)));
        client.status("/set/cart/book").await;
        let mut before = client.clone();
        client.status("/login/ada").await;
        assert_ne!(client.cookie, before.cookie);
        assert_eq!(client.get("cart").await, "\"book\"");
        assert_eq!(before.get("cart").await, "null");
        // The first save of the new session is followed by others.
        client.status("/set/cart/pen").await;
        assert_eq!(client.get("cart").await, "\"pen\"");
    })
    .await;
}

#[tokio::test]
async fn expired_session_is_absent() {
    on_each_store(async |cache: Cache| {
        let layer = SessionManagerLayer::new(CacheSessionStore::new(&cache));
        let soon = Expiry::OnInactivity(Duration::milliseconds(300));
        let mut client = Client::new(&app_with(layer.with_expiry(soon)));
        client.status("/login/ada").await;
        // sleeps: the expiry is a time of the wall clock, in Redis too.
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        assert_eq!(client.get("user").await, "null");
    })
    .await;
}

#[tokio::test]
async fn logging_out_everywhere_ends_all_sessions_of_one_user() {
    on_each_store(async |cache: Cache| {
        let store = CacheSessionStore::new(&cache).user_key("user");
        let app = app(&store);
        let mut clients = Vec::new();
        for user in ["ada", "ada", "bob"] {
            let mut client = Client::new(&app);
            client.status("/set/cart/book").await;
            client.status(&format!("/login/{user}")).await;
            clients.push(client);
        }
        store.log_out_everywhere("ada").await.unwrap();
        assert_eq!(clients[0].get("user").await, "null");
        assert_eq!(clients[1].get("cart").await, "null");
        assert_eq!(clients[2].get("user").await, "\"bob\"");
        clients[0].status("/login/ada").await;
        assert_eq!(clients[0].get("user").await, "\"ada\"", "she can log in again");
    })
    .await;
}

#[tokio::test]
async fn prefixes_separate_sessions() {
    on_each_store(async |cache: Cache| {
        let shop = CacheSessionStore::new(&cache);
        let mut client = Client::new(&app(&shop));
        client.status("/login/ada").await;
        let mut other = Client::new(&app(&shop.prefix("admin:")));
        other.cookie = client.cookie.clone();
        assert_eq!(other.get("user").await, "null");
    })
    .await;
}

#[tokio::test]
async fn entry_that_does_not_decode_is_an_absent_session() {
    on_each_store(async |cache: Cache| {
        let mut client = Client::new(&app(&CacheSessionStore::new(&cache)));
        client.status("/login/ada").await;
        let key = crate::store::key_of(client.id());
        cache.set(&key, "written by something else", cache_core::secs(60)).await.unwrap();
        assert_eq!(client.get("user").await, "null");
        client.status("/login/ada").await;
        assert_eq!(client.get("user").await, "\"ada\"");
    })
    .await;
}
