//! A process that goes on after a standstill of more than a second and two deadlines serves nothing
//! from its memory that was deleted meanwhile.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
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
const SHORT: &str = "deadline = '500ms'\nconnect_deadline = '20s'\n";
/// Longer than a second and two deadlines.
const STANDSTILL: Duration = Duration::from_millis(2200);
const PATIENT: &str = "deadline = '20s'\nconnect_deadline = '20s'\n";

struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(settings: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command.args([settings, "serve", "1000"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn send(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Stops all threads of the process.
    fn stop(&self) {
        self.send(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.child.id());
        let is_stopped = || fs::read_to_string(&stat).unwrap().contains(") T ");
        test_servers::wait_until("the process stands still", Duration::from_secs(60), is_stopped)
            .unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Deletes a value while the process that serves it from its memory stands still.
fn serves_nothing_deleted(what: &str, settings: &str) {
    let text = format!("[caches.default]\n{settings}");
    let builder = Caches::builder().stderr_notice(false).toml(&format!("{text}{PATIENT}"));
    let caches = builder.unwrap().build().unwrap();
    let cache = caches.get("default").unwrap().strict().blocking();
    let mut worker = Worker::start(&format!("{text}{SHORT}"));
    let mut rounds = 0;
    while rounds < ROUNDS {
        worker.input.write_all(b"\n").unwrap();
        assert_eq!(worker.line(), "served", "{what}");
        let stopping = micros();
        worker.stop();
        cache.delete("served").unwrap();
        let deleted = micros();
        // sleeps: a heartbeat of the process becomes too old
        thread::sleep(STANDSTILL);
        worker.send(Signal::CONT);
        let line = worker.line();
        let (found, missed) = line.split_once(' ').unwrap();
        let (found, missed): (u128, u128) = (found.parse().unwrap(), missed.parse().unwrap());
        let late = found.saturating_sub(deleted);
        assert_eq!(late, 0, "{what}, round {rounds}: found so many µs after the delete");
        assert_eq!(worker.line(), "1");
        // On a slow machine, the memory may be bypassed before.
        rounds += usize::from(missed > stopping);
    }
}

fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
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
