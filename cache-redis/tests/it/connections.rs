//! Several connections to a server that does not accept all of them.

use std::task::{Context, Waker};

use cache_core::{ErrorKind, secs};
use test_servers::Redis;

use crate::support::{OPTIONS, cache};

/// Five clients, one of which is the test itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_uses_another_connection_while_the_server_rejects_its_own() {
    let redis = Redis::options().args(&["--maxclients", "5"]).start().unwrap();
    let mut inside = redis.connect().unwrap();
    let cache = cache(&[redis.url()], &format!("{OPTIONS}connections = 8\n")).strict();
    let keys: Vec<_> = (0..40).map(|i| format!("k{i}")).collect();
    for round in 0..3 {
        for key in &keys {
            cache.set(key, &round, secs(60)).await.unwrap();
            assert_eq!(cache.get::<i32>(key).await.unwrap(), Some(round));
        }
        let items = keys.iter().map(|it| (it, round + 10));
        assert!(cache.set_many(items, secs(60)).await.unwrap().is_empty());
        let found = cache.get_many::<i32, _>(&keys).await.unwrap();
        assert!(found.len() == 40 && found.values().all(|it| *it == round + 10));
    }
    let error = cache.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("maxclients"), "{error}");
    assert_eq!(error.context("connections"), Some("4 of 8"));

    inside.command(&["CONFIG", "SET", "maxclients", "1000"]).unwrap();
    fault_tests::until("all are let in", async || cache.check().await.is_ok()).await;
    for key in &keys {
        assert_eq!(cache.incr(key, 1).await.unwrap(), 13);
    }
}

/// No caller waits for the reply to a dropped call on the stand-in connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_return_to_their_connection_after_dropped_calls() {
    let redis = Redis::options().args(&["--maxclients", "2"]).start().unwrap();
    let mut inside = redis.connect().unwrap();
    let cache = cache(&[redis.url()], &format!("{OPTIONS}connections = 2\n")).strict();
    let keys: Vec<_> = (0..20).map(|i| format!("k{i}")).collect();
    for key in &keys {
        cache.set(key, &1, secs(60)).await.unwrap();
        let mut call = Box::pin(cache.incr(key, 1));
        let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    inside.command(&["CONFIG", "SET", "maxclients", "1000"]).unwrap();
    fault_tests::until("both connections are used", async || {
        for key in &keys {
            cache.get::<i32>(key).await.unwrap();
        }
        let clients = inside.command(&["CLIENT", "LIST"]).unwrap();
        clients.text().matches("cmd=get").count() == 2
    })
    .await;
}
