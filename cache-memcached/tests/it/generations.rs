//! `clear` of one prefix: a new generation, so that no old entry is read again.

use std::time::{Duration, Instant};

use cache_core::{Cache, Timeout, secs};
use futures_util::future::join_all;
use test_servers::{Memcached, Proxy, Server as _};

use crate::support::{PATIENT, at, cache, raw, servers, stored, until};

/// How long a generation is cached, by the contract.
const MEMORY: Duration = Duration::from_secs(1);

fn shop(servers: &[Memcached]) -> Cache {
    cache(&at(servers), &format!("key_prefix = \"shop\"\n{PATIENT}")).strict()
}

/// Returns a cache that does not share its generations with the others, like another process:
/// generations are shared by address, and the server has another address through the proxy.
fn elsewhere(server: &Memcached) -> (Proxy, Cache) {
    let proxy = Proxy::to(server.address()).unwrap();
    let more = format!("key_prefix = \"shop\"\n{PATIENT}");
    let cache = cache(&[proxy.address().to_string()], &more).strict();
    (proxy, cache)
}

#[tokio::test]
async fn keys_of_other_programs_and_prefixes_survive() {
    let servers = servers(1);
    let ours = shop(&servers);
    let eu = cache(&at(&servers), &format!("key_prefix = \"shop:eu\"\n{PATIENT}")).strict();
    let none = cache(&at(&servers), PATIENT).strict();
    let mut raw = raw(&servers[0]);
    let foreign =
        ["other", "shop", "shop:1:k", ":1:k", "shop:", "!", "-:shop", "0123456789abcdef:k"];
    for key in foreign {
        raw.set(key, key);
    }
    for it in [&ours, &eu, &none] {
        for version in 0..3 {
            it.at_version(version).set("k", &version, Timeout::Never).await.unwrap();
        }
    }
    ours.clear().await.unwrap();
    for version in 0..3 {
        assert_eq!(ours.at_version(version).get::<i64>("k").await.unwrap(), None);
        assert_eq!(eu.at_version(version).get("k").await.unwrap(), Some(version));
        assert_eq!(none.at_version(version).get("k").await.unwrap(), Some(version));
    }
    none.clear().await.unwrap();
    assert_eq!(none.get::<i64>("k").await.unwrap(), None);
    assert_eq!(eu.get("k").await.unwrap(), Some(1));
    for key in foreign {
        assert_eq!(raw.get(key).as_deref(), Some(key));
    }
    ours.clear_store().await.unwrap();
    assert_eq!(eu.get::<i64>("k").await.unwrap(), None);
    assert_eq!(raw.get("other"), None, "that is everything");
    ours.set("k", &7, Timeout::Default).await.unwrap();
    assert_eq!(ours.get("k").await.unwrap(), Some(7));
}

/// All handles of one process see the `clear` at once, also handles with other settings.
#[tokio::test]
async fn clear_takes_effect_in_the_whole_process_at_once() {
    let servers = servers(3);
    let (one, other) = (shop(&servers), shop(&servers));
    for round in 0..20 {
        for i in 0..30 {
            other.set(&format!("k{i}"), &round, Timeout::Default).await.unwrap();
        }
        one.clear().await.unwrap();
        let keys: Vec<_> = (0..30).map(|i| format!("k{i}")).collect();
        assert!(other.get_many::<i32, _>(&keys).await.unwrap().is_empty());
        one.set("k1", &-1, Timeout::Default).await.unwrap();
        assert_eq!(other.get("k1").await.unwrap(), Some(-1));
    }
}

/// After several concurrent `clear` calls, the last generation on the server is the one in use: a
/// value that is written afterwards stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_clears_leave_one_generation() {
    let servers = servers(1);
    let (one, other) = (shop(&servers), shop(&servers));
    let mut raw = raw(&servers[0]);
    for round in 0..50 {
        let clears = (0..8).map(|i| {
            let it = if i % 2 == 0 { one.clone() } else { other.clone() };
            tokio::spawn(async move {
                it.clear().await.unwrap();
                it.get::<i32>("k").await.unwrap()
            })
        });
        for found in join_all(clears).await {
            assert_eq!(found.unwrap(), None);
        }
        one.set("k", &round, Timeout::Default).await.unwrap();
        assert_eq!(stored(&mut raw, "shop", "k"), Some(round.to_string()));
    }
}

