//! `cargo xtask bench`: measures the caches, and writes the tables and plots of the documentation.

mod comparison;
mod machine;
mod markdown;
mod page;
mod plot;
mod publish;
mod quantity;
mod results;
mod tables;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use self::results::Results;
use crate::{shell::Shell, workspace};

/// The suite that is also run with each feature that observes, and whose allocations are counted.
const FACADE: &str = "facade";
/// Counts instructions, which needs valgrind, and allocations.
const INSTRUCTIONS: &str = "instructions";
/// The suites whose allocations are counted.
const COUNTED: [&str; 3] = [FACADE, "layers", INSTRUCTIONS];
/// The suites whose allocations are counted on a server.
const ON_SERVERS: [&str; 2] = ["redis", "memcached"];
/// How often the published cases are measured, with new servers each time.
const PASSES: usize = 3;

pub(crate) fn run(args: &[&str]) -> Result<()> {
    let asked = Asked::parse(args)?;
    if let Some(file) = &asked.from {
        return publish(file);
    }
    if let Some(file) = &asked.json
        && file.exists()
    {
        // Each benchmark program appends to the file.
        fs::remove_file(file).with_context(|| file.display().to_string())?;
    }
    let machine = machine::describe()?;
    println!("{machine}");
    let Some(file) = asked.json.as_ref().filter(|_| asked.report) else {
        return asked.commands().iter().try_for_each(Shell::run);
    };
    // Before the programs are built, which is a load itself.
    let load = machine::load();
    let versions = Shell::new(VERSIONS).read().context("cannot build the benchmarks")?;
    machine::write(file, &machine, &load, versions.trim())?;
    asked.commands().iter().try_for_each(Shell::run)?;
    publish(file)
}

const VERSIONS: &str = "cargo run --release --quiet --package benches --bin benches -- --versions";

/// Writes the tables and the plots of these results.
fn publish(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    publish::publish(workspace::root(), &Results::parse(&text)?)
}

/// The options of the command line.
#[derive(Debug, Default)]
struct Asked {
    quick: bool,
    /// Whether the published cases are measured and written.
    report: bool,
    /// How often the published cases are measured.
    passes: Option<usize>,
    json: Option<PathBuf>,
    /// Results to publish, instead of a run.
    from: Option<PathBuf>,
    /// If empty, all suites run.
    suites: Vec<String>,
}

