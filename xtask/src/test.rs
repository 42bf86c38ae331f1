//! `cargo xtask test`: installs the servers, then builds and runs every test.

mod programs;

use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::{
    report::Report,
    servers,
    shell::Shell,
    workspace::{self, Member},
};

/// The arguments of cargo that test everything but [`FORK`].
const ALL: &str = "--workspace --exclude fork-tests --all-features";

/// The arguments for the tests of `fork`. They are built alone: actix turns on the feature
/// `parking_lot` of tokio for all crates of a build, whose locks do not survive a `fork`.
const FORK: &str = "--package fork-tests --all-features";

pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    let mut report = Report::default();
    // Once and before the tests: otherwise each test would install its server.
    report.step("servers", "cargo xtask servers --install", servers::install);
    let mut programs = Vec::new();
    let mut build = |name: &str, args: &str, before: &dyn Fn() -> Result<()>| {
        report.step(&format!("build, {name}"), &format!("cargo test {args} --no-run"), || {
            before()?;
            let built = programs::build(args)?;
            ensure!(!built.is_empty(), "there is no test program");
            programs.extend(built);
            Ok(())
        });
    };
    build("all features", ALL, &|| Ok(()));
    build("fork", FORK, &|| Ok(()));
    // The libraries without features, too: code may need a feature that a user has turned off. The
    // other tests are built that way by `cargo xtask ci`, and would mostly repeat themselves.
    let members = workspace::members()?;
    for group in workspace::without_features(&members) {
        let args = group.args();
        let tree = Shell::new(&format!("cargo tree {args} --edges features --depth 1 --invert"));
        let features_are_off = || {
            let mut crates = group.crates.iter();
            crates.try_for_each(|it| are_off(it, &tree.clone().arg(it.name.clone()).read()?))
        };
        let name = format!("{} without features", group.name);
        build(&name, &format!("{args} --lib --test {}", group.conformance), &features_are_off);
    }
    let mut passed = 0;
    let mut test = |name: &str, by_hand: &str, run: &mut dyn FnMut(&mut Tally) -> Result<()>| {
        report.step(name, by_hand, || {
            let mut tally = Tally::default();
            let res = run(&mut tally);
            passed += tally.passed;
            res.and_then(|()| tally.check())
        });
    };
    test("tests", "cargo xtask test", &mut |tally| {
        programs::run(std::mem::take(&mut programs), |line| tally.add(line))
    });
    let examples = Shell::new(&format!("cargo test {ALL} --doc --no-fail-fast"));
    test("examples of the docs", &examples.to_string(), &mut |tally| {
        examples.watch(|line| tally.add(line))
    });
    report.step("the README's five minutes", "cargo xtask readme", crate::quickstart::run);
    report.finish()?;
    println!("\nxtask test: all {passed} tests passed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Checks that no dependency turns a feature of the crate on again; the tests would pass and prove
/// nothing. The feature `testing` is for tests.
fn are_off(member: &Member, tree: &str) -> Result<()> {
    let is_on = |it: &&String| *it != "testing" && tree.contains(&format!("feature \"{it}\""));
    if let Some(feature) = member.features.iter().find(is_on) {
        bail!(
            "tests turn the feature {feature} of {} on again; say `default-features = false` in \
             its dev-dependency on itself, and in the root's [workspace.dependencies]:\n{tree}",
            member.name
        );
    }
    Ok(())
}

/// The sum of the last lines of the test programs.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    passed: u64,
    ignored: u64,
}

impl Tally {
    fn add(&mut self, line: &str) {
        if line.starts_with("test result: ") {
            self.passed += number_before(line, " passed;");
            self.ignored += number_before(line, " ignored;");
        }
    }

    /// Fails if no test ran, which the exit code does not tell.
    fn check(&self) -> Result<()> {
        ensure!(self.passed > 0, "no test ran");
        ensure!(
            self.ignored == 0,
            "{} tests are ignored: a test runs, or is deleted",
            self.ignored
        );
        Ok(())
    }
}

fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().filter(|it| it.len() < line.len());
    before.and_then(|it| it.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(out: &str) -> Tally {
        let mut res = Tally::default();
        out.lines().for_each(|it| res.add(it));
        res
    }

    #[test]
    fn closing_lines_add_up() {
        let out = "\
running 1 test
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.31s
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(tally(out), Tally { passed: 15, ignored: 1 });
        assert!(tally(out).check().unwrap_err().to_string().contains("1 tests are ignored"));
    }

    #[test]
    fn a_run_without_tests_fails() {
        let out = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(tally(out).check().unwrap_err().to_string(), "no test ran");
        assert!(tally("").check().is_err());
        assert!(tally("test result: ok. 1 passed; 0 failed; 0 ignored;").check().is_ok());
    }

    #[test]
    fn features_that_come_back_are_found() {
        let features = ["default", "testing", "tls"].map(String::from).into();
        let member = Member { name: "cache-core".into(), published: true, features };
        for feature in ["default", "tls"] {
            let tree = format!("cache-core v0.1.0\n├── cache-core feature \"{feature}\"");
            assert!(are_off(&member, &tree).is_err());
        }
        assert!(are_off(&member, "cache-core v0.1.0\n└── cache-core feature \"testing\"").is_ok());
    }
}
