//! A single server that became a replica, and a host name that leads to another server.

use cache_core::Cache;
use test_servers::{Proxy, Redis, Server as _};

use crate::support::{bypassed, connected, in_use, near, visible, visible_at, wait_until, warm};

/// A leader that does not answer.
const NOBODY: [&str; 3] = ["REPLICAOF", "127.0.0.1", "1"];
const NO_ONE: [&str; 3] = ["REPLICAOF", "NO", "ONE"];

/// Another process writes, without the store.
fn set(redis: &Redis, value: i64) {
    redis.command(&["SET", ":1:k", &value.to_string()]).unwrap();
    redis.command(&["PUBLISH", "cache-near:1:0:", "keys\n:1:k"]).unwrap();
}

async fn seen(reader: &Cache, redis: &Redis, value: i64) {
    set(redis, value);
    visible(reader, Some(value)).await;
    warm(reader).await;
}

/// The way of the messages, and more settings.
const WAYS: [(&str, &str); 3] =
    [("tracking", ""), ("pubsub", ""), ("pubsub", "options = { resp = 2 }")];

/// The connections stay open, and the server answers.
#[tokio::test]
async fn server_that_became_a_replica_ends_the_stream() {
    let redis = Redis::start().unwrap();
    for (invalidation, more) in WAYS {
        let reader = connected(&redis.url(), invalidation, more).await;
        for round in 0..3 {
            seen(&reader, &redis, round).await;
            redis.command(&NOBODY).unwrap();
            bypassed(&reader).await;
            assert_eq!(reader.get::<i64>("k").await.unwrap(), Some(round), "the replica answers");
            redis.command(&NO_ONE).unwrap();
            in_use(&reader).await;
            seen(&reader, &redis, round + 10).await;
        }
    }
}

/// The host name leads to a new server, and only the stream has connected again.
#[tokio::test]
async fn reads_leave_a_server_that_became_a_replica() {
    let (old, new) = (Redis::start().unwrap(), Redis::start().unwrap());
    let proxy = Proxy::to(old.address()).unwrap();
    let reader = connected(&format!("redis://{}", proxy.address()), "tracking", "").await;
    seen(&reader, &old, 1).await;
    set(&new, 1);
    proxy.lead_to(new.address());
    let resets = near(&reader).resets;
    end_tracking(&old);
    wait_until("the stream began anew", async || near(&reader).resets > resets).await;
    in_use(&reader).await;
    set(&new, 2);
    // From the old server.
    let _ = reader.get::<i64>("k").await.unwrap();
    old.command(&NOBODY).unwrap();
    visible(&reader, Some(2)).await;
    in_use(&reader).await;
    warm(&reader).await;
    seen(&reader, &new, 3).await;
}

/// The stream is connected to the old server, and the other calls to the new one.
#[tokio::test]
async fn stream_leaves_a_server_that_became_a_replica() {
    let (old, new) = (Redis::start().unwrap(), Redis::start().unwrap());
    for (invalidation, more) in WAYS {
        let proxy = Proxy::to(old.address()).unwrap();
        let url = format!("redis://{}", proxy.address());
        let reader = connected(&url, invalidation, more).await;
        seen(&reader, &old, 1).await;
        set(&new, 1);
        proxy.lead_to(new.address());
        let resets = near(&reader).resets;
        end_calls(&old);
        // By reads: after a write that was lost, its key would not be near.
        let key = format!("{invalidation}{more}").replace(' ', "");
        new.command(&["SET", &format!(":1:{key}"), "1"]).unwrap();
        visible_at(&reader, &key, Some(1)).await;
        old.command(&NOBODY).unwrap();
        // In RESP2, the stream ends with the other connection on which it asked for the role.
        wait_until("the stream began anew", async || near(&reader).resets > resets).await;
        in_use(&reader).await;
        seen(&reader, &new, 3).await;
        old.command(&NO_ONE).unwrap();
    }
}

/// Ends the connection that receives messages.
fn end_tracking(redis: &Redis) {
    for it in clients(redis).filter(|it| flags(it).contains('t')) {
        end(redis, &it);
    }
}

/// Ends the connections that receive no messages.
fn end_calls(redis: &Redis) {
    for it in clients(redis).filter(|it| !flags(it).contains(['t', 'P'])) {
        // The connection of this test is closed already.
        end(redis, &it);
    }
}

fn clients(redis: &Redis) -> impl Iterator<Item = String> {
    let list = redis.command(&["CLIENT", "LIST"]).unwrap().text();
    list.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn end(redis: &Redis, client: &str) {
    redis.command(&["CLIENT", "KILL", "ID", field(client, "id")]).unwrap();
}

fn flags(client: &str) -> &str {
    field(client, "flags")
}

fn field<'a>(client: &'a str, name: &str) -> &'a str {
    let mut words = client.split(' ').filter_map(|it| it.split_once('='));
    words.find(|(it, _)| *it == name).unwrap().1
}
