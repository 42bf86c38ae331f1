//! Several processes on one file, and threads and runtimes that come and go.

use std::{collections::BTreeSet, path::Path, time::Duration};

use cache_core::{Cache, ErrorKind, Timeout};
use rusqlite::Connection;
use test_servers::wait_until;

use crate::{
    child::{Worker, file_of_worker, role},
    support::{NO_BREAKER, PATIENT, cache, text},
};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);
const PROCESSES: usize = 4;
const COUNTS: usize = 2000;
const ADDS: usize = 300;

fn open(path: &Path) -> Cache {
    cache(&text(path), &format!("{PATIENT}{NO_BREAKER}")).strict()
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work);
}

/// The work of the child processes. Does nothing in this process.
#[test]
fn worker() {
    let Some(role) = role("processes::worker") else { return };
    let cache = open(&file_of_worker());
    run(async {
        match role.as_str() {
            "count" => {
                let tasks = (0..4).map(|_| {
                    let cache = cache.clone();
                    tokio::spawn(async move {
                        for _ in 0..COUNTS / 4 {
                            println!(
                                "= {}",
                                cache.incr_or("n", 1, 0, Timeout::Default).await.unwrap()
                            );
                        }
                    })
                });
                for it in tasks.collect::<Vec<_>>() {
                    it.await.unwrap();
                }
            }
            "add" => {
                for i in 0..ADDS {
                    if cache
                        .add(&format!("k{i}"), &std::process::id(), Timeout::Default)
                        .await
                        .unwrap()
                    {
                        println!("= {i}");
                    }
                }
            }
            "first" => {
                cache.set(&format!("k{}", std::process::id()), &1, Timeout::Default).await.unwrap();
                println!("= {}", std::process::id());
            }
            "clear" => {
                for _ in 0..20 {
                    cache.clear().await.unwrap();
                }
            }
            "write" => {
                for i in 0..1500 {
                    let key = format!("k{}", i % 700);
                    cache.set(&key, &i, Timeout::Default).await.unwrap();
                    // Cleared meanwhile or not, but never torn.
                    let found = cache.get::<i32>(&key).await.unwrap();
                    assert!(found.is_none_or(|it| it % 700 == i % 700));
                }
            }
            "lock" => {
                let db = Connection::open(file_of_worker()).unwrap();
                db.execute_batch("BEGIN IMMEDIATE").unwrap();
                println!("= locked");
                // Until it is killed.
                std::future::pending::<()>().await;
            }
            _ => panic!("unknown role {role}"),
        }
    });
    println!("= end");
}

/// Returns all numbers that the processes printed. Each process has ended normally.
fn said(roles: &[&str], path: &Path) -> Vec<u64> {
    let workers: Vec<_> =
        roles.iter().map(|it| Worker::start("processes::worker", it, path)).collect();
    let mut res = Vec::new();
    for worker in workers {
        let lines = worker.lines_to_the_end();
        assert_eq!(lines.last().map(String::as_str), Some("end"));
        res.extend(lines.iter().filter_map(|it| it.parse::<u64>().ok()));
    }
    res
}

#[test]
fn four_processes_make_each_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = said(&["count"; PROCESSES], &folder.path().join("cache.db"));
    let all: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(numbers.len(), PROCESSES * COUNTS);
    assert_eq!(all, (1..=(PROCESSES * COUNTS) as u64).collect());
}

#[test]
fn each_key_is_added_by_one_of_four_processes() {
    let folder = tempfile::tempdir().unwrap();
    let mut winners = said(&["add"; PROCESSES], &folder.path().join("cache.db"));
    winners.sort_unstable();
    assert_eq!(winners, (0..ADDS as u64).collect::<Vec<_>>());
}

#[test]
fn one_of_several_starting_processes_creates_the_file() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        for id in said(&["first"; PROCESSES], &path) {
            let db = Connection::open(&path).unwrap();
            let sql = "SELECT 1 FROM cache WHERE key = ?1";
            db.query_row(sql, [format!(":1:k{id}")], |_| Ok(())).unwrap();
        }
    }
}

/// The process is frozen inside a transaction. This costs other processes their deadline and no
/// more, and ends with the process.
#[test]
fn frozen_process_with_the_lock_costs_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let patient = open(&path).blocking();
    patient.set("k", &1, Timeout::Default).unwrap();
    let mut worker = Worker::start("processes::worker", "lock", &path);
    assert_eq!(worker.next_line().as_deref(), Some("locked"));
    worker.signal("STOP");
    let more = format!("deadline = \"100ms\"\n{NO_BREAKER}");
    let open = cache(&text(&path), &more).blocking();
    for _ in 0..3 {
        let error = open.strict().set("k", &2, Timeout::Default).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // However long a write waits for the lock, it waits in vain.
        assert_eq!(patient.get::<i32>("k").unwrap(), Some(1));
        let reads = || open.strict().get::<i32>("k").is_ok_and(|it| it == Some(1));
        wait_until("reads go on here, too", LIMIT, reads).unwrap();
    }
    open.set("k", &2, Timeout::Default).unwrap();
    worker.signal("CONT");
    drop(worker);
    patient.set("k", &3, Timeout::Default).unwrap();
    assert_eq!(patient.get::<i32>("k").unwrap(), Some(3));
}

#[test]
fn one_process_clears_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    said(&["clear", "write", "write"], &folder.path().join("cache.db"));
}
