//! `cargo xtask test`: installs the servers, then builds and runs every test.

mod programs;

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::{report::Report, servers, shell::Shell, workspace};

/// The arguments of cargo that test everything.
const ALL: &str = "--workspace --all-features";

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
    // Each library without features, too: a test that passes with all features may need one that a
    // user has turned off. The examples in the docs need the default ones.
    for it in workspace::members()?.iter().filter(|it| it.published && !it.features.is_empty()) {
        let args = format!("--package {} --no-default-features", it.name);
        let tree = Shell::new(&format!("cargo tree {args} --edges features --depth 1 --invert"));
        let without_defaults = || defaults_are_off(&tree.clone().arg(it.name.clone()).read()?);
        let name = format!("{} without default features", it.name);
        build(&name, &format!("{args} --tests"), &without_defaults);
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

/// Checks that no dev-dependency of the crate turns the default features on again; the tests would
/// pass and prove nothing.
fn defaults_are_off(tree: &str) -> Result<()> {
    ensure!(
        !tree.contains("feature \"default\""),
        "the crate's own tests turn its default features on again; say `default-features = false` in its \
         dev-dependency on itself, and in the root's [workspace.dependencies]:\n{tree}"
    );
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
    fn default_features_that_come_back_are_found() {
        let tree = "cache-core v0.1.0\n├── cache-core feature \"default\"\n│   [dev-dependencies]";
        assert!(defaults_are_off(tree).is_err());
        assert!(defaults_are_off("cache-core v0.1.0\n└── cache-core feature \"testing\"").is_ok());
    }
}
