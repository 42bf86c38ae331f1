//! A process that stands still, and goes on, serves nothing from its memory that was deleted
//! meanwhile.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cache_core::Caches;
use cache_db as _;
use cache_memory as _;
use cache_redis as _;
use rustix::process::{Pid, Signal, kill_process};
use test_servers::{Postgres, Redis};

const ROUNDS: usize = 3;
/// Longer than the second between two heartbeats, and the deadline of the worker.
const STANDSTILL: Duration = Duration::from_millis(1700);
const SHORT: &str = "deadline = '300ms'\nconnect_deadline = '20s'\n";
const PATIENT: &str = "deadline = '20s'\nconnect_deadline = '20s'\n";

struct Worker(Child, BufReader<ChildStdout>);

impl Worker {
    fn start(settings: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command.args([settings, "serve", &ROUNDS.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self(child, out)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn send(&self, signal: Signal) {
        let id = Pid::from_raw(self.0.id().try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Stops all threads of the process.
    fn stop(&self) {
        self.send(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.0.id());
        let is_stopped = || fs::read_to_string(&stat).unwrap().contains(") T ");
        test_servers::wait_until("the process stands still", Duration::from_secs(60), is_stopped)
            .unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Deletes a value while the process that serves it from its memory stands still.
fn serves_nothing_deleted(what: &str, settings: &str) {
    let text = format!("[caches.default]\n{settings}");
    let builder = Caches::builder().stderr_notice(false).toml(&format!("{text}{PATIENT}"));
    let caches = builder.unwrap().build().unwrap();
    let cache = caches.get("default").unwrap().strict().blocking();
    let mut worker = Worker::start(&format!("{text}{SHORT}"));
    for round in 0..ROUNDS {
        assert_eq!(worker.line(), "served", "{what}, round {round}");
        worker.stop();
        cache.delete("served").unwrap();
        let deleted = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        // sleeps: a heartbeat of the process becomes too old
        thread::sleep(STANDSTILL);
        worker.send(Signal::CONT);
        let last: u128 = worker.line().parse().unwrap();
        let late = last.saturating_sub(deleted);
        assert_eq!(late, 0, "{what}, round {round}: found so many µs after the delete");
    }
    assert!(worker.0.wait().unwrap().success());
}

#[test]
fn stopped_process_serves_nothing_that_was_deleted_meanwhile() {
    let (redis, postgres) = (Redis::start().unwrap(), Postgres::start().unwrap());
    let near = |backend, url| {
        format!("backend = '{backend}'\nlocation = '{url}'\nnear = {{ timeout = '1h' }}\n")
    };
    let bus = |url| format!("backend = 'memory'\nbus = '{url}'\n");
    let stores = [
        ("near tier of Redis", near("redis", redis.url())),
        ("near tier of PostgreSQL", near("postgres", postgres.url())),
        ("bus of Redis", bus(redis.url())),
        ("bus of PostgreSQL", bus(postgres.url())),
    ];
    thread::scope(|scope| {
        for (what, settings) in &stores {
            scope.spawn(move || serves_nothing_deleted(what, settings));
        }
    });
}
