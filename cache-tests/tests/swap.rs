//! A backend is swapped by an edit of the settings: one program gets the same results from every
//! store.

use std::{collections::BTreeMap, time::Duration};

use cache_core::{Cache, Caches, ErrorKind, Timeout, Ttl, secs};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    tags: Vec<String>,
}

fn ada() -> User {
    User { name: "Ada".into(), tags: vec!["α".into(), "\r\n".into(), String::new()] }
}

/// Runs every operation of a cache and returns the results, in a form that does not depend on the
/// time.
async fn run_every_operation(cache: &Cache) -> cache_core::Result<Vec<String>> {
    let mut results: Vec<String> = Vec::new();
    let mut record = |it: &dyn std::fmt::Debug| results.push(format!("{it:?}"));
    record(&cache.get::<User>("user").await?);
    record(&cache.set("user", &ada(), secs(60)).await?);
    record(&cache.get::<User>("user").await?);
    record(&cache.get::<i32>("user").await.map_err(|it| it.kind()));
    record(&cache.add("user", &1, secs(60)).await?);
    record(&cache.replace("absent", &1, secs(60)).await?);
    record(&cache.add("n", &41, Timeout::Never).await?);
    record(&cache.incr("n", 1).await?);
    record(&cache.decr("n", 100).await?);
    record(&cache.ttl("n").await?);
    record(&cache.incr("user", 1).await.map_err(|it| it.kind()));
    record(&cache.incr("absent", 1).await.map_err(|it| it.kind()));
    record(&cache.incr_or("hits", 2, 10, secs(60)).await?);
    record(&cache.incr_or("hits", 2, 10, secs(60)).await?);
    record(&cache.set("most", &i64::MAX, secs(60)).await?);
    record(&cache.incr("most", 1).await.map_err(|it| it.kind()));
    record(&cache.get::<i64>("most").await?);
    record(&cache.touch("user", Timeout::Never).await?);
    record(&cache.ttl("user").await?);
    record(&cache.touch("absent", secs(1)).await?);
    let items = (0..300).map(|i| (format!("many:{i}"), i));
    record(&cache.set_many(items.collect::<Vec<_>>(), secs(60)).await?.len());
    let keys: Vec<_> = (290..310).map(|i| format!("many:{i}")).collect();
    record(&cache.get_many::<i32, _>(keys.clone()).await?.into_iter().collect::<BTreeMap<_, _>>());
    record(&cache.delete_many(keys).await?);
    record(&cache.get_or_set("loaded", secs(60), || async { ada() }).await?);
    let load = || async { unreachable!("the key is stored") };
    record(&cache.get_or_set::<User, _>("loaded", secs(60), load).await?);
    record(&cache.update("n", secs(60), |it: i64| it * 2).await?);
    record(
        &matches!(cache.ttl("n").await?, Some(Ttl::Remaining(it)) if it > Duration::from_secs(50)),
    );
    record(&cache.incr_version("user", 1).await?);
    record(&cache.has_key("user").await?);
    record(&cache.at_version(2).get::<User>("user").await?);
    record(&cache.pop::<i64>("n").await?);
    record(&cache.pop::<i64>("n").await?);
    record(&cache.bytes().set("raw", &b"\x00\xff\r\n"[..], secs(60)).await?);
    record(&cache.bytes().get("raw").await?);
    record(&cache.set("none", &None::<u8>, secs(60)).await?);
    record(&cache.get::<Option<u8>>("none").await?);
    record(&cache.set("expired", &1, secs(0)).await?);
    record(&cache.has_key("expired").await?);
    record(&cache.set("a key", &1, Timeout::Default).await.map_err(|it| it.kind()));
    record(&cache.delete("raw").await?);
    record(&cache.delete("raw").await?);
    record(&cache.clear().await?);
    record(&cache.at_version(2).has_key("user").await?);
    record(&cache.check().await?);
    Ok(results)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_store_returns_the_same_results() {
    let mut first: Option<(&str, Vec<String>)> = None;
    for store in cache_tests::stores().unwrap() {
        let caches = Caches::from_toml(&store.settings()).unwrap();
        let results = run_every_operation(&caches.get("default").unwrap().strict()).await.unwrap();
        assert!(results.len() > 40, "{results:?}");
        match &first {
            None => first = Some((store.name, results)),
            Some((name, expected)) => {
                for (i, (expected, results)) in expected.iter().zip(&results).enumerate() {
                    assert_eq!(
                        results, expected,
                        "step {i}: {} (left) differs from {name} (right)",
                        store.name
                    );
                }
            }
        }
    }
}

#[test]
fn blocking_calls_without_a_runtime_work_on_every_store() {
    for store in cache_tests::stores().unwrap() {
        let caches = Caches::from_toml(&store.settings()).unwrap();
        let cache = caches.get("default").unwrap().strict().blocking();
        cache.set("user", &ada(), secs(60)).unwrap();
        assert_eq!(cache.get::<User>("user").unwrap(), Some(ada()), "{store:?}");
        assert_eq!(cache.get_or_set("n", secs(60), || 7).unwrap(), 7, "{store:?}");
        assert_eq!(cache.incr("n", 1).unwrap(), 8, "{store:?}");
    }
}

#[test]
fn network_store_without_a_runtime_is_a_typed_error() {
    for store in cache_tests::stores().unwrap().into_iter().filter(|it| it.needs_runtime) {
        let caches = Caches::from_toml(&store.settings()).unwrap();
        let cache = caches.get("default").unwrap();
        let mut call = std::pin::pin!(cache.get::<i32>("k"));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Err(error)) = call.as_mut().poll(&mut cx) else {
            panic!("{store:?}: a call without a runtime did not fail at once");
        };
        assert_eq!(error.kind(), ErrorKind::Runtime, "{store:?}: {error}");
    }
}
