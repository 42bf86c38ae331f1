//! Checks of the dependency graph.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{shell::Shell, workspace};

/// Prints the crates that a user of the facade compiles, one `name vX.Y.Z` a line.
pub(crate) const FACADE_TREE: &str =
    "cargo tree --package cache-core --edges normal --all-features --target all --prefix none";

/// Prints the crates that the README's first command compiles, in the same form.
pub(crate) const DASHBOARD_TREE: &str = "cargo tree --package examples --prefix none";

/// How many crates the README's first command may compile.
const DASHBOARD_CRATES: usize = 60;

/// The members that the facade may consist of.
const FACADE: &[&str] = &["cache-core", "cache-macros"];

/// Clients of stores, and the crates that any network client is made of: `mio` and `socket2`, which
/// tokio's feature `net` brings, catch clients that this list does not name.
const CLIENTS: &[&str] = &[
    "deadpool",
    "deadpool-redis",
    "diesel",
    "fred",
    "hyper",
    "libsqlite3-sys",
    "memcache",
    "mio",
    "moka",
    "mysql_async",
    "native-tls",
    "postgres",
    "quick_cache",
    "r2d2",
    "redis",
    "reqwest",
    "rusqlite",
    "rustls",
    "sea-orm",
    "socket2",
    "sqlx",
    "tokio-postgres",
    "tokio-rusqlite",
];

/// Checks that the facade depends on no client library and on no store: a program compiles only the
/// stores that it uses.
pub(crate) fn no_clients() -> Result<()> {
    let tree = Shell::new(FACADE_TREE).read()?;
    let members = workspace::members()?;
    let mut forbidden: Vec<&str> = CLIENTS.to_vec();
    forbidden.extend(members.iter().map(|it| it.name.as_str()).filter(|it| !FACADE.contains(it)));
    let found = packages(&tree, &forbidden);
    ensure!(found.is_empty(), "cache-core depends on {}; a store is a crate", found.join(", "));
    let all = tree.lines().count();
    ensure!(
        packages(&tree, &["cache-core"]).len() == 1,
        "this is not the tree of cache-core:\n{tree}"
    );
    println!("{all} lines, no client among them");
    Ok(())
}

/// Checks that the README's first command compiles only the facade, one store and the example's own
/// dependencies.
pub(crate) fn small_dashboard() -> Result<()> {
    let tree = Shell::new(DASHBOARD_TREE).read()?;
    // The in-process store is built on quick_cache.
    let clients: Vec<&str> = CLIENTS.iter().copied().filter(|it| *it != "quick_cache").collect();
    let found = packages(&tree, &clients);
    ensure!(
        found.is_empty(),
        "the dashboard builds {}; a store is a feature of it",
        found.join(", ")
    );
    let mut crates: Vec<&str> = tree.lines().map(|it| it.trim_end_matches(" (*)")).collect();
    crates.sort_unstable();
    crates.dedup();
    let all = crates.len();
    ensure!(
        all <= DASHBOARD_CRATES,
        "the dashboard builds {all} crates, {DASHBOARD_CRATES} at the most"
    );
    println!("{all} crates");
    Ok(())
}

fn packages<'a>(tree: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let names = tree.lines().filter_map(|it| it.split(' ').next());
    let mut res: Vec<&str> = names.filter(|it| wanted.contains(it)).collect();
    res.sort_unstable();
    res.dedup();
    res
}

/// Checks that no dependency needs a newer Rust than the workspace declares, and builds our own
/// code with that version if it can be installed.
pub(crate) fn oldest_rust() -> Result<()> {
    let root = workspace::read_manifest(&workspace::root().join("Cargo.toml"))?;
    let ours = root["workspace"]["package"].get("rust-version").and_then(|it| it.as_str());
    let ours = ours.context("[workspace.package] declares no rust-version")?;
    let metadata = Shell::new("cargo metadata --locked --format-version 1").read()?;
    let newer = newer_than(ours, &serde_json::from_str(&metadata)?)?;
    ensure!(newer.is_empty(), "these need a newer Rust than {ours}: {}", newer.join(", "));

    let check = Shell::new(&format!("cargo +{ours} check --workspace --all-features --locked"));
    match toolchain(ours) {
        Toolchain::OfMachine => check.run(),
        Toolchain::Own(home) => check.env("RUSTUP_HOME", &home).run(),
        Toolchain::Missing => {
            println!(
                "Rust {ours}: cannot be installed here, so our own code was not built with it"
            );
            Ok(())
        }
    }
}

enum Toolchain {
    OfMachine,
    /// With the folder that `RUSTUP_HOME` names.
    Own(String),
    Missing,
}

/// Finds a toolchain of that version, or installs one under `target/tools`.
fn toolchain(version: &str) -> Toolchain {
    let installed = Shell::new("rustup toolchain list").peek().unwrap_or_default();
    if installed.lines().any(|it| it.starts_with(version)) {
        return Toolchain::OfMachine;
    }
    let home = workspace::target().join("tools").join("rustup").display().to_string();
    let install = format!("rustup toolchain install {version} --profile minimal --no-self-update");
    if Shell::new(&install).env("RUSTUP_HOME", &home).succeeds() {
        Toolchain::Own(home)
    } else {
        Toolchain::Missing
    }
}

fn newer_than(ours: &str, metadata: &Value) -> Result<Vec<String>> {
    let limit = version(ours).context("rust-version")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    Ok(packages
        .iter()
        .filter(|it| it["rust_version"].as_str().and_then(version) > Some(limit))
        .map(|it| {
            let text = |key: &str| it[key].as_str().unwrap_or_default();
            format!("{} {} ({})", text("name"), text("version"), text("rust_version"))
        })
        .collect())
}

fn version(text: &str) -> Option<[u32; 3]> {
    let mut res = [0; 3];
    for (i, part) in text.split('.').enumerate() {
        *res.get_mut(i)? = part.parse().ok()?;
    }
    Some(res)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Without `-p`, cargo builds the example with the features that other members turn on.
    const DASHBOARD: &str = "cargo run -p examples --example dashboard";

    #[test]
    fn first_command_of_the_readme_builds_one_package_and_is_checked() {
        let read = |path: &str| fs::read_to_string(workspace::root().join(path)).unwrap();
        let first =
            read("README.md").lines().find_map(|it| it.strip_prefix("$ ").map(String::from));
        assert_eq!(first.as_deref(), Some(DASHBOARD));
        assert!(read(".ci/run").lines().any(|it| it == format!("run {DASHBOARD}")));
    }

    #[test]
    fn first_command_of_the_readme_builds_no_client() {
        small_dashboard().unwrap();
    }

    #[test]
    fn a_client_in_the_tree_is_found_by_its_whole_name() {
        let tree =
            "cache-core v0.1.0 (/x)\nredis-like v1.0.0\nredis v0.32.0\nmio v1.0.0 (*)\nmio v1.0.0";
        assert_eq!(packages(tree, CLIENTS), ["mio", "redis"]);
        assert!(packages("bytes v1.0.0\ntokio v1.47.0", CLIENTS).is_empty());
    }

    #[test]
    fn a_dependency_that_needs_a_newer_rust_is_found() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "old", "version": "1.0.0", "rust_version": "1.56" },
            { "name": "unsaid", "version": "1.0.0", "rust_version": null },
            { "name": "same", "version": "1.0.0", "rust_version": "1.89.0" },
            { "name": "new", "version": "2.0.0", "rust_version": "1.90" },
        ]});
        assert_eq!(newer_than("1.89", &metadata).unwrap(), ["new 2.0.0 (1.90)"]);
        assert!(newer_than("latest", &metadata).is_err());
    }
}
