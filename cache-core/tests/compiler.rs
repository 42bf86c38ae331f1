//! Compiler messages for wrong uses of the API.

#![allow(missing_docs)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

/// The libraries of this crate that have been built beside this test, the latest first.
fn libraries() -> Vec<PathBuf> {
    let folder = env::current_exe().unwrap().parent().unwrap().to_owned();
    let mut res: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| {
            let name = it.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("libcache_core-") && it.extension().is_some_and(|it| it == "rlib")
        })
        .collect();
    let built =
        |it: &PathBuf| it.metadata().and_then(|it| it.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    res.sort_by_key(|it| std::cmp::Reverse(built(it)));
    res
}

/// What the compiler says of the code, and whether it takes it.
fn compile(library: &Path, code: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("main.rs");
    let head = "#![deny(unused_must_use)]\n#![allow(dead_code)]\nuse cache_core::{*, Timeout};\n";
    let code = format!(
        "{head}async fn test(cache: &Cache) -> Result<()> {{\n{code}\nOk(())\n}}\nfn main() {{}}"
    );
    fs::write(&source, code).unwrap();
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let res = Command::new(rustc)
        .args(["--edition=2024", "--emit=metadata", "--color=never", "--crate-type=bin"])
        .arg("--extern")
        .arg(format!("cache_core={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", library.parent().unwrap().display()))
        .arg("--out-dir")
        .arg(folder.path())
        .arg(&source)
        .output()
        .unwrap();
    (res.status.success(), String::from_utf8(res.stderr).unwrap())
}

/// The code is refused, in these words.
#[track_caller]
fn refused(code: &str, words: &[&str]) {
    // A library of an earlier compiler cannot be used.
    let works = |it: &PathBuf| compile(it, "cache.set(\"k\", &1, secs(60)).await?;").0;
    let library = libraries().into_iter().find(works).expect("the library is built");
    let (taken, said) = compile(&library, code);
    assert!(!taken, "the compiler takes: {code}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
}

#[test]
fn a_number_as_a_timeout_is_told_to_be_written_with_secs() {
    refused("cache.set(\"k\", &1, 60).await?;", &["is not a timeout", "secs(60)"]);
    refused("cache.get_or_set(\"k\", 60, || async { 1 }).await?;", &["secs(60)"]);
    refused("cache.touch(\"k\", 60).await?;", &["secs(60)"]);
}

#[test]
fn failures_of_set_many_that_nobody_looks_at_are_told() {
    refused(
        "cache.set_many([(\"k\", 1)], Timeout::Default).await?;",
        &["unused", "not written", "into_result"],
    );
    refused("cache.blocking().set_many([(\"k\", 1)], Timeout::Default)?;", &["not written"]);
}
