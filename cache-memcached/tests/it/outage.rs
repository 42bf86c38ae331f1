//! Connections that end without a sign.

use std::time::Duration;

use cache_core::{Cache, secs, testing::FakeClock};
use fault_tests::{slowly_by, until_by};
use test_servers::{Memcached, Proxy, Server as _, proxy::Direction};

use crate::support::{PATIENT, at, cache, cache_by, servers, until};

const NO_BREAKER: &str = "[caches.default.breaker]\nenabled = false\n";

fn through(proxy: &Proxy, more: &str) -> Cache {
    cache(&[proxy.address().to_string()], more)
}

/// As after SIGSTOP: no code of this program runs while the server closes the connection.
#[tokio::test(flavor = "current_thread")]
async fn connection_closed_while_the_program_was_stopped_is_not_used() {
    let servers = servers(1);
    let cache = cache(&at(&servers), PATIENT).strict();
    for round in 0..10 {
        cache.set("k", &round, secs(60)).await.unwrap();
        // This blocks the thread of the runtime.
        servers[0].restart().unwrap();
        cache.set("k", &round, secs(60)).await.unwrap();
        servers[0].restart().unwrap();
        assert!(cache.add("k", &round, secs(60)).await.unwrap());
    }
}

/// A device in the network silently drops a connection that is idle for a second. The clock of the
/// cache moves slowly during calls, so that a slow machine fails none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silently_dropped_idle_connection_costs_one_call() {
    let servers = servers(1);
    let proxy = Proxy::to(servers[0].address()).unwrap();
    let more = format!("deadline = \"1s\"\noptions.connections = 8\n{NO_BREAKER}");
    let clock = FakeClock::new();
    let cache = cache_by(&clock, &[proxy.address().to_string()], &more).strict();
    let keys: Vec<_> = (0..16).map(|i| format!("k{i}")).collect();
    // Several connections of the same age.
    until_by(&clock, "it works", async || {
        let failed = cache.set_many(keys.iter().map(|it| (it, 1)), secs(600)).await;
        failed.is_ok_and(|it| it.is_empty())
    })
    .await;
    let mut failed = 0;
    for round in 0..6 {
        // The time for which the connections are idle.
        clock.advance(Duration::from_millis(2500));
        proxy.swallow_open();
        for key in &keys {
            let answer = slowly_by(&clock, cache.get::<i32>(key)).await;
            failed += i32::from(answer.is_err());
            assert!(failed <= 1, "{key} in round {round}: {answer:?}");
        }
    }
}

/// A host name with several addresses, the first of which does not answer, is tested in
/// `cache-net`, without the machine's name service. Here, a server that accepts connections but
/// sends no reply is an error within the connect deadline.
#[tokio::test]
async fn server_that_accepts_but_sends_nothing_times_out() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cache = cache(&[address.as_str()], "connect_deadline = \"200ms\"\n").strict();
    let error = cache.get::<i32>("k").await.unwrap_err();
    assert_eq!(error.kind(), cache_core::ErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains(&address), "{error}");
}

/// "A connection that is given up with writes under way delivers none of them later."
async fn abandoned_set_is_not_visible_after_a_delete(
    rounds: i32,
    cache: &Cache,
    stop: impl Fn(),
    go_on: impl Fn(),
) {
    let strict = cache.strict();
    for round in 0..rounds {
        until("it works", async || strict.set("k", &-1, secs(600)).await.is_ok()).await;
        stop();
        // The call fails open, so the caller receives no error.
        cache.set("k", &round, secs(600)).await.unwrap();
        go_on();
        until("it is deleted", async || strict.delete("k").await.is_ok()).await;
        for _ in 0..5 {
            until("it is read", async || match strict.get::<i32>("k").await {
                Ok(found) => {
                    assert_eq!(found, None, "round {round}");
                    true
                }
                Err(_) => false,
            })
            .await;
        }
    }
}

/// Short, because each round waits for it. Calls that have to succeed are repeated until they do.
const SHORT: &str = "deadline = \"150ms\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_to_a_frozen_server_is_not_visible_after_a_delete() {
    let servers: Vec<Memcached> = servers(1);
    let cache = cache(&at(&servers), &format!("{SHORT}{NO_BREAKER}"));
    abandoned_set_is_not_visible_after_a_delete(
        40,
        &cache,
        || servers[0].freeze(),
        || servers[0].thaw(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_over_a_cut_network_is_not_visible_after_a_delete() {
    let servers: Vec<Memcached> = servers(1);
    let proxy = Proxy::to(servers[0].address()).unwrap();
    let cache = through(&proxy, &format!("{SHORT}{NO_BREAKER}"));
    for direction in [Direction::ToServer, Direction::ToClient, Direction::Both] {
        abandoned_set_is_not_visible_after_a_delete(
            10,
            &cache,
            || proxy.swallow(direction),
            || proxy.pass(),
        )
        .await;
    }
}

/// After each new connection, the generations are read again, because the server may have
/// restarted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_of_new_connections_fails_no_call() {
    let servers = servers(1);
    let more = format!("{PATIENT}[caches.default.options]\nconnections = 64\n");
    let cache = cache(&at(&servers), &more).strict();
    let items = (0..256).map(|i| (format!("k{i}"), 1));
    assert!(cache.set_many(items, secs(600)).await.unwrap().is_empty());
    cache.close().await.unwrap();
    let calls = (0..256).map(|i| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get_many::<i32, _>([format!("k{i}")]).await })
    });
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap().unwrap().len(), 1);
    }
}
