//! "Swapping a backend is an edit of the TOML and nothing else": one program, and the same answers whatever store it has.

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

/// All that a program can ask of a cache, and what it was told, in words that depend on no clock.
async fn program(cache: &Cache) -> cache_core::Result<Vec<String>> {
    let mut said: Vec<String> = Vec::new();
    let mut say = |it: &dyn std::fmt::Debug| said.push(format!("{it:?}"));
    say(&cache.get::<User>("user").await?);
    say(&cache.set("user", &ada(), secs(60)).await?);
    say(&cache.get::<User>("user").await?);
    say(&cache.get::<i32>("user").await.map_err(|it| it.kind()));
    say(&cache.add("user", &1, secs(60)).await?);
    say(&cache.replace("nobody", &1, secs(60)).await?);
    say(&cache.add("n", &41, Timeout::Never).await?);
    say(&cache.incr("n", 1).await?);
    say(&cache.decr("n", 100).await?);
    say(&cache.ttl("n").await?);
    say(&cache.incr("user", 1).await.map_err(|it| it.kind()));
    say(&cache.incr("nobody", 1).await.map_err(|it| it.kind()));
    say(&cache.incr_or("hits", 2, 10, secs(60)).await?);
    say(&cache.incr_or("hits", 2, 10, secs(60)).await?);
    say(&cache.set("most", &i64::MAX, secs(60)).await?);
    say(&cache.incr("most", 1).await.map_err(|it| it.kind()));
    say(&cache.get::<i64>("most").await?);
    say(&cache.touch("user", Timeout::Never).await?);
    say(&cache.ttl("user").await?);
    say(&cache.touch("nobody", secs(1)).await?);
    let items = (0..300).map(|i| (format!("many:{i}"), i));
    say(&cache.set_many(items.collect::<Vec<_>>(), secs(60)).await?.len());
    let keys: Vec<_> = (290..310).map(|i| format!("many:{i}")).collect();
    say(&cache.get_many::<i32, _>(keys.clone()).await?.into_iter().collect::<BTreeMap<_, _>>());
    say(&cache.delete_many(keys).await?);
    say(&cache.get_or_set("loaded", secs(60), || async { ada() }).await?);
    let load = || async { unreachable!("it is there") };
    say(&cache.get_or_set::<User, _>("loaded", secs(60), load).await?);
    say(&cache.update("n", secs(60), |it: i64| it * 2).await?);
    say(&matches!(cache.ttl("n").await?, Some(Ttl::Remaining(it)) if it > Duration::from_secs(50)));
    say(&cache.incr_version("user", 1).await?);
    say(&cache.has_key("user").await?);
    say(&cache.at_version(2).get::<User>("user").await?);
    say(&cache.pop::<i64>("n").await?);
    say(&cache.pop::<i64>("n").await?);
    say(&cache.set_bytes("raw", &b"\x00\xff\r\n"[..], secs(60)).await?);
    say(&cache.get_bytes("raw").await?);
    say(&cache.set("none", &None::<u8>, secs(60)).await?);
    say(&cache.get::<Option<u8>>("none").await?);
    say(&cache.set("gone", &1, secs(0)).await?);
    say(&cache.has_key("gone").await?);
    say(&cache.set("a key", &1, Timeout::Default).await.map_err(|it| it.kind()));
    say(&cache.delete("raw").await?);
    say(&cache.delete("raw").await?);
    say(&cache.clear().await?);
    say(&cache.at_version(2).has_key("user").await?);
    say(&cache.check().await?);
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_program_gets_the_same_answers_from_every_store() {
    let mut first: Option<(&str, Vec<String>)> = None;
    for store in cache_tests::stores().unwrap() {
        let caches = Caches::from_toml(&store.settings()).unwrap();
        let said = program(&caches.get("default").unwrap().strict()).await.unwrap();
        assert!(said.len() > 40, "{said:?}");
        match &first {
            None => first = Some((store.name, said)),
            Some((name, expected)) => {
                for (i, (expected, said)) in expected.iter().zip(&said).enumerate() {
                    assert_eq!(said, expected, "step {i}: {} is not as {name}", store.name);
                }
            }
        }
    }
}

/// From threads without a runtime, too.
#[test]
fn the_blocking_view_is_the_same_on_every_store() {
    for store in cache_tests::stores().unwrap() {
        let caches = Caches::from_toml(&store.settings()).unwrap();
        let cache = caches.get("default").unwrap().strict().blocking();
        cache.set("user", &ada(), secs(60)).unwrap();
        assert_eq!(cache.get::<User>("user").unwrap(), Some(ada()), "{store:?}");
        assert_eq!(cache.get_or_set("n", secs(60), || 7).unwrap(), 7, "{store:?}");
        assert_eq!(cache.incr("n", 1).unwrap(), 8, "{store:?}");
    }
}

/// "A network store that is called without a runtime or its timer is a typed error."
#[test]
fn without_a_runtime_a_network_store_is_a_typed_error() {
    for store in cache_tests::stores().unwrap().into_iter().filter(|it| it.needs_runtime) {
        let caches = Caches::from_toml(&store.settings()).unwrap();
        let cache = caches.get("default").unwrap();
        let mut call = std::pin::pin!(cache.get::<i32>("k"));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Err(error)) = call.as_mut().poll(&mut cx) else {
            panic!("{store:?}: no error");
        };
        assert_eq!(error.kind(), ErrorKind::Config, "{store:?}: {error}");
    }
}
