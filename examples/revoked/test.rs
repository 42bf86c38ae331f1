//! The test, which cargo runs in place of the program: its processes are this test program again.

use std::fs;

use anyhow::{Result, ensure};

#[cfg(all(target_os = "linux", feature = "servers"))]
use crate::run_replicas;
use crate::{
    args::{Args, Store},
    run,
};

pub(crate) fn run_all() -> Result<()> {
    // The book shows these lines.
    prints(Store::Directory, include_str!("directory.txt"))?;
    #[cfg(all(target_os = "linux", feature = "servers"))]
    prints(Store::Redis, concat!(include_str!("redis.txt"), include_str!("redis_table.txt")))?;
    #[cfg(all(target_os = "linux", feature = "servers"))]
    replicas_serve_a_revoked_role_within_the_bound()?;
    broken_promise_is_an_error()
}

/// The program fails if a bound is broken.
#[cfg(all(target_os = "linux", feature = "servers"))]
fn replicas_serve_a_revoked_role_within_the_bound() -> Result<()> {
    let mut lines = Vec::new();
    run_replicas(&mut lines)?;
    let lines = String::from_utf8(lines)?;
    let is_measured = |name: &str| lines.lines().any(|it| it.starts_with(name));
    ensure!(is_measured("tracking") && is_measured("none, timeout = 2s"), "{lines}");
    Ok(())
}

fn prints(store: Store, expected: &str) -> Result<()> {
    let mut lines = Vec::new();
    run(&Args { store }, &mut lines)?;
    let lines = String::from_utf8(lines)?;
    ensure!(lines.trim_end() == expected.trim_end(), "the program printed other lines:\n{lines}");
    Ok(())
}

/// Without fences, the alias `fenced` serves the role after its delete.
fn broken_promise_is_an_error() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("cache").display().to_string();
    let settings = include_str!("file.toml").replace("fenced = true", "fenced = false");
    let file = folder.path().join("settings.toml");
    fs::write(&file, settings.replace("${REVOKED_STORE}", &store))?;
    let mut lines = Vec::new();
    let error = run(&Args { store: Store::Settings(file) }, &mut lines).err();
    let lines = String::from_utf8(lines)?;
    ensure!(error.is_some() && lines.matches("REVOKED, AND SERVED").count() == 2, "{lines}");
    Ok(())
}
