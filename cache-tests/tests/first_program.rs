//! The first program of the README, with its own store and with a Redis that does not work: the
//! program goes on and logs why.

#![cfg(target_os = "linux")]

use std::{fs, process::Command};

use test_servers::{Redis, Server as _};

const PROGRAM: &str = include_str!("../src/bin/first-program.rs");
const README: &str = include_str!("../../README.md");

/// The output of the program without a working store.
const WITHOUT_A_STORE: &str = "slow to build\nNone\nwelcome: true\nsending the mail\n";

/// Runs the program, which must succeed, and returns what it printed to stdout and to stderr.
fn run(store: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    // On a slow machine, the default deadlines would be another reason for a failure.
    let patience = "deadline = '20s'\nconnect_deadline = '20s'";
    let settings = format!("[caches.default]\nfetch.grace = '1h'\n{patience}\n{store}\n");
    fs::write(folder.path().join("settings.toml"), settings).unwrap();
    let program = env!("CARGO_BIN_EXE_first-program");
    let out = Command::new(program).current_dir(folder.path()).output().unwrap();
    let (printed, logged) =
        (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    assert!(out.status.success(), "{printed}{logged}");
    (printed, logged)
}

fn redis(url: &str) -> String {
    format!("backend = 'redis'\nlocation = '{url}'")
}

#[track_caller]
fn assert_logged(logged: &str, words: &[&str]) {
    assert_eq!(logged.lines().count(), 1, "lines on stderr, expected one: {logged}");
    for word in words.iter().chain(&["cache-core: the store failed", "alias: default", "tracing"]) {
        assert!(logged.contains(word), "no {word} in {logged}");
    }
}

#[test]
fn program_is_the_one_in_the_readme() {
    let block = README.split("```rust\n").nth(1).and_then(|it| it.split("```\n").next());
    let (_, program) = PROGRAM.split_once("\n\n").unwrap();
    assert_eq!(block.unwrap(), program.replace("use cache_redis as _;\n", ""));
}

#[test]
fn working_store_logs_nothing() {
    let (printed, logged) = run("backend = 'memory'");
    assert!(
        printed.starts_with("slow to build\nSome((\"Ada\", 36))\nwelcome: true\n"),
        "{printed}"
    );
    assert_eq!(logged, "");
}

#[test]
fn store_that_is_down_is_logged_once_and_the_program_goes_on() {
    let server = Redis::start().unwrap();
    let url = server.url();
    server.kill();
    let (printed, logged) = run(&redis(&url));
    assert_eq!(printed, WITHOUT_A_STORE);
    assert_logged(&logged, &["cannot connect"]);
}

#[test]
fn wrong_password_is_logged_without_the_password() {
    let server = Redis::options().password("right").start().unwrap();
    let url = server.url().replace("right", "markedpassword");
    assert!(url.contains("markedpassword"), "{url}");
    let (printed, logged) = run(&redis(&url));
    assert_eq!(printed, WITHOUT_A_STORE);
    assert_logged(&logged, &["password"]);
    assert!(!logged.contains("marked"), "{logged}");
}
