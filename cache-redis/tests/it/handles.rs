//! Handles that are closed or dropped, and their connections and tasks.

use std::time::Duration;

use cache_core::secs;
use test_servers::{Proxy, Redis, RedisReplicas, Server as _, wait_until};
use tokio::runtime::Handle;

use crate::support::{CLUSTER, CLUSTERED, OPTIONS, cache};

const LIMIT: Duration = Duration::from_secs(60);
const NAMED: &str = "client_name = \"of-handles\"\n";

/// Returns how many connections of these tests a server has.
fn connections(redis: &Redis) -> usize {
    let list = redis.command(&["CLIENT", "LIST", "TYPE", "NORMAL"]).unwrap().text();
    list.lines().filter(|it| it.contains("name=of-handles")).count()
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Connections and tasks end with the last handle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_tasks_end_with_the_last_handle() {
    let group = RedisReplicas::start(1).unwrap();
    let urls = [group.leader().url(), group.replicas()[0].url()];
    let options = "topology = \"replicas\"\nread_from = \"replica\"\nconnections = 3\n";
    let before = tasks();
    let cache = cache(&urls, &format!("{OPTIONS}{options}{NAMED}"));
    for i in 0..50 {
        cache.set(&format!("k{i}"), &i, secs(60)).await.unwrap();
        cache.get::<i32>(&format!("k{i}")).await.unwrap();
    }
    let open = || connections(group.leader()) + connections(&group.replicas()[0]);
    assert!(open() >= 4 && tasks() > before, "{} {}", open(), tasks());
    drop(cache);
    let gone = || open() == 0 && tasks() == before;
    wait_until("connections and tasks have ended", LIMIT, gone).unwrap();
}

/// So do the connections and tasks of a Cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_tasks_of_a_cluster_end_with_the_last_handle() {
    let before = tasks();
    let more = format!("key_prefix = \"handles\"\n{OPTIONS}{CLUSTERED}{NAMED}");
    let cache = cache(&CLUSTER.urls(), &more);
    for i in 0..50 {
        cache.set(&format!("k{i}"), &i, secs(60)).await.unwrap();
    }
    let open = || CLUSTER.nodes().iter().map(connections).sum::<usize>();
    assert!(open() >= 3 && tasks() > before, "{} {}", open(), tasks());
    drop(cache);
    let gone = || open() == 0 && tasks() == before;
    wait_until("connections and tasks have ended", LIMIT, gone).unwrap();
}

/// So do those of a handle for threads without a runtime.
#[test]
fn connections_end_with_the_last_blocking_handle() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], &format!("{OPTIONS}{NAMED}"));
    let blocking = cache.blocking();
    drop(cache);
    blocking.set("k", &1, secs(60)).unwrap();
    assert_eq!(connections(&redis), 1);
    drop(blocking);
    wait_until("it is closed", LIMIT, || connections(&redis) == 0).unwrap();
}

/// "Calls that are under way come to their end first", and later ones connect again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_waits_for_calls_and_later_calls_connect_again() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let url = format!("redis://{}", proxy.address());
    let cache = cache(&[url], "deadline = \"20s\"\nconnect_deadline = \"20s\"\n").strict();
    cache.set("k", &1, secs(60)).await.unwrap();
    assert_eq!(proxy.accepted(), 1);
    proxy.delay(Duration::from_millis(200));
    let call = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get::<i32>("k").await }
    });
    wait_until("the server has answered, and the caller not heard it", LIMIT, || {
        let stats = redis.command(&["INFO", "commandstats"]).unwrap().text();
        stats.contains("cmdstat_get:")
    })
    .unwrap();
    cache.close().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap(), Some(1));
    proxy.pass();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
    assert_eq!(proxy.accepted(), 2);
}
