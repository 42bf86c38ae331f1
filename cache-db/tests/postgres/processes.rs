//! Several processes on one table, and a server that is killed while they write.

use std::{
    collections::HashMap,
    env,
    process::{Command, Stdio},
    time::Duration,
};

use cache_core::{Cache, Timeout, secs};
use futures_util::future::join_all;
use test_servers::{Postgres, Server as _};

use crate::support::{NO_BREAKER, PATIENT, cache, number, options, raw, raw_as, until};

const TEST: &str = "processes::worker";
const ROLE: &str = "CACHE_DB_TEST_ROLE";
const URL: &str = "CACHE_DB_TEST_URL";
const PROCESSES: usize = 4;
const COUNTS: i64 = 2000;
const ADDS: usize = 300;
const BOUND: usize = 5000;
const LOW: i64 = 4500;
const HIGH: i64 = 5500;
const ENTRIES: &str = "SELECT count(*) FROM cache";

fn bounded() -> String {
    options(&format!("max_entries = {BOUND}"))
}

/// The work of the child processes. Does nothing in this process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker() {
    let Ok(role) = env::var(ROLE) else { return };
    let cache = cache(&env::var(URL).unwrap(), &bounded()).strict();
    match role.as_str() {
        "count" => {
            let tasks = (0..4).map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    for _ in 0..COUNTS / 4 {
                        println!("= {}", cache.incr_or("n", 1, 0, secs(600)).await.unwrap());
                    }
                })
            });
            for it in join_all(tasks).await {
                it.unwrap();
            }
        }
        "add" => {
            // Also over entries that expire meanwhile.
            for i in 0..ADDS {
                if cache.add(&format!("k{i}"), &std::process::id(), secs(600)).await.unwrap() {
                    println!("= {i}");
                }
            }
        }
        // Ten times the bound, by all of them together.
        _ => {
            for i in 0..10 * BOUND / PROCESSES / 10 {
                let items = (0..10).map(|j| (format!("{role}-{i}-{j}"), i));
                assert!(cache.set_many(items, secs(600)).await.unwrap().is_empty());
            }
            // Processes that wrote trim.
            let client = raw_as(&env::var(URL).unwrap()).await;
            let is_over = async || number(&client, ENTRIES).await <= HIGH;
            until("it is within its bound", is_over).await;
        }
    }
}

/// Returns what so many processes print, each of which runs this task.
async fn say(server: &Postgres, role: impl Fn(usize) -> String) -> Vec<String> {
    let start = |i| {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(env::current_exe().unwrap());
        command.args(["--exact", TEST, "--nocapture"]);
        command.env(ROLE, role(i)).env(URL, server.url());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..PROCESSES).map(start).collect();
    let wait = move || {
        let mut said = Vec::new();
        for it in children {
            let out = it.wait_with_output().unwrap();
            let words = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(out.status.success(), "{words}{}", String::from_utf8_lossy(&out.stderr));
            let lines = words.lines().filter_map(|it| Some(it.split_once("= ")?.1.to_owned()));
            said.extend(lines);
        }
        said
    };
    tokio::task::spawn_blocking(wait).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_count_each_number_once() {
    let server = Postgres::start().unwrap();
    let said = say(&server, |_| "count".into()).await;
    let mut said: Vec<i64> = said.iter().map(|it| it.parse().unwrap()).collect();
    said.sort_unstable();
    let all = i64::try_from(PROCESSES).unwrap() * COUNTS;
    assert_eq!(said, (1..=all).collect::<Vec<_>>());
}

/// Half of the keys have expired when they begin, and count as absent for one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_four_processes_wins_each_add() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &bounded()).strict();
    let items = (0..ADDS / 2).map(|i| (format!("k{i}"), 0));
    assert!(cache.set_many(items, Duration::from_millis(1)).await.unwrap().is_empty());
    until("it has expired", async || !cache.has_key("k0").await.unwrap()).await;
    let said = say(&server, |_| "add".into()).await;
    let mut won: Vec<usize> = said.iter().map(|it| it.parse().unwrap()).collect();
    won.sort_unstable();
    assert_eq!(won, (0..ADDS).collect::<Vec<_>>());
}

