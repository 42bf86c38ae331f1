//! `cargo xtask ci`: the checks that are not tests.

use std::{env, fs, path::PathBuf};

use anyhow::Result;

use crate::{
    api, fuzz, graph, package,
    report::Report,
    shell::Shell,
    tidy,
    tools::{self, Tool},
    workspace,
};

pub(crate) fn run() -> Result<()> {
    let mut report = Report::default();
    report.command("format", &Shell::new("cargo fmt --all --check"));
    report.step("tidy", "cargo xtask tidy", || tidy::run(&[]));
    lints(&mut report)?;
    docs(&mut report);
    book(&mut report);
    let oldest = "minimum Rust version";
    report.step(oldest, "cargo metadata --locked --format-version 1", graph::oldest_rust);
    report.step("facade without clients", graph::FACADE_TREE, graph::no_clients);
    report.step("small first build", graph::DASHBOARD_TREE, graph::small_dashboard);
    dependencies(&mut report);
    report.step("packages", &package::command()?.to_string(), package::check);
    if cfg!(unix) {
        tool(&mut report, &tools::PUBLIC_API);
        report.step("public items", "cargo xtask api", || api::run(&[]));
    } else {
        println!("public items: not here, the lists in `api` are those of Linux");
    }
    if cfg!(unix) {
        let by_hand = format!("cargo xtask fuzz {}", fuzz::IN_CI.join(" "));
        report.step("fuzzing", &by_hand, || fuzz::run(fuzz::IN_CI));
    } else {
        println!("fuzzing: not here, the compiler's flags for it are those of Linux and macOS");
    }
    report.finish()
}

fn lints(report: &mut Report) -> Result<()> {
    let mut clippy = |name: &str, args: &str| {
        // After `--`, and not in RUSTFLAGS: other flags would rebuild all dependencies.
        report.command(name, &Shell::new(&format!("cargo clippy {args} -- -D warnings")));
    };
    clippy("lints", "--workspace --all-targets --all-features");
    let members = workspace::members()?;
    for group in workspace::without_features(&members) {
        let name = format!("{} without features, tests", group.name);
        clippy(&name, &(group.args() + " --all-targets"));
    }
    for it in members.into_iter().filter(|it| it.published) {
        let package = format!("--package {} --no-default-features", it.name);
        // The library alone: tests bring features of their own through their dependencies.
        clippy(&format!("{} without features", it.name), &package);
        for feature in it.features.iter().filter(|it| *it != "default") {
            let args = format!("{package} --features {feature}");
            clippy(&format!("{} with {feature} alone", it.name), &args);
        }
        // In a build of the whole workspace, another member can turn on a feature that this one
        // forgot to require.
        if it.features.len() > 1 {
            let args = format!("--package {} --all-features", it.name);
            clippy(&format!("{} with all features, alone", it.name), &args);
        }
    }
    Ok(())
}

fn docs(report: &mut Report) {
    let doc = "cargo doc --workspace --no-deps --all-features";
    let strict = |line: &str| Shell::new(line).env("RUSTDOCFLAGS", "-D warnings");
    // First with private items, to check the links inside the code; then as docs.rs does, because a
    // public page must not link to a private item. The second run leaves its pages in target/doc.
    report.command("docs of private items", &strict(&format!("{doc} --document-private-items")));
    report.command("docs", &strict(doc));
}

/// Checks licences, versions and sources of all dependencies with cargo-deny.
fn dependencies(report: &mut Report) {
    let deny = tool(report, &tools::DENY);
    let deny = deny.args("--workspace --all-features --locked check");
    let check = |what| deny.clone().args(what);
    report.command("licences, versions, sources", &check("licenses bans sources"));
    if advisories_are_here() {
        report.command("advisories", &check("--disable-fetch advisories"));
    } else {
        println!("advisories: not checked, there is no database here (`cargo deny fetch` gets it)");
    }
}

/// Builds the pages of the book. The tests of `examples/book` check its snippets and links.
fn book(report: &mut Report) {
    let mdbook = tool(report, &tools::MDBOOK);
    let pages = workspace::target().join("book").display().to_string();
    report.command("book", &mdbook.args("build docs --dest-dir").arg(pages));
}

/// Returns the tool; a step installs it if it is missing.
fn tool(report: &mut Report, tool: &Tool) -> Shell {
    tool.find().unwrap_or_else(|| {
        report.command(&format!("install {}", tool.program), &tool.install());
        tool.own()
    })
}

/// Whether the advisory database is present. A check does not download it.
fn advisories_are_here() -> bool {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    home.and_then(|it| fs::read_dir(it.join("advisory-dbs")).ok())
        .is_some_and(|mut it| it.next().is_some())
}
