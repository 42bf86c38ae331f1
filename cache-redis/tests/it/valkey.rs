//! Valkey 9.1: newer commands, which replace scripts and pipelines.

use std::time::Duration;

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::{
    Timeout, Ttl, secs,
    store::{Expected, Expiry, SetMode, TtlUpdate},
};
use futures_util::future::join_all;
use test_servers::Redis;

use crate::support::{LARGE_IS_SMALL, cache, store};

fn valkey() -> Redis {
    Redis::options().valkey().start().unwrap()
}

/// Returns how often the server has executed each of these commands.
fn calls<const N: usize>(server: &Redis, commands: [&str; N]) -> [u64; N] {
    let stats = server.command(&["INFO", "commandstats"]).unwrap().text();
    commands.map(|command| {
        let calls = stats.split_once(&format!("cmdstat_{command}:calls=")).map_or("0", |it| it.1);
        calls.split(',').next().unwrap().parse().unwrap()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn valkey_conforms() {
    let server = valkey();
    let (location, url) = (vec![server.url()], server.url());
    let harness = Harness::new("valkey", move || store(&location, LARGE_IS_SMALL));
    run_backend(harness.may_clear_store()).await;
    let harness = Harness::new("valkey", move || store(&[&url], LARGE_IS_SMALL));
    run_cache(harness.may_clear_store()).await;
    let used = calls(&server, ["delifeq", "msetex"]);
    assert!(used.iter().all(|it| *it > 0), "{used:?}");
}

#[tokio::test]
async fn batch_is_written_by_one_command() {
    let server = valkey();
    let store = store(&[server.url()], "");
    let items: Vec<_> = (0..100).map(|i| (format!("k{i}"), format!("v{i}"))).collect();
    let items: Vec<_> = items.iter().map(|(k, v)| (&**k, v.clone().into())).collect();
    for (expiry, ttl) in [(Expiry::Never, false), (Expiry::After(Duration::from_secs(60)), true)] {
        assert!(store.set_many(&items, expiry).await.iter().all(Result::is_ok));
        for (key, value) in &items {
            let entry = store.get_entry(key).await.unwrap().unwrap();
            assert_eq!((&entry.value, entry.ttl != Ttl::Forever), (value, ttl));
        }
    }
    assert_eq!(calls(&server, ["msetex", "set"]), [2, 0]);
}

#[tokio::test]
async fn comparison_of_the_value_needs_no_script() {
    let server = valkey();
    let store = store(&[server.url()], "");
    let minute = Expiry::After(Duration::from_secs(60));
    store.set("k", "old".into(), minute, SetMode::Always).await.unwrap();
    let (old, other) = (Expected::value(b"old"), Expected::value(b"other"));
    let swap = async |seen, value: &'static str, ttl| {
        store.compare_and_set("k", seen, value.into(), ttl).await.unwrap()
    };
    assert!(!swap(other, "lost", TtlUpdate::Keep).await);
    assert!(swap(old, "old", TtlUpdate::Keep).await);
    assert!(matches!(store.ttl("k").await.unwrap(), Some(Ttl::Remaining(_))));
    assert!(swap(old, "old", TtlUpdate::New(Expiry::Never)).await);
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Forever));
    assert!(swap(old, "other", TtlUpdate::New(minute)).await);
    assert!(matches!(store.ttl("k").await.unwrap(), Some(Ttl::Remaining(_))));
    assert!(!store.compare_and_delete("k", old).await.unwrap());
    assert!(store.compare_and_delete("k", other).await.unwrap());
    assert!(!store.compare_and_delete("k", other).await.unwrap());
    assert!(!swap(old, "absent", TtlUpdate::Keep).await);

    server.command(&["RPUSH", "list", "old"]).unwrap();
    assert!(!store.compare_and_delete("list", old).await.unwrap());
    assert!(!store.compare_and_set("list", old, "new".into(), TtlUpdate::Keep).await.unwrap());
    assert_eq!(calls(&server, ["evalsha", "eval", "delifeq"]), [0, 0, 4]);
}

/// A user whose rights were written for an older server.
#[tokio::test]
async fn user_without_the_right_to_newer_commands_uses_the_older_ones() {
    let server = valkey();
    let rules = ["~*", "+@all", "-delifeq", "-msetex"];
    let server_rules = ["ACL", "SETUSER", "ada", "on", ">secret"];
    server.command(&[&server_rules[..], &rules].concat()).unwrap();
    let url = server.url().replace("redis://", "redis://ada:secret@");
    let cache = cache(&[&url], "").strict();
    let items: Vec<_> = (0..10).map(|i| (format!("k{i}"), i)).collect();
    let pairs = || items.iter().map(|(key, i)| (key, i));
    for _ in 0..2 {
        assert!(cache.set_many(pairs(), secs(60)).await.unwrap().is_empty());
    }
    let found = cache.get_many::<i32, _>(items.iter().map(|it| &it.0)).await.unwrap();
    assert_eq!(found.len(), 10);
    assert_eq!(calls(&server, ["set", "msetex"]), [20, 0]);

    let store = store(&[&url], "");
    for key in ["k1", "k2"] {
        store.set(key, "v".into(), Expiry::Never, SetMode::Always).await.unwrap();
        assert!(store.compare_and_delete(key, Expected::value(b"v")).await.unwrap());
    }
    cache.set("k", &1, Timeout::Never).await.unwrap();
    assert_eq!(cache.update("k", secs(60), |it: i32| it + 1).await.unwrap(), Some(2));

    // Calls that are under way together on a connection that has just been made.
    let expected = Expected::value(b"v");
    for _ in 0..5 {
        let keys: Vec<_> = (0..20).map(|i| format!("c{i}")).collect();
        for key in &keys {
            server.command(&["SET", key, "v"]).unwrap();
        }
        // The next call makes a connection.
        store.close().await.unwrap();
        let deletes = join_all(keys.iter().map(|it| store.compare_and_delete(it, expected))).await;
        for deleted in deletes {
            assert!(deleted.unwrap());
        }
        // The next call makes a connection.
        store.close().await.unwrap();
        let many = [("d1", "1".into()), ("d2", "2".into())];
        let sets = join_all((0..5).map(|_| store.set_many(&many, Expiry::Never))).await;
        for res in sets.into_iter().flatten() {
            res.unwrap();
        }
    }
}
