//! Several processes on one store: the promises to tasks hold for processes as well.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use cache_core::{Cache, Caches, Ttl, secs};
use cache_tests::Store;

const WORKER: &str = env!("CARGO_BIN_EXE_worker");
const WORKERS: usize = 4;

fn start(store: &Store, task: &str, count: usize) -> Child {
    let mut command = Command::new(WORKER);
    let settings = match task {
        "move" => store.settings_with_default_deadlines(),
        "revise" => with_revisions(store),
        _ => store.settings(),
    };
    command.arg(settings).arg(task).arg(count.to_string());
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn with_revisions(store: &Store) -> String {
    format!("{}revisions = true\n", store.settings())
}

/// Runs the workers and returns the lines that each printed.
fn run_all(store: &Store, task: &str, count: usize) -> Vec<Vec<i64>> {
    let workers: Vec<_> = (0..WORKERS).map(|_| start(store, task, count)).collect();
    let printed = workers.into_iter().map(|it| {
        let out = it.wait_with_output().unwrap();
        assert!(out.status.success(), "{store:?} {task}");
        String::from_utf8(out.stdout).unwrap().lines().map(|it| it.parse().unwrap()).collect()
    });
    printed.collect()
}

fn cache(store: &Store) -> Cache {
    Caches::from_toml(&store.settings()).unwrap().get("default").unwrap().strict()
}

fn shared() -> impl Iterator<Item = Store> {
    cache_tests::stores().unwrap().into_iter().filter(|it| it.is_shared)
}

#[tokio::test]
async fn increments_and_updates_of_several_processes_are_all_counted() {
    for store in shared() {
        let cache = cache(&store);
        cache.set("counter", &0, secs(600)).await.unwrap();
        cache.set("sum", &0, secs(600)).await.unwrap();
        let mut printed = run_all(&store, "incr", 250).concat();
        printed.sort_unstable();
        assert_eq!(
            printed,
            (1..=1000).collect::<Vec<i64>>(),
            "{store:?}: the sums that incr returned"
        );
        run_all(&store, "update", 50);
        assert_eq!(cache.get::<i64>("sum").await.unwrap(), Some(200), "{store:?}");
        run_all(&store, "incr_or", 50);
        assert_eq!(cache.get::<i64>("limited").await.unwrap(), Some(200), "{store:?}");
    }
}

#[test]
fn each_key_is_added_by_one_process() {
    for store in shared() {
        let printed = run_all(&store, "add", 200);
        for key in 0..200 {
            let winners: i64 = printed.iter().map(|it| it[key]).sum();
            assert_eq!(winners, 1, "{store:?}: processes that added add:{key}");
        }
    }
}

/// Four processes make the changes of the same hundred revisions, each in another order.
#[tokio::test]
async fn revisions_of_several_processes_end_with_the_newest() {
    for store in shared() {
        let caches = Caches::from_toml(&with_revisions(&store)).unwrap();
        let cache = caches.get("default").unwrap().strict();
        run_all(&store, "revise", 100);
        assert_eq!(cache.get::<u64>("revised").await.unwrap(), Some(100), "{store:?}");
        let late = cache.set_revision("revised", &99, 99, secs(600)).await.unwrap();
        assert!(!late, "{store:?}: an older value was stored");
        assert!(cache.delete_revision("revised", 100, secs(600)).await.unwrap(), "{store:?}");
        run_all(&store, "revise", 100);
        assert!(!cache.has_key("revised").await.unwrap(), "{store:?}: the key was deleted");
    }
}

/// Kills a worker after it printed `lines` lines.
fn kill_after(store: &Store, task: &str, lines: usize) {
    let mut worker = start(store, task, 1_000_000);
    let out = worker.stdout.take().unwrap();
    let printed = BufReader::new(out).lines().take(lines).count();
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert_eq!(printed, lines, "{store:?} {task}");
}

#[tokio::test]
async fn killed_process_leaves_no_counter_without_a_lifetime() {
    for store in shared() {
        let cache = cache(&store);
        for round in 0..10 {
            cache.delete("limited").await.unwrap();
            kill_after(&store, "incr_or", 1 + round * 7);
            assert!(
                matches!(cache.ttl("limited").await.unwrap(), Some(Ttl::Remaining(_))),
                "{store:?}"
            );
        }
    }
}

/// A crash may leave the entry at both versions, and never at neither.
#[tokio::test]
async fn killed_process_loses_no_entry_that_it_moves() {
    for store in shared() {
        let cache = cache(&store);
        cache.set("moving", &"cargo".repeat(100), secs(600)).await.unwrap();
        for round in 0..10 {
            kill_after(&store, "move", 1 + round * 3);
            // Several times: the server may execute the last move of the killed process only now,
            // between the reads of the two versions.
            let mut found = 0;
            for version in [1, 2].repeat(3) {
                if let Some(it) = cache.at_version(version).get::<String>("moving").await.unwrap() {
                    assert_eq!(it, "cargo".repeat(100), "{store:?}");
                    found += 1;
                }
            }
            assert!(found > 0, "{store:?}: the entry is at no version in round {round}");
        }
    }
}
