//! `read_from = "replica"`: plain reads may be behind, other operations are not.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::{
    layer::{Call, Layer, Layered, Operation, Reply},
    secs,
    store::Backend,
};
use fault_tests::answered;
use test_servers::{Redis, RedisReplicas, Sentinel, Server as _, wait_until};

use crate::support::{
    self, CLUSTER, CLUSTERED, LARGE_IS_SMALL, OPTIONS, SENTINEL, SENTINELS, cache, store,
};

/// A leader and two replicas.
static REPLICAS: LazyLock<RedisReplicas> = LazyLock::new(|| RedisReplicas::start(2).unwrap());

const REPLICATED: &str = "topology = \"replicas\"\n";
const FROM_REPLICA: &str = "read_from = \"replica\"\n";

fn urls(of: &RedisReplicas) -> Vec<String> {
    let all = [of.leader()].into_iter().chain(of.replicas());
    all.map(Redis::url).collect()
}

/// Returns how many `GET` commands a server has received.
fn reads(at: &Redis) -> u32 {
    let stats = at.command(&["INFO", "commandstats"]).unwrap().text();
    let get = stats.lines().find(|it| it.starts_with("cmdstat_get:calls="));
    get.map_or(0, |it| it.split(['=', ',']).nth(1).unwrap().parse().unwrap())
}

/// Waits after each write until the replicas have it, so that reads return the written value.
struct Wait(fn());

impl Layer for Wait {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let reply = run().await;
        let only_reads = matches!(
            call.operation,
            Operation::Get | Operation::GetMany | Operation::HasKey | Operation::Ttl
        );
        if !only_reads {
            tokio::task::spawn_blocking(self.0).await.unwrap();
        }
        reply
    }

    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wait")
    }
}

fn harness(name: &str, location: Vec<String>, options: &str, wait: fn()) -> Harness {
    let more = format!("{LARGE_IS_SMALL}{options}{FROM_REPLICA}");
    Harness::new(name, move || {
        Arc::new(Layered::new(Arc::new(Wait(wait)), store(&location, &more))) as Arc<dyn Backend>
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn synchronous_replicas_conform() {
    let wait = || REPLICAS.wait_for_replicas().unwrap();
    run_backend(harness("replicas", urls(&REPLICAS), REPLICATED, wait)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_that_reads_replicas_conforms() {
    let wait = || REPLICAS.wait_for_replicas().unwrap();
    let harness = harness("replicas", urls(&REPLICAS), REPLICATED, wait).skip(
        "readers_never_see_a_revision_go_back",
        "one replica has a write before another one, and reads go to both in turn",
    );
    run_cache(harness).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn synchronous_replicas_of_a_cluster_conform() {
    let wait = || CLUSTER.wait_for_replicas().unwrap();
    run_backend(harness("cluster replicas", CLUSTER.urls(), CLUSTERED, wait)).await;
    assert!(CLUSTER.nodes()[3..].iter().any(|it| reads(it) > 0), "replicas were read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn synchronous_replicas_named_by_sentinels_conform() {
    let wait = || SENTINELS.wait_for_replicas().unwrap();
    let urls = SENTINELS.sentinels().iter().map(Sentinel::url).collect();
    run_backend(harness("sentinel replicas", urls, SENTINEL, wait)).await;
}

/// "Reads go to the leader; `read_from = "replica"` is opt-in."
#[tokio::test(flavor = "multi_thread")]
async fn plain_reads_go_to_the_leader_or_if_configured_to_replicas_in_turn() {
    let group = RedisReplicas::start(2).unwrap();
    let more = format!("{OPTIONS}{REPLICATED}");
    let leader = cache(&urls(&group), &more).strict();
    let replica = cache(&urls(&group), &format!("{more}{FROM_REPLICA}")).strict();
    leader.set("k", &7, secs(60)).await.unwrap();
    group.wait_for_replicas().unwrap();

    for _ in 0..10 {
        assert_eq!(leader.get::<i32>("k").await.unwrap(), Some(7));
    }
    assert_eq!(reads(group.leader()), 10, "all by the leader");
    for _ in 0..10 {
        assert_eq!(replica.get::<i32>("k").await.unwrap(), Some(7));
    }
    assert_eq!(reads(group.leader()), 10, "none by the leader");
    assert_eq!(group.replicas().iter().map(reads).sum::<u32>(), 10, "all by replicas");
    assert!(group.replicas().iter().all(|it| reads(it) == 5), "in turn");

    // The read before a load must not be behind.
    replica.get_or_set("k", secs(60), || async { 8 }).await.unwrap();
    assert_eq!(reads(group.leader()), 11);
}

/// "A read that fails there goes to the leader." On one thread, so that a slow machine delays the
/// control calls as well.
#[tokio::test]
async fn failed_read_from_a_replica_goes_to_the_leader() {
    let group = RedisReplicas::start(1).unwrap();
    // The replica has a part of the deadline, and this test waits for it several times.
    let more = format!("deadline = \"1s\"\n{OPTIONS}{REPLICATED}{FROM_REPLICA}");
    let cache = cache(&urls(&group), &more).strict();
    let patient = support::cache(&[group.leader().url()], "").strict();
    patient.set("k", &7, secs(60)).await.unwrap();
    group.wait_for_replicas().unwrap();
    let control = async || assert_eq!(patient.get::<i32>("k").await.unwrap(), Some(7));
    let get = async || answered(control, async || cache.get::<i32>("k").await).await;
    let keys = ["k", "none"];
    let get_many = async || answered(control, async || cache.get_many::<i32, _>(keys).await).await;
    assert_eq!(get().await, Some(7));
    group.replicas()[0].freeze();
    for _ in 0..15 {
        assert_eq!(get().await, Some(7));
        assert_eq!(get_many().await.len(), 1);
    }
    group.replicas()[0].thaw();
    group.replicas()[0].kill();
    for _ in 0..100 {
        assert_eq!(get().await, Some(7));
    }
}

/// Plain reads may return old values of a replica. Operations that must not be behind read from the
/// leader.
#[tokio::test(flavor = "multi_thread")]
async fn replica_lag_affects_only_plain_reads() {
    let group = RedisReplicas::start(1).unwrap();
    let replica = &group.replicas()[0];
    let more = format!("{OPTIONS}{REPLICATED}{FROM_REPLICA}");
    let cache = cache(&urls(&group), &more).strict();
    cache.set("k", &1, secs(60)).await.unwrap();
    group.wait_for_replicas().unwrap();
    // The replica serves its old data and receives no more writes.
    replica.command(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    wait_until("the replica has lost its leader", Duration::from_secs(60), || {
        let info = replica.command(&["INFO", "replication"]).unwrap().text();
        info.contains("master_link_status:down")
    })
    .unwrap();

    cache.set("k", &2, secs(60)).await.unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1), "a plain read");
    assert_eq!(cache.get_or_set("k", secs(60), || async { 9 }).await.unwrap(), 2, "a load's read");
    assert_eq!(cache.update("k", secs(60), |it: i32| it + 1).await.unwrap(), Some(3), "an update");
    assert_eq!(cache.incr("k", 1).await.unwrap(), 4);
    assert_eq!(cache.pop::<i32>("k").await.unwrap(), Some(4));
}