/// While they write and after they have ended: no process removes what another has already removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_keep_one_bound() {
    let server = Postgres::start().unwrap();
    cache(&server.url(), &bounded()).strict().check().await.unwrap();
    let client = raw(&server).await;
    let watch = tokio::spawn(async move {
        let (mut most, mut least, mut is_full) = (0, i64::MAX, false);
        loop {
            // sleeps: more frequent queries would take the server's time from the processes under
            // test
            tokio::time::sleep(Duration::from_millis(20)).await;
            let Ok(row) = client.query_one(ENTRIES, &[]).await else { return (most, least) };
            let count: i64 = row.get(0);
            is_full |= count >= 4900;
            most = most.max(count);
            if is_full {
                least = least.min(count);
            }
        }
    });
    say(&server, |i| format!("fill{i}")).await;
    let client = raw(&server).await;
    let left = number(&client, ENTRIES).await;
    drop(server);
    let (most, least) = watch.await.unwrap();
    eprintln!("most {most}, least {least}, left {left}");
    assert!(least >= LOW && (LOW..=HIGH).contains(&left), "{most} {least} {left}");
}

/// The last acknowledged write of each task is stored, or a later one whose answer was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_server_loses_no_acknowledged_write() {
    let server = Postgres::start().unwrap();
    let safe = format!("{}?options=-c%20synchronous_commit%3Don", server.url());
    let cache = cache(&safe, &format!("{PATIENT}{NO_BREAKER}")).strict();
    cache.set("n", &0, Timeout::Default).await.unwrap();
    let mut count = 0;
    for round in 0..5 {
        let began = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let load: Vec<_> = (0..8)
            .map(|task| {
                let (cache, began) = (cache.clone(), began.clone());
                tokio::spawn(write_until_it_fails(cache, round, task, began))
            })
            .collect();
        let n = || began.load(std::sync::atomic::Ordering::Relaxed);
        until("they write", async || n() > 200).await;
        server.kill();
        let told: Vec<(HashMap<String, i64>, i64)> =
            join_all(load).await.into_iter().map(Result::unwrap).collect();
        server.restart().unwrap();
        until("it works again", async || cache.check().await.is_ok()).await;
        for (written, _) in &told {
            let found = cache.get_many::<i64, _>(written.keys()).await.unwrap();
            for (key, value) in written {
                let found = found.get(key).copied().unwrap_or(-1);
                assert!(found >= *value, "{key}: told {value}, found {found}");
            }
        }
        // Each task has at most one count without an answer.
        let counted: i64 = told.iter().map(|it| it.1).sum();
        let found: i64 = cache.get("n").await.unwrap().unwrap();
        assert!(
            (count + counted..=count + counted + 8).contains(&found),
            "{count} {counted} {found}"
        );
        count = found;
    }
}

async fn write_until_it_fails(
    cache: Cache,
    round: i64,
    task: usize,
    began: std::sync::Arc<std::sync::atomic::AtomicUsize>,
) -> (HashMap<String, i64>, i64) {
    let (mut written, mut counted) = (HashMap::new(), 0);
    for i in round * 1_000_000.. {
        let key = format!("k{task}-{}", i % 50);
        if cache.set(&key, &i, Timeout::Default).await.is_err() {
            break;
        }
        written.insert(key, i);
        let batch: Vec<_> = (0..3).map(|j| (format!("b{task}-{}", (i * 3 + j) % 50), i)).collect();
        match cache.set_many(batch.clone(), Timeout::Default).await {
            Ok(failed) if failed.is_empty() => written.extend(batch),
            _ => break,
        }
        if cache.incr("n", 1).await.is_err() {
            break;
        }
        counted += 1;
        began.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    (written, counted)
}
