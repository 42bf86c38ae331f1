//! `cargo xtask bench`: measures the caches.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{machine, shell::Shell};

/// The suite that is also run with each feature that observes, and whose allocations are counted.
const FACADE: &str = "facade";
/// Counts instructions, which needs valgrind, and allocations.
const INSTRUCTIONS: &str = "instructions";
/// The suites whose allocations are counted.
const COUNTED: [&str; 3] = [FACADE, "layers", INSTRUCTIONS];

pub(crate) fn run(args: &[&str]) -> Result<()> {
    let asked = Asked::parse(args)?;
    if let Some(file) = &asked.json
        && file.exists()
    {
        // Each benchmark program appends to the file.
        fs::remove_file(file).with_context(|| file.display().to_string())?;
    }
    println!("{}", machine::describe()?);
    asked.commands().iter().try_for_each(Shell::run)
}

/// The options of the command line.
#[derive(Debug, Default)]
struct Asked {
    quick: bool,
    json: Option<PathBuf>,
    /// If empty, all suites run.
    suites: Vec<String>,
}

impl Asked {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut res = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--quick" => res.quick = true,
                "--json" => {
                    let file = args.next().context("--json needs a file")?;
                    // Relative to the caller's folder: commands run in the workspace's root.
                    res.json = Some(std::path::absolute(file)?);
                }
                // The benchmark program checks the names.
                suite => res.suites.push(suite.to_owned()),
            }
        }
        Ok(res)
    }

    fn commands(&self) -> Vec<Shell> {
        // Built alone, so that other members do not turn on features.
        let cargo = |args: &str| {
            Shell::new(&format!("cargo run --release --quiet --package benches {args} --"))
        };
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
        if self.suites.is_empty() || self.suites.iter().any(|it| COUNTED.contains(&&**it)) {
            res.push(self.to_file(cargo("--bin allocations")));
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
            assert_eq!(lines.len(), 4, "{lines:#?}");
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
}
