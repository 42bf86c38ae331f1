//! `kill -9` during writes and trims.

use std::{collections::HashSet, path::Path};

use cache_core::{Cache, Timeout, Ttl};
use rusqlite::Connection;

use crate::{
    child::{Worker, file_of_worker, role},
    support::{NO_BREAKER, PATIENT, cache, text},
};

const ROUNDS: u64 = 20;

/// One table is so small that a trim is always running; the other is never trimmed.
fn open(path: &Path) -> (Cache, Cache) {
    let open = |options: &str| {
        let more = format!("{PATIENT}{NO_BREAKER}[caches.default.options]\n{options}\n");
        cache(&text(path), &more).strict()
    };
    (open("max_entries = 2000"), open("table = 'counters'"))
}

/// Writes until it is killed, and prints what was acknowledged.
#[test]
fn worker() {
    let Some(round) = role("killed::worker") else { return };
    let (cache, counters) = open(&file_of_worker());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async {
        let tasks = (0..4_u64).map(|task| {
            let (cache, counters, round) = (cache.clone(), counters.clone(), round.clone());
            tokio::spawn(async move {
                for i in 0_u64.. {
                    let key = format!("r{round}t{task}i{i}");
                    let items: Vec<_> = (0..40).map(|n| format!("{key}n{n}")).collect();
                    let failed =
                        cache.set_many(items.iter().map(|it| (it, "x")), Timeout::Default).await;
                    assert!(failed.unwrap().is_empty());
                    cache.set(&key, &i, Timeout::Default).await.unwrap();
                    println!("= {key} {i}");
                    println!(
                        "= n {}",
                        counters.incr_or("n", 1, 0, Timeout::Default).await.unwrap()
                    );
                }
            })
        });
        for it in tasks.collect::<Vec<_>>() {
            it.await.unwrap();
        }
    });
}

/// Checks that the file is intact and the counters are correct.
fn is_whole(path: &Path) {
    let db = Connection::open(path).unwrap();
    let whole: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    for table in ["cache", "counters"] {
        let right = format!(
            "SELECT (entries, bytes) = (SELECT count(*), coalesce(sum(size), 0) FROM {table}) FROM {table}_meta"
        );
        assert!(db.query_row(&right, [], |row| row.get::<_, bool>(0)).unwrap(), "{table}");
    }
}

#[tokio::test]
async fn acknowledged_writes_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    // No increment that was acknowledged in any round is lost: the counter never expires, so it
    // gives no answer twice.
    let mut answers = HashSet::new();
    for round in 0..ROUNDS {
        let mut worker = Worker::start("killed::worker", &round.to_string(), &path);
        let (mut counted, mut set, mut heard) = (0, Vec::new(), 0);
        let limit = 100 + round * 40;
        // Everything that it printed before it was killed was acknowledged.
        while let Some(line) = worker.next_line() {
            let (key, number) = line.split_once(' ').unwrap();
            let number: u64 = number.parse().unwrap();
            match key {
                "n" => {
                    assert!(answers.insert(number), "{round}: the counter answered {number} twice");
                    counted = number.max(counted);
                }
                _ => set.push((key.to_owned(), number)),
            }
            heard += 1;
            if heard == limit {
                worker.kill();
            }
        }
        assert!(heard >= limit, "it ended by itself after {heard}");
        is_whole(&path);
        let (cache, counters) = open(&path);
        assert_eq!(counters.ttl("n").await.unwrap(), Some(Ttl::Forever));
        let found = counters.get::<u64>("n").await.unwrap();
        assert!(found >= Some(counted), "{round}: {counted} was answered, {found:?} is there");
        // Earlier entries may have been trimmed.
        for (key, number) in set.iter().rev().take(16) {
            assert_eq!(cache.get(key).await.unwrap(), Some(*number), "{key} was answered");
        }
        cache.set("goes-on", &round, Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<u64>("goes-on").await.unwrap(), Some(round));
    }
}
