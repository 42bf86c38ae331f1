//! Several processes on one store: what is promised to tasks is promised to them.

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
    let settings = if task == "move" { store.hasty_settings() } else { store.settings() };
    command.arg(settings).arg(task).arg(count.to_string());
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// What the workers said, each in lines.
fn all(store: &Store, task: &str, count: usize) -> Vec<Vec<i64>> {
    let workers: Vec<_> = (0..WORKERS).map(|_| start(store, task, count)).collect();
    let said = workers.into_iter().map(|it| {
        let out = it.wait_with_output().unwrap();
        assert!(out.status.success(), "{store:?} {task}");
        String::from_utf8(out.stdout).unwrap().lines().map(|it| it.parse().unwrap()).collect()
    });
    said.collect()
}

fn cache(store: &Store) -> Cache {
    Caches::from_toml(&store.settings()).unwrap().get("default").unwrap().strict()
}

fn shared() -> impl Iterator<Item = Store> {
    cache_tests::stores().unwrap().into_iter().filter(|it| it.is_shared)
}

#[tokio::test]
async fn no_increment_is_lost() {
    for store in shared() {
        let cache = cache(&store);
        cache.set("counter", &0, secs(600)).await.unwrap();
        cache.set("sum", &0, secs(600)).await.unwrap();
        let mut said = all(&store, "incr", 250).concat();
        said.sort_unstable();
        assert_eq!(said, (1..=1000).collect::<Vec<i64>>(), "{store:?}: each number once");
        all(&store, "update", 50);
        assert_eq!(cache.get::<i64>("sum").await.unwrap(), Some(200), "{store:?}");
        all(&store, "incr_or", 50);
        assert_eq!(cache.get::<i64>("limited").await.unwrap(), Some(200), "{store:?}");
    }
}

#[test]
fn each_key_is_added_by_one() {
    for store in shared() {
        let said = all(&store, "add", 200);
        for key in 0..200 {
            let winners: i64 = said.iter().map(|it| it[key]).sum();
            assert_eq!(winners, 1, "{store:?}: add:{key}");
        }
    }
}

/// Lets a worker come this far, and kills it.
fn kill_after(store: &Store, task: &str, lines: usize) {
    let mut worker = start(store, task, 1_000_000);
    let out = worker.stdout.take().unwrap();
    let came = BufReader::new(out).lines().take(lines).count();
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert_eq!(came, lines, "{store:?} {task}");
}

/// "So that no crash leaves an immortal counter."
#[tokio::test]
async fn a_killed_process_leaves_no_immortal_counter() {
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

/// "Elsewhere a crash may leave both": one at the least, and whole.
#[tokio::test]
async fn a_killed_process_loses_no_entry_that_it_moves() {
    for store in shared() {
        let cache = cache(&store);
        cache.set("moving", &"cargo".repeat(100), secs(600)).await.unwrap();
        for round in 0..10 {
            kill_after(&store, "move", 1 + round * 3);
            let mut found = 0;
            for version in [1, 2] {
                if let Some(it) = cache.at_version(version).get::<String>("moving").await.unwrap() {
                    assert_eq!(it, "cargo".repeat(100), "{store:?}");
                    found += 1;
                }
            }
            assert!(found > 0, "{store:?}: lost in round {round}");
        }
    }
}