/// "Remembered for a second": after that, another process sees the `clear`.
#[tokio::test]
async fn clear_takes_effect_in_other_processes_within_a_second() {
    let servers = servers(1);
    let ours = shop(&servers);
    let (_proxy, theirs) = elsewhere(&servers[0]);
    for round in 0..2 {
        ours.set("k", &round, Timeout::Never).await.unwrap();
        assert_eq!(theirs.get("k").await.unwrap(), Some(round), "they share it");
        ours.clear().await.unwrap();
        let cleared = Instant::now();
        loop {
            let asked = cleared.elapsed();
            let found = theirs.get::<i32>("k").await.unwrap();
            if asked > MEMORY + Duration::from_millis(100) {
                assert_eq!(found, None, "{asked:?} after it was cleared");
                break;
            }
            assert!(found.is_none_or(|it| it == round));
            // sleeps: the cache time is measured by the system clock
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        theirs.set("back", &round, Timeout::Default).await.unwrap();
        assert_eq!(ours.get("back").await.unwrap(), Some(round));
    }
}

/// A lost generation is replaced by a new one. The old entries never come back, although the server
/// still has them.
#[tokio::test]
async fn lost_generation_revives_no_old_entry() {
    let servers = servers(1);
    let cache = shop(&servers);
    let mut raw = raw(&servers[0]);
    let mut generations = std::collections::BTreeSet::new();
    for round in 0..3 {
        cache.set("k", &round, Timeout::Never).await.unwrap();
        let generation = raw.get("!:shop").unwrap();
        assert_eq!(raw.ask("md !:shop").0, "HD");
        until("it is noticed", async || cache.get::<i32>("k").await.unwrap().is_none()).await;
        let old = format!("{generation}:shop:1:k");
        assert_eq!(raw.get(&old), Some(round.to_string()), "it is still there");
        assert!(generations.insert(generation), "no generation comes twice");
        assert!(cache.add("k", &(round + 10), Timeout::Default).await.unwrap());
        assert_eq!(cache.get("k").await.unwrap(), Some(round + 10));
        assert!(cache.delete("k").await.unwrap());
    }
}

#[tokio::test]
async fn invalid_generation_is_replaced() {
    let servers = servers(1);
    let cache = shop(&servers);
    let mut raw = raw(&servers[0]);
    for garbage in ["", "garbage", "x\r\nflush_all", "0123456789abcde", "0123456789abcdefg", "-"] {
        raw.set("sentinel", "there");
        raw.set("!:shop", garbage);
        until("it is replaced", async || {
            cache.set("k", &garbage, Timeout::Default).await.unwrap();
            raw.get("!:shop").as_deref() != Some(garbage)
        })
        .await;
        assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some(garbage));
        assert_eq!(stored(&mut raw, "shop", "k"), Some(serde_json::to_string(garbage).unwrap()));
        assert_eq!(raw.get("sentinel").as_deref(), Some("there"));
    }
}

/// A generation of another program or a later release is used.
#[tokio::test]
async fn generation_of_another_writer_is_used() {
    let servers = servers(1);
    let cache = shop(&servers);
    let mut raw = raw(&servers[0]);
    cache.set("k", &1, secs(600)).await.unwrap();
    raw.set("!:shop", "00000000deadbeef");
    raw.set("00000000deadbeef:shop:1:k", "2");
    until("it is followed", async || cache.get("k").await.unwrap() == Some(2)).await;
}

/// "One server down never takes the namespace away from the others": the call is an error, and the
/// others are cleared and continue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_with_a_server_down_clears_the_others_and_is_an_error() {
    let servers = servers(3);
    let cache = shop(&servers);
    let keys: Vec<_> = (0..60).map(|i| format!("k{i}")).collect();
    assert!(
        cache.set_many(keys.iter().map(|it| (it, 1)), Timeout::Default).await.unwrap().is_empty()
    );
    servers[1].kill();
    let error = cache.clear().await.unwrap_err();
    assert!(error.to_string().contains(&servers[1].address().to_string()), "{error}");
    let (mut misses, mut errors) = (0, 0);
    for key in &keys {
        match cache.get::<i32>(key).await {
            Ok(found) => {
                assert_eq!(found, None, "{key}");
                misses += 1;
                cache.set(key, &2, Timeout::Default).await.unwrap();
                assert_eq!(cache.get(key).await.unwrap(), Some(2));
            }
            Err(_) => errors += 1,
        }
    }
    assert!(misses > 20 && errors > 5, "{misses} {errors}");
    servers[1].restart().unwrap();
    until("all are back", async || cache.clear().await.is_ok()).await;
    assert!(cache.get_many::<i32, _>(&keys).await.unwrap().is_empty());
}

/// The connections of all runtimes detect a restarted server, also for a runtime whose own
/// connection has not noticed the restart yet.
#[test]
fn add_after_a_restart_has_one_winner_in_any_runtime() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (here, there) = (runtime().unwrap(), runtime().unwrap());
    let servers = servers(1);
    let cache = shop(&servers);
    for round in 0..20 {
        // In turn, both runtimes have a connection, or one of them.
        if round % 3 != 1 {
            here.block_on(cache.set("k", &round, Timeout::Default)).unwrap();
        }
        if round % 3 != 2 {
            there.block_on(cache.set("k", &round, Timeout::Default)).unwrap();
        }
        servers[0].restart().unwrap();
        let add = async |value: i32| loop {
            match cache.add("lock", &value, Timeout::Default).await {
                Ok(it) => break it,
                Err(error) => assert!(error.kind() != cache_core::ErrorKind::Runtime, "{error}"),
            }
        };
        let won = [there.block_on(add(1)), here.block_on(add(2)), there.block_on(add(3))];
        assert_eq!(won.iter().filter(|it| **it).count(), 1, "round {round}: {won:?}");
        let winner = won.iter().zip(1..).find(|(it, _)| **it).map(|(_, value)| value);
        assert_eq!(here.block_on(cache.get::<i32>("lock")).unwrap(), winner);
        here.block_on(cache.close()).unwrap();
    }
}
