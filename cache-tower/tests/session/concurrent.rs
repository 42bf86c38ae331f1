//! Two requests of one session at the same time.

use cache_core::Cache;
use cache_tower::session::CacheSessionStore;
use tower_sessions::SessionManagerLayer;

use crate::{
    store::key_of,
    support::{App, Client, app, app_with, on_each_store},
};

/// Sends two requests of one session, both of which load it before one of them saves it. Returns
/// their statuses in ascending order.
async fn together(client: &Client, paths: [&str; 2]) -> [u16; 2] {
    let (mut one, mut two) = (client.clone(), client.clone());
    let (one, two) = tokio::join!(one.status(paths[0]), two.status(paths[1]));
    [one.min(two), one.max(two)]
}

/// Sends a request whose session another process deletes between its load and its save.
async fn deleted_meanwhile(client: &Client, path: &str, cache: &Cache) -> (u16, bool) {
    let (mut late, gate, key) = (client.clone(), &client.app.gate, key_of(client.id()));
    let delete = async {
        gate.wait().await;
        let deleted = cache.delete(&key).await.unwrap();
        gate.wait().await;
        deleted
    };
    tokio::join!(late.status(path), delete)
}

async fn logged_in(app: &App) -> Client {
    let mut client = Client::new(app);
    client.status("/login/ada").await;
    client.status("/set/cart/book").await;
    client
}

#[tokio::test]
async fn changes_of_different_values_are_all_kept() {
    on_each_store(async |cache: Cache| {
        let app = app(&CacheSessionStore::new(&cache));
        let mut client = logged_in(&app).await;
        for round in 0..20 {
            let paths = [format!("/gated/cart/{round}"), format!("/gated/theme/{round}")];
            assert_eq!(together(&client, [&paths[0], &paths[1]]).await, [200, 200]);
            assert_eq!(client.get("cart").await, format!("\"{round}\""));
            assert_eq!(client.get("theme").await, format!("\"{round}\""));
        }
        assert_eq!(client.get("user").await, "\"ada\"");
    })
    .await;
}

#[tokio::test]
async fn second_change_of_one_value_fails_and_loses_nothing() {
    on_each_store(async |cache: Cache| {
        let app = app(&CacheSessionStore::new(&cache));
        let mut client = logged_in(&app).await;
        for _ in 0..20 {
            client.status("/set/cart/book").await;
            let statuses = together(&client, ["/gated/cart/pen", "/gated/cart/cup"]).await;
            assert_eq!(statuses, [200, 500]);
            assert!(["\"pen\"", "\"cup\""].contains(&client.get("cart").await.as_str()));
        }
        client.status("/set/cart/pen").await;
        assert_eq!(client.get("cart").await, "\"pen\"", "the next request works");
    })
    .await;
}

/// This is the loss that the store prevents by default.
#[tokio::test]
async fn last_write_wins_if_it_is_asked_for() {
    on_each_store(async |cache: Cache| {
        let app = app(&CacheSessionStore::new(&cache).last_write_wins());
        let mut client = logged_in(&app).await;
        let statuses = together(&client, ["/gated/cart/pen", "/gated/theme/dark"]).await;
        assert_eq!(statuses, [200, 200]);
        let found = [client.get("cart").await, client.get("theme").await];
        assert!(
            [["\"pen\"", "null"], ["\"book\"", "\"dark\""]].contains(&[&*found[0], &*found[1]])
        );
    })
    .await;
}

#[tokio::test]
async fn late_save_does_not_bring_a_deleted_session_back() {
    for overwrites in [false, true] {
        on_each_store(async |cache: Cache| {
            let store = CacheSessionStore::new(&cache);
            let store = if overwrites { store.last_write_wins() } else { store };
            let mut client = logged_in(&app(&store)).await;
            let key = key_of(client.id());
            let (late, deleted) = deleted_meanwhile(&client, "/gated/cart/pen", &cache).await;
            assert!(deleted);
            assert_eq!(late, 500);
            assert!(!cache.has_key(&key).await.unwrap());
            assert_eq!(client.get("user").await, "null");
        })
        .await;
    }
}

#[tokio::test]
async fn late_save_does_not_undo_a_logout_that_goes_on_with_a_new_session() {
    for overwrites in [false, true] {
        on_each_store(async |cache: Cache| {
            let store = CacheSessionStore::new(&cache);
            let store = if overwrites { store.last_write_wins() } else { store };
            let app = app(&store);
            let mut client = logged_in(&app).await;
            let (mut late, mut thief) = (client.clone(), client.clone());
            let logout = async {
                app.gate.wait().await;
                assert_eq!(client.status("/bye").await, 200);
                app.gate.wait().await;
            };
            assert_eq!(tokio::join!(late.status("/gated/user/eve"), logout).0, 500);
            assert_ne!(client.cookie, thief.cookie, "the old id is worthless");
            assert_eq!(client.get("flash").await, "\"bye\"");
            assert_eq!(client.get("user").await, "null");
            for name in ["user", "flash"] {
                assert_eq!(thief.get(name).await, "null");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn unchanged_session_has_no_conflict() {
    on_each_store(async |cache: Cache| {
        let layer = SessionManagerLayer::new(CacheSessionStore::new(&cache));
        let app = app_with(layer.with_always_save(true));
        let mut client = logged_in(&app).await;
        assert_eq!(together(&client, ["/look", "/gated/cart/pen"]).await, [200, 200]);
        assert_eq!(client.get("cart").await, "\"pen\"");
        // Nothing is lost if a request that changed nothing finds its session deleted.
        let key = key_of(client.id());
        assert_eq!(deleted_meanwhile(&client, "/look", &cache).await, (200, true));
        assert!(!cache.has_key(&key).await.unwrap());
        assert_eq!(client.get("user").await, "null");
    })
    .await;
}
