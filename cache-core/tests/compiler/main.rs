//! Compiler messages for wrong uses of the API.

#![allow(missing_docs)]

#[cfg(feature = "macros")]
mod cached;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::SystemTime,
};

/// Returns the builds of this crate that lie beside this test, the latest first.
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

/// Compiles the code. Returns whether the compiler accepts it, and the messages.
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

/// Code that a library with the features of this test accepts.
#[cfg(not(feature = "macros"))]
const WORKS: &str = "cache.set(\"k\", &1, secs(60)).await?;";
#[cfg(feature = "macros")]
const WORKS: &str = "#[cached] fn f(id: u32) -> u32 { id }\nf::invalidate(1)?;";

/// Checks that the compiler refuses the code with a message that contains each text.
#[track_caller]
fn refused(code: &str, texts: &[&str]) {
    static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
        // A library that an earlier compiler built cannot be used.
        let works = |it: &PathBuf| compile(it, WORKS).0;
        libraries().into_iter().find(works).expect("the library is built")
    });
    let (is_accepted, messages) = compile(&LIBRARY, code);
    assert!(!is_accepted, "the compiler accepts: {code}");
    for text in texts {
        assert!(messages.contains(text), "`{text}` is not in:\n{messages}");
    }
}

#[test]
fn number_as_a_timeout_is_refused_with_a_hint_to_secs() {
    refused("cache.set(\"k\", &1, 60).await?;", &["is not a timeout", "secs(60)"]);
    refused("cache.get_or_set(\"k\", 60, || async { 1 }).await?;", &["secs(60)"]);
    refused("cache.touch(\"k\", 60).await?;", &["secs(60)"]);
}

#[test]
fn unused_failures_of_set_many_are_a_compiler_warning() {
    refused(
        "cache.set_many([(\"k\", 1)], Timeout::Default).await?;",
        &["unused", "not written", "into_result"],
    );
    refused("cache.blocking().set_many([(\"k\", 1)], Timeout::Default)?;", &["not written"]);
}

#[test]
fn value_that_a_handle_of_bytes_does_not_have_is_refused_with_those_that_it_has() {
    refused("cache.bytes().set(\"k\", &1_u32, secs(60)).await?;", &["cannot write `u32`", "`str`"]);
    refused("cache.bytes().get::<u32>(\"k\").await?;", &["cannot read `u32`", "bytes::Bytes"]);
}
