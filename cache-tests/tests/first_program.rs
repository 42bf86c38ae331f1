//! The first program of the README, with the store that it has and with a Redis that does not serve: it goes on, and says why.

#![cfg(target_os = "linux")]

use std::{fs, process::Command};

use test_servers::{Redis, Server as _};

const PROGRAM: &str = include_str!("../src/bin/first-program.rs");
const README: &str = include_str!("../../README.md");

/// What the program prints where nothing can be counted or kept.
const WITHOUT_A_STORE: &str = "None\nslow to build\nwelcome: true\nsending the mail\n";

/// What the program prints to stdout and to stderr; it ends well.
fn run(store: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("[caches.default]\n{store}\n");
    fs::write(folder.path().join("settings.toml"), settings).unwrap();
    let program = env!("CARGO_BIN_EXE_first-program");
    let out = Command::new(program).current_dir(folder.path()).output().unwrap();
    let (printed, told) =
        (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    assert!(out.status.success(), "{printed}{told}");
    (printed, told)
}

fn redis(url: &str) -> String {
    format!("backend = 'redis'\nlocation = '{url}'")
}

#[track_caller]
fn assert_told(told: &str, words: &[&str]) {
    assert_eq!(told.lines().count(), 1, "one line a minute: {told}");
    for word in words.iter().chain(&["cache-core: the store failed", "alias: default", "tracing"]) {
        assert!(told.contains(word), "{word}: {told}");
    }
}

#[test]
fn program_is_that_of_the_readme() {
    let block = README.split("```rust\n").nth(1).and_then(|it| it.split("```\n").next());
    let (_, program) = PROGRAM.split_once("\n\n").unwrap();
    assert_eq!(block.unwrap(), program.replace("use cache_redis as _;\n", ""));
}

#[test]
fn store_that_serves_is_not_mentioned() {
    let (printed, told) = run("backend = 'memory'");
    assert!(
        printed.starts_with("Some((\"Ada\", 36))\nslow to build\nwelcome: true\n"),
        "{printed}"
    );
    assert_eq!(told, "");
}

#[test]
fn store_that_is_down_is_told_once_and_the_program_goes_on() {
    let server = Redis::start().unwrap();
    let url = server.url();
    server.kill();
    let (printed, told) = run(&redis(&url));
    assert_eq!(printed, WITHOUT_A_STORE);
    assert_told(&told, &["cannot connect"]);
}

#[test]
fn wrong_password_is_told_without_the_password() {
    let server = Redis::options().password("right").start().unwrap();
    let url = server.url().replace("right", "markedpassword");
    assert!(url.contains("markedpassword"), "{url}");
    let (printed, told) = run(&redis(&url));
    assert_eq!(printed, WITHOUT_A_STORE);
    assert_told(&told, &["password"]);
    assert!(!told.contains("marked"), "{told}");
}
