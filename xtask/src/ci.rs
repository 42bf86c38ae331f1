//! `cargo xtask ci`: the checks that are not tests.

use std::{env, fs, path::PathBuf};

use anyhow::Result;

use crate::{fuzz, graph, report::Report, shell::Shell, tidy, workspace};

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
    for it in workspace::members()?.into_iter().filter(|it| it.published) {
        let package = format!("--package {} --no-default-features", it.name);
        if !it.features.is_empty() {
            clippy(
                &format!("{} without features, tests", it.name),
                &(package.clone() + " --all-targets"),
            );
        }
        // The library alone: tests bring features of their own through their dependencies.
        clippy(&format!("{} without features", it.name), &package);
        for feature in it.features.iter().filter(|it| *it != "default") {
            let args = format!("{package} --features {feature}");
            clippy(&format!("{} with {feature} alone", it.name), &args);
        }
    }
    Ok(())
}

fn docs(report: &mut Report) {
    let doc = "cargo doc --workspace --no-deps --all-features";
    let strict = |line: &str| Shell::new(line).env("RUSTDOCFLAGS", "-D warnings");
    // Private items for the links inside the code, then as docs.rs does: a public page must not link to
    // what only the first run has. What stays in target/doc is the public one.
    report.command("docs of private items", &strict(&format!("{doc} --document-private-items")));
    report.command("docs", &strict(doc));
}

/// Licences, versions and sources of all dependencies by cargo-deny.
fn dependencies(report: &mut Report) {
    let deny = tool(report, "cargo deny", "cargo-deny", "cargo-deny@0.20.2");
    let deny = deny.args("--workspace --all-features --locked check");
    let check = |what| deny.clone().args(what);
    report.command("licences, versions, sources", &check("licenses bans sources"));
    if advisories_are_here() {
        report.command("advisories", &check("--disable-fetch advisories"));
    } else {
        println!("advisories: not checked, there is no database here (`cargo deny fetch` gets it)");
    }
}

/// The book, as pages. That its snippets compile and its links lead somewhere is tested by `examples/book`.
fn book(report: &mut Report) {
    // Without what serves and searches: a book that is only built needs neither.
    let mdbook = tool(report, "mdbook", "mdbook", "mdbook@0.5.4 --no-default-features");
    let pages = workspace::target().join("book").display().to_string();
    report.command("book", &mdbook.args("build docs --dest-dir").arg(pages));
}

/// The tool of this machine, or one of our own under `target/`. `name` is its program and `krate` what to install.
fn tool(report: &mut Report, by_hand: &str, name: &str, krate: &str) -> Shell {
    let installed = Shell::new(by_hand);
    if installed.clone().args("--version").succeeds() {
        return installed;
    }
    let tools = workspace::target().join("tools");
    let bin = tools.join("bin").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    if !bin.exists() {
        // Unoptimised: it builds in a third of the time, and runs for a second.
        let install = Shell::new(&format!("cargo install --locked --debug --quiet {krate} --root"))
            .arg(tools.display().to_string());
        report.command(&format!("install {name}"), &install);
    }
    Shell::program(bin.display().to_string())
}

/// Whether someone has fetched the advisory database; getting it is not a check's business.
fn advisories_are_here() -> bool {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    home.and_then(|it| fs::read_dir(it.join("advisory-dbs")).ok())
        .is_some_and(|mut it| it.next().is_some())
}
