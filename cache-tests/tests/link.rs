//! Rust links a crate only if the program names it. A program that names the crates has their
//! stores; the error in a program that does not contains the line to add.

use std::process::Command;

/// Each backend with its crate, and settings that build without a server.
const BACKENDS: &[(&str, &str, &str)] = &[
    ("memory", "cache_memory", ""),
    ("db", "cache_db", "location = ':memory:'"),
    ("sqlite", "cache_db", "location = ':memory:'"),
    ("file", "cache_file", "location = '/tmp/never-made'"),
    ("memcached", "cache_memcached", "location = '127.0.0.1:1'"),
    ("redis", "cache_redis", "location = 'redis://127.0.0.1:1'"),
    ("valkey", "cache_redis", "location = 'redis://127.0.0.1:1'"),
];

fn output(program: &str, backend: &str, more: &str) -> String {
    let toml = format!("[caches.default]\nbackend = '{backend}'\n{more}\n");
    let out = Command::new(program).arg(toml).output().unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn program_that_names_a_crate_has_its_store() {
    for (backend, _, more) in BACKENDS {
        assert_eq!(output(env!("CARGO_BIN_EXE_linked"), backend, more), "built\n", "{backend}");
    }
}

#[test]
fn unlinked_backend_error_contains_the_line_to_add() {
    for (backend, krate, more) in BACKENDS {
        let printed = output(env!("CARGO_BIN_EXE_unlinked"), backend, more);
        assert!(printed.contains(&format!("use {krate} as _;")), "{backend}: {printed}");
    }
}
