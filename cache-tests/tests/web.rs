//! Several processes of a web service on one store: rate limits and idempotency keys.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use cache_tests::Store;

const WEB: &str = env!("CARGO_BIN_EXE_web");
const PROCESSES: usize = 4;

/// The lease of a key, in seconds: long, because a process that stands still for longer would lose
/// it; and short.
const LONG: u64 = 60;
const SHORT: u64 = 2;

fn start(store: &Store, task: &str, count: u64) -> Child {
    let mut command = Command::new(WEB);
    command.arg(store.settings()).arg(task).arg(count.to_string());
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end of a process and returns its lines.
fn lines(process: Child) -> Vec<String> {
    let out = process.wait_with_output().unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn shared() -> impl Iterator<Item = Store> {
    cache_tests::stores().unwrap().into_iter().filter(|it| it.is_shared)
}

#[test]
fn processes_together_get_exactly_the_limit() {
    for store in shared() {
        for rule in ["fixed", "sliding", "gcra"] {
            let processes: Vec<_> = (0..PROCESSES).map(|_| start(&store, rule, 50)).collect();
            let decisions: Vec<_> = processes.into_iter().flat_map(lines).collect();
            assert_eq!(decisions.len(), 200, "{store:?} {rule}");
            let admitted = decisions.iter().filter(|it| *it == "1").count();
            assert_eq!(admitted, 100, "{store:?} {rule}: admitted requests");
        }
    }
}

#[test]
fn request_with_one_key_is_executed_by_one_process() {
    for store in shared() {
        let processes: Vec<_> = (0..PROCESSES).map(|_| start(&store, "pay", LONG)).collect();
        let mut printed: Vec<_> = processes.into_iter().flat_map(lines).collect();
        printed.sort();
        let replayed = "by false replayed: true";
        let expected = ["by false replayed: false", replayed, replayed, replayed, "paid"];
        assert_eq!(printed, expected, "{store:?}");
    }
}

#[test]
fn key_of_a_killed_process_is_free_after_its_lease() {
    for store in shared() {
        let mut killed = start(&store, "hang", SHORT);
        let mut out = BufReader::new(killed.stdout.take().unwrap()).lines();
        assert_eq!(out.next().unwrap().unwrap(), "paid", "{store:?}");
        let next = start(&store, "pay", SHORT);
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert_eq!(lines(next), ["paid", "by false replayed: false"], "{store:?}");
    }
}
