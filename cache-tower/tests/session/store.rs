//! The trait of `tower-sessions`, called as a layer would call it.

use std::sync::Arc;

use cache_core::{Cache, Caches, Codec, secs};
use cache_memory::Memory;
use cache_tower::session::{CacheSessionStore, SessionRejected};
use serde_json::json;
use sha2::{Digest, Sha256};
use tower_sessions::{
    Session, SessionStore,
    cookie::time::{Duration, OffsetDateTime},
    session::{Id, Record},
    session_store::Error,
};

use crate::support::on_each_store;

/// Returns the key of a session under the default prefix.
pub(crate) fn key_of(id: &str) -> String {
    Sha256::digest(id).iter().fold("session:".to_owned(), |key, it| format!("{key}{it:02x}"))
}

fn record(name: &str, value: &str) -> Record {
    let expiry_date = OffsetDateTime::now_utc() + Duration::hours(1);
    Record { id: Id::default(), data: [(name.to_owned(), json!(value))].into(), expiry_date }
}

fn rejected(res: Result<(), Error>) -> Option<SessionRejected> {
    SessionRejected::of(&res.unwrap_err())
}

#[tokio::test]
async fn each_new_session_has_a_new_id() {
    on_each_store(async |cache: Cache| {
        let store = CacheSessionStore::new(&cache);
        let mut first = record("user", "ada");
        let chosen = first.id;
        store.create(&mut first).await.unwrap();
        assert_ne!(first.id, chosen);
        let mut second = Record { id: first.id, ..record("user", "bob") };
        store.create(&mut second).await.unwrap();
        assert_ne!(first.id, second.id);
        for (record, user) in [(first, "ada"), (second, "bob")] {
            let loaded = store.load(&record.id).await.unwrap().unwrap();
            assert_eq!((loaded.id, &loaded.data["user"]), (record.id, &json!(user)));
            assert_eq!(loaded.expiry_date, record.expiry_date);
        }
    })
    .await;
}

#[tokio::test]
async fn save_of_an_absent_session_stores_nothing() {
    on_each_store(async |cache: Cache| {
        let store = CacheSessionStore::new(&cache);
        let absent = record("user", "ada");
        assert_eq!(rejected(store.save(&absent).await), Some(SessionRejected::Deleted));
        assert_eq!(store.load(&absent.id).await.unwrap(), None);
        store.delete(&absent.id).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn several_saves_of_one_request_are_no_conflict() {
    on_each_store(async |cache: Cache| {
        let store = CacheSessionStore::new(&cache);
        let mut session = record("n", "0");
        store.create(&mut session).await.unwrap();
        for n in ["1", "2", "3"] {
            session.data.insert("n".into(), json!(n));
            store.save(&session).await.unwrap();
        }
        let mut one = store.load(&session.id).await.unwrap().unwrap();
        let mut two = store.load(&session.id).await.unwrap().unwrap();
        for n in ["4", "5"] {
            one.data.insert("n".into(), json!(n));
            store.save(&one).await.unwrap();
        }
        two.data.insert("n".into(), json!("6"));
        assert_eq!(rejected(store.save(&two).await), Some(SessionRejected::Conflict));
        assert_eq!(store.load(&session.id).await.unwrap().unwrap().data["n"], json!("5"));
    })
    .await;
}

#[tokio::test]
async fn save_of_another_request_between_two_saves_loses_nothing() {
    on_each_store(async |cache: Cache| {
        let store = Arc::new(CacheSessionStore::new(&cache));
        let open = |id| Session::new(id, Arc::clone(&store), None);
        for last in [json!(false), json!("done")] {
            let new = open(None);
            new.insert("busy", false).await.unwrap();
            new.save().await.unwrap();
            let slow = open(new.id());
            slow.insert("busy", true).await.unwrap();
            slow.save().await.unwrap();
            let other = open(new.id());
            other.insert("theme", "dark").await.unwrap();
            other.save().await.unwrap();
            slow.insert("busy", &last).await.unwrap();
            slow.save().await.unwrap();
            let later = open(new.id());
            assert_eq!(later.get_value("busy").await.unwrap(), Some(last));
            assert_eq!(later.get_value("theme").await.unwrap(), Some(json!("dark")));
        }
    })
    .await;
}

#[tokio::test]
async fn cleared_session_replaces_what_is_stored() {
    on_each_store(async |cache: Cache| {
        let store = CacheSessionStore::new(&cache);
        let mut session = record("n", "0");
        store.create(&mut session).await.unwrap();
        let mut other = store.load(&session.id).await.unwrap().unwrap();
        session.data.insert("n".into(), json!("1"));
        store.save(&session).await.unwrap();
        other.data.clear();
        other.data.insert("m".into(), json!("2"));
        store.save(&other).await.unwrap();
        let loaded = store.load(&session.id).await.unwrap().unwrap();
        assert_eq!((loaded.data.get("n"), &loaded.data["m"]), (None, &json!("2")));
    })
    .await;
}

#[tokio::test]
async fn neither_keys_nor_entries_contain_ids() {
    let cache = Cache::new("sessions", Memory::new());
    let store = CacheSessionStore::new(&cache);
    let mut session = record("user", "ada");
    store.create(&mut session).await.unwrap();
    let id = session.id.to_string();
    let entry = cache.bytes().get(&key_of(&id)).await.unwrap().unwrap();
    let entry = String::from_utf8(entry.to_vec()).unwrap();
    assert!(!entry.contains(&id) && entry.contains("ada") && !entry.contains("cache-tower"));
    assert!(!format!("{store:?}").contains(&id));
}

#[tokio::test]
async fn every_codec_keeps_every_value() {
    let data = json!({"a": [1, -2, 1.5, u64::MAX, null, true], "b": {"c": "text"}, "d": 0.1});
    for codec in [Codec::Json, Codec::MsgPack, Codec::Postcard] {
        let cache = Cache::builder(Memory::new()).codec(codec).build("sessions").unwrap();
        let store = CacheSessionStore::new(&cache);
        let mut session = record("data", "");
        session.data.insert("data".into(), data.clone());
        store.create(&mut session).await.unwrap();
        let loaded = store.load(&session.id).await.unwrap().unwrap();
        assert_eq!(loaded.data["data"], data, "{codec:?}");
    }
}

#[tokio::test]
async fn user_key_without_tags_in_the_settings_is_an_error() {
    let caches = Caches::from_toml("caches.default.backend = 'memory'").unwrap();
    let store = CacheSessionStore::new(caches.get("default").unwrap()).user_key("user");
    let error = store.create(&mut record("user", "ada")).await.unwrap_err().to_string();
    assert!(error.contains("tags"), "{error}");
    assert!(store.log_out_everywhere("ada").await.is_err());
    assert!(caches.get("default").unwrap().set("k", &1, secs(1)).await.is_ok());
}

#[tokio::test]
async fn request_in_progress_does_not_undo_a_logout_everywhere() {
    for overwrites in [false, true] {
        on_each_store(async |cache: Cache| {
            let store = CacheSessionStore::new(&cache).user_key("user");
            let store = if overwrites { store.last_write_wins() } else { store };
            let mut session = record("user", "ada");
            store.create(&mut session).await.unwrap();
            let mut late = store.load(&session.id).await.unwrap().unwrap();
            late.data.insert("cart".into(), json!("book"));
            store.log_out_everywhere("ada").await.unwrap();
            assert_eq!(rejected(store.save(&late).await), Some(SessionRejected::Deleted));
            assert_eq!(store.load(&session.id).await.unwrap(), None);
        })
        .await;
    }
}
