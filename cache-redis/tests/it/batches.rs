//! Batches of many keys.

use std::time::Duration;

use cache_core::store::Expiry;
use test_servers::Redis;

use crate::support::{CLUSTER, CLUSTERED, OPTIONS, store};

/// Chunks by number and by bytes, several connections, several servers: each result belongs to its
/// key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_result_of_a_large_batch_belongs_to_its_key() {
    let more =
        format!("deadline = \"20s\"\nconnect_deadline = \"20s\"\n{OPTIONS}connections = 3\n");
    let redis = Redis::start().unwrap();
    let cluster = store(&CLUSTER.urls(), &format!("{more}{CLUSTERED}"));
    for store in [cluster, store(&[redis.url()], &more)] {
        let keys: Vec<_> = (0..2500).map(|i| format!("batch:1:{i}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let is_there = |i: usize| !i.is_multiple_of(3);
        let value =
            |i: usize| format!("{i}-{}", "x".repeat(if i % 100 == 7 { 300_000 } else { i % 50 }));
        let all = keys.iter().enumerate().filter(|(i, _)| is_there(*i));
        let items: Vec<_> = all.map(|(i, it)| (*it, value(i).into())).collect();
        let long = Expiry::After(Duration::from_secs(60));
        assert!(store.set_many(&items, long).await.iter().all(Result::is_ok));
        for (i, answer) in store.get_many(&keys).await.into_iter().enumerate() {
            let found = answer.unwrap();
            assert_eq!(found.is_some(), is_there(i), "{i}");
            assert!(found.is_none_or(|it| it == value(i)), "another's value for {i}");
        }
        for (i, answer) in store.get_entries(&keys).await.into_iter().enumerate() {
            let found = answer.unwrap().map(|it| it.value);
            assert_eq!(found.is_some(), is_there(i), "{i}");
            assert!(found.is_none_or(|it| it == value(i)), "another's value for {i}");
        }
        for (i, answer) in store.delete_many(&keys).await.into_iter().enumerate() {
            assert_eq!(answer.unwrap(), is_there(i), "{i}");
        }
    }
}
