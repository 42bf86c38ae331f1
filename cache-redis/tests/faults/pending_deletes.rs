//! Deletes that fail because the server was killed, and are sent again after its restart.

use cache_core::{Cache, ErrorKind, Keyspace, Timeout};
use fault_tests::{PATIENT, until};
use test_servers::{Redis, Server as _};

use crate::support::cache;

static USERS: Keyspace<u64, u32> = Keyspace::new("user");

/// Returns the caches of two processes.
fn processes(redis: &Redis, fenced: bool) -> [Cache; 2] {
    let more = format!("{PATIENT}[caches.default.fetch]\nfenced = {fenced}\n");
    [(); 2].map(|()| cache(&[redis.url()], &more))
}

/// Returns the keys whose old value another process reads.
async fn left(cache: &Cache) -> Vec<&'static str> {
    let keys = ["one", "strict", "a", "b"];
    let found = cache.get_many::<u32, _>(keys).await.unwrap();
    let mut left: Vec<_> = keys.into_iter().filter(|it| found.contains_key(it)).collect();
    let second = cache.at_version(2).get::<u32>("one").await.unwrap();
    left.extend(second.map(|_| "one, version 2"));
    left.extend(USERS.get(cache, &7).await.unwrap().map(|_| "of a keyspace"));
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_during_an_outage_are_sent_again_after_the_restart() {
    for fenced in [false, true] {
        let redis = Redis::options().args(&["--appendonly", "yes", "--appendfsync", "always"]);
        let redis = redis.start().unwrap();
        let [mine, theirs] = processes(&redis, fenced);
        for key in ["one", "strict", "a", "b"] {
            theirs.set(key, &1, Timeout::Default).await.unwrap();
        }
        theirs.at_version(2).set("one", &1, Timeout::Default).await.unwrap();
        USERS.set(&theirs, &7, &1).await.unwrap();
        assert_eq!(left(&mine).await.len(), 6);

        redis.kill();
        assert!(!mine.delete("one").await.unwrap());
        let error = mine.strict().delete("strict").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(mine.delete_many(["a", "b"]).await.unwrap(), 0);
        assert!(!mine.at_version(2).delete("one").await.unwrap());
        assert!(!USERS.delete(&mine, &7).await.unwrap());
        assert_eq!(mine.stats().tombstones, 6);

        redis.restart().unwrap();
        until("the deletes are sent again", async || mine.stats().tombstones == 0).await;
        assert_eq!(mine.stats().tombstones_removed, 6, "the server kept its data");
        assert_eq!(left(&theirs).await, [""; 0], "fenced: {fenced}");
    }
}

/// The lease survives the restart, and the delete removes it: the load that began before the delete
/// stores nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_that_spans_the_outage_does_not_store_over_the_delete() {
    let redis = Redis::options().args(&["--appendonly", "yes", "--appendfsync", "always"]);
    let redis = redis.start().unwrap();
    let [mine, theirs] = processes(&redis, true);
    let old = theirs.get_or_set("k", Timeout::Default, || async {
        redis.kill();
        mine.strict().delete("k").await.unwrap_err();
        redis.restart().unwrap();
        until("the delete is sent again", async || mine.stats().tombstones == 0).await;
        1
    });
    assert_eq!(old.await.unwrap(), 1);
    assert_eq!((theirs.stats().load_writes_refused, theirs.stats().load_writes_failed), (1, 0));
    for cache in [&mine, &theirs] {
        assert_eq!(cache.strict().get::<u32>("k").await.unwrap(), None);
    }
}