impl Asked {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut res = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            // Relative to the caller's folder: commands run in the workspace's root.
            let mut file = || {
                let file = args.next().with_context(|| format!("{arg} needs a file"))?;
                anyhow::Ok(std::path::absolute(file)?)
            };
            match *arg {
                "--quick" => res.quick = true,
                "--report" => res.report = true,
                "--passes" => {
                    let count = args.next().context("--passes needs a number")?;
                    res.passes = Some(count.parse().with_context(|| format!("--passes {count}"))?);
                }
                "--json" => res.json = Some(file()?),
                "--from" => res.from = Some(file()?),
                option if option.starts_with('-') => bail!("unknown option `{option}`"),
                // The benchmark program checks the names.
                suite => res.suites.push(suite.to_owned()),
            }
        }
        if res.from.is_some() && !(res.report && res.json.is_none() && res.suites.is_empty()) {
            bail!("--from needs --report and runs nothing: without --json and suites");
        }
        if res.report && res.json.is_none() {
            res.json = Some(workspace::target().join("performance.json"));
        }
        Ok(res)
    }

    fn commands(&self) -> Vec<Shell> {
        // Built alone, so that other members do not turn on features.
        let cargo = |args: &str| {
            Shell::new(&format!("cargo run --release --quiet --package benches {args} --"))
        };
        if self.report {
            let pass = self.options(cargo("--bin benches").arg("--published"));
            let pass = self.suites.iter().fold(pass, Shell::arg);
            let mut res = vec![pass; self.passes.unwrap_or(if self.quick { 1 } else { PASSES })];
            res.extend(self.allocations(&cargo));
            return res;
        }
        let (counts, timed): (Vec<_>, Vec<_>) =
            self.suites.iter().partition(|it| *it == INSTRUCTIONS);
        let mut res = Vec::new();
        if counts.is_empty() || !timed.is_empty() {
            let all = self.options(cargo("--bin benches"));
            res.push(timed.into_iter().fold(all, Shell::arg));
        }
        if !counts.is_empty() {
            res.push(self.to_file(cargo("--bin instructions")));
        }
        if self.suites.is_empty() || self.suites.iter().any(|it| it == FACADE) {
            for feature in ["tracing", "metrics"] {
                let command = cargo(&format!("--bin benches --features {feature}"));
                res.push(self.options(command).arg(FACADE));
            }
        }
        res.extend(self.allocations(&cargo));
        res
    }

    /// Returns the commands that count the allocations of the suites.
    fn allocations(&self, cargo: &dyn Fn(&str) -> Shell) -> Vec<Shell> {
        let any = |of: &[&str]| {
            self.suites.is_empty() || self.suites.iter().any(|it| of.contains(&&**it))
        };
        let count = || cargo("--bin allocations");
        let mut res = Vec::new();
        if any(&COUNTED) {
            res.push(self.to_file(count()));
        }
        if cfg!(target_os = "linux") && any(&ON_SERVERS) {
            res.push(self.to_file(count().arg("--servers")));
        }
        res
    }

    fn options(&self, command: Shell) -> Shell {
        let command = if self.quick { command.arg("--quick") } else { command };
        self.to_file(command)
    }

    fn to_file(&self, command: Shell) -> Shell {
        match &self.json {
            Some(file) => command.arg("--json").arg(file.display().to_string()),
            None => command,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(args: &[&str]) -> Vec<String> {
        Asked::parse(args).unwrap().commands().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_suite_is_one_run() {
        assert_eq!(
            lines(&["--quick", "memory"]),
            ["cargo run --release --quiet --package benches --bin benches -- --quick memory"]
        );
    }

    #[test]
    fn the_facade_is_measured_with_each_feature_and_counted() {
        for args in [&[][..], &["memory", "facade"]] {
            let lines = lines(args);
            assert!(lines.len() >= 4, "{lines:#?}");
            assert!(lines[1].contains("--features tracing") && lines[1].ends_with("-- facade"));
            assert!(lines[2].contains("--features metrics") && lines[2].ends_with("-- facade"));
            assert!(lines[3].contains("--bin allocations"));
        }
    }

    #[test]
    fn instructions_are_counted_only_when_asked_for() {
        let lines = lines(&["instructions"]);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].contains("--bin instructions") && lines[1].contains("--bin allocations"));
        let lines = self::lines(&["memory", "instructions"]);
        assert!(lines[0].ends_with("-- memory") && lines[1].contains("--bin instructions"));
        assert!(!self::lines(&[]).iter().any(|it| it.contains("instructions")));
    }

    #[test]
    fn all_runs_write_to_the_file_as_the_caller_sees_it() {
        let lines = lines(&["--json", "out.json"]);
        let file = std::path::absolute("out.json").unwrap();
        assert!(lines.iter().all(|it| it.contains(&format!("--json {}", file.display()))));
        assert!(Asked::parse(&["--json"]).is_err());
    }

    #[test]
    fn report_measures_the_published_cases_several_times() {
        let lines = lines(&["--report"]);
        let passes: Vec<_> = lines.iter().filter(|it| it.contains("-- --published")).collect();
        assert_eq!(passes.len(), PASSES, "{lines:#?}");
        assert!(lines.iter().all(|it| it.contains("performance.json")), "{lines:#?}");
        assert!(lines.iter().any(|it| it.contains("--bin allocations")), "{lines:#?}");
        let quick = self::lines(&["--report", "--quick", "memory"]);
        assert_eq!(quick.len(), 1, "{quick:#?}");
        assert!(quick[0].contains("--published --quick") && quick[0].ends_with(" memory"));
        assert_eq!(self::lines(&["--report", "--passes", "2", "memory"]).len(), 2);
        assert!(Asked::parse(&["--report", "--passes", "two"]).is_err());
    }

    #[test]
    fn results_are_published_without_a_run() {
        let asked = Asked::parse(&["--report", "--from", "old.json"]).unwrap();
        assert_eq!(asked.from, Some(std::path::absolute("old.json").unwrap()));
        for args in [&["--from", "old.json"][..], &["--report", "--from", "old.json", "memory"]] {
            assert!(Asked::parse(args).is_err(), "{args:?}");
        }
        assert!(Asked::parse(&["--fast"]).is_err());
    }
}
