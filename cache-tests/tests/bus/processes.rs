//! Processes of their own.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use test_servers::Redis;

use crate::support::{process, settings};

struct Worker(Child, BufReader<ChildStdout>);

impl Worker {
    fn start(url: &str, rounds: usize) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command.arg(settings(url)).arg("keep").arg(rounds.to_string());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self(child, out)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn each_removal_reaches_the_memory_of_all_processes() {
    const ROUNDS: usize = 60;
    let redis = Redis::start().unwrap();
    let cache = process(&redis.url()).await;
    let mut workers: Vec<_> = (0..3).map(|_| Worker::start(&redis.url(), ROUNDS)).collect();
    for round in 0..ROUNDS {
        for worker in &mut workers {
            assert_eq!(worker.line(), "kept", "round {round}");
        }
        match round % 4 {
            0 => drop(cache.delete("kept").await.unwrap()),
            1 => cache.clear().await.unwrap(),
            2 => cache.invalidate_tags(["kept"]).await.unwrap(),
            _ => drop(cache.delete_many(["kept", "other"]).await.unwrap()),
        }
        for worker in &mut workers {
            assert_eq!(worker.line(), "1", "round {round}");
        }
    }
    for mut worker in workers {
        assert!(worker.0.wait().unwrap().success());
    }
}
