//! Several servers: the keys of each, and the servers that receive a call.

use std::{collections::BTreeMap, slice};

use cache_core::{ErrorKind, Timeout};
use test_servers::{Memcached, Proxy, Redis, Server as _};

use crate::{
    raw::Raw,
    support::{PATIENT, at, cache, raw, servers},
};

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("k{i}")).collect()
}

/// Returns the keys that each server has.
fn placed(servers: &[Memcached], keys: &[String]) -> Vec<Vec<String>> {
    let of = |server| {
        let mut raw: Raw = raw(server);
        let Some(generation) = raw.get("!:") else { return Vec::new() };
        let has = |key: &&String| raw.get(&format!("{generation}::1:{key}")).is_some();
        keys.iter().filter(has).cloned().collect()
    };
    servers.iter().map(of).collect()
}

/// Each key is on one server, by the weights, and every client finds it there.
#[tokio::test]
async fn keys_are_spread_by_weight_and_found_by_every_client() {
    let servers = servers(3);
    let more = format!("{PATIENT}[caches.default.options]\nweights = [1, 2, 3]\n");
    let keys = keys(600);
    let one = cache(&at(&servers), &more).strict();
    for key in &keys {
        one.set(key, key, Timeout::Default).await.unwrap();
    }
    let placed = placed(&servers, &keys);
    let counts: Vec<_> = placed.iter().map(Vec::len).collect();
    assert_eq!(counts.iter().sum::<usize>(), 600, "{counts:?}");
    // The result is random, because the ports differ each time.
    for (count, (least, most)) in counts.iter().zip([(50, 150), (140, 260), (230, 370)]) {
        assert!((least..most).contains(count), "{counts:?}");
    }
    let other = cache(&at(&servers), &more).strict();
    let found = other.get_many::<String, _>(&keys).await.unwrap();
    assert_eq!(found.len(), 600);
    assert!(found.iter().all(|(key, value)| *key == value));
}

/// A fourth server takes its share, and the others keep their keys.
#[tokio::test]
async fn joining_server_takes_only_its_share() {
    let servers = servers(4);
    let keys = keys(800);
    let three = cache(&at(&servers)[..3], PATIENT).strict();
    assert!(
        three.set_many(keys.iter().map(|it| (it, it)), Timeout::Default).await.unwrap().is_empty()
    );
    let four = cache(&at(&servers), PATIENT).strict();
    let found = four.get_many::<String, _>(&keys).await.unwrap();
    assert!((500..700).contains(&found.len()), "{} of 800 are found", found.len());
    let back = three.get_many::<String, _>(&keys).await.unwrap();
    assert_eq!(back.len(), 800);
}

/// A batch goes to each server once, in any mix. The results are in order, also for duplicate keys.
#[tokio::test]
async fn batch_over_all_servers_has_a_result_for_each_key() {
    let servers = servers(3);
    let cache = cache(&at(&servers), PATIENT).strict();
    // More than one pipeline can hold.
    let keys = keys(2500);
    let items = keys.iter().step_by(2).map(|it| (it, it));
    assert!(cache.set_many(items, Timeout::Default).await.unwrap().is_empty());
    let twice: Vec<&str> = keys.iter().chain(&keys).map(String::as_str).collect();
    let stored: Vec<_> = twice.iter().map(|it| format!(":1:{it}")).collect();
    let stored: Vec<_> = stored.iter().map(String::as_str).collect();
    let answers = cache.backend().get_many(&stored).await;
    for (i, (key, answer)) in twice.iter().zip(answers).enumerate() {
        let expected = (i % 2500).is_multiple_of(2).then(|| format!("\"{key}\""));
        assert_eq!(answer.unwrap().as_deref(), expected.as_deref().map(str::as_bytes));
    }
    assert_eq!(cache.delete_many(&keys).await.unwrap(), 1250);
    let left: BTreeMap<_, _> =
        cache.get_many::<String, _>(&keys).await.unwrap().into_iter().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The host name is resolved for each new connection.
#[tokio::test]
async fn server_with_a_host_name_is_found_after_a_restart() {
    let server = Memcached::start().unwrap();
    let by_name = cache(&[format!("localhost:{}", server.port())], PATIENT).strict();
    for round in 0..3 {
        by_name.set("k", &round, Timeout::Default).await.unwrap();
        assert_eq!(by_name.get("k").await.unwrap(), Some(round));
        server.restart().unwrap();
        crate::support::until("it works", async || {
            by_name.set("k", &0, Timeout::Default).await.is_ok()
        })
        .await;
    }
}

/// A service that is not memcached: each call is an error, no call hangs or is a miss, and no
/// connection is used again after an unexpected reply.
#[tokio::test]
async fn server_that_is_not_memcached_is_an_error() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let address = proxy.address().to_string();
    let breaker = "[caches.default.breaker]\nenabled = false\n";
    let cache = cache(slice::from_ref(&address), &format!("{PATIENT}{breaker}")).strict();
    for _ in 0..3 {
        for call in ["get", "set", "incr_or", "clear", "check"] {
            let before = proxy.accepted();
            // The store does not connect again at once after a rejected connection.
            crate::support::until("another connection is made", async || {
                let res = match call {
                    "get" => cache.get::<String>("k").await.map(drop),
                    "set" => cache.set("k", &"marked", Timeout::Default).await,
                    "incr_or" => cache.incr_or("k", 1, 0, Timeout::Default).await.map(drop),
                    "clear" => cache.clear().await,
                    _ => cache.check().await,
                };
                let error = res.unwrap_err();
                let is_apt = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Backend);
                assert!(is_apt && error.to_string().contains(&address), "{call}: {error}");
                assert!(!format!("{error:?}").contains("marked"), "{error:?}");
                proxy.accepted() > before
            })
            .await;
        }
    }
}
