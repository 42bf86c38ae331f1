//! A run of named, timed steps. All steps run, so a single run shows all failures.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::shell::Shell;

#[derive(Debug, Default)]
pub(crate) struct Report {
    done: Vec<Done>,
}

#[derive(Debug)]
struct Done {
    name: String,
    took: Duration,
    /// The command that repeats the step, if it failed.
    failed: Option<String>,
}

impl Report {
    /// Runs a step. `by_hand` is the command that repeats it alone.
    pub(crate) fn step(&mut self, name: &str, by_hand: &str, work: impl FnOnce() -> Result<()>) {
        println!("\n== {name}: {by_hand}");
        let start = Instant::now();
        let res = work();
        let took = start.elapsed();
        let failed = res.err().map(|err| {
            eprintln!("{err:#}");
            by_hand.to_owned()
        });
        let verdict = if failed.is_some() { "FAILED" } else { "ok" };
        println!("== {name}: {verdict} ({:.1} s)", took.as_secs_f64());
        self.done.push(Done { name: name.to_owned(), took, failed });
    }

    /// Runs a step that is one command.
    pub(crate) fn command(&mut self, name: &str, command: &Shell) {
        self.step(name, &command.to_string(), || command.run());
    }

    /// Prints the times. Returns an error if a step failed, or if no step ran.
    pub(crate) fn finish(self) -> Result<()> {
        println!();
        for Done { name, took, failed } in &self.done {
            let verdict = if failed.is_some() { "FAILED" } else { "ok" };
            println!("{verdict:6} {:6.1} s  {name}", took.as_secs_f64());
        }
        let failed: Vec<String> = self
            .done
            .iter()
            .filter_map(|it| Some(format!("\n  {}: {}", it.name, it.failed.as_ref()?)))
            .collect();
        match (self.done.len(), failed.len()) {
            (0, _) => bail!("no step ran"),
            (_, 0) => Ok(()),
            (all, _) => {
                bail!("{} of {all} steps failed; by hand:{}", failed.len(), failed.concat())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_steps_run_and_failures_name_the_command() {
        let mut report = Report::default();
        let mut ran = 0;
        report.step("first", "cargo one", || bail!("broken"));
        report.step("second", "cargo two", || {
            ran += 1;
            Ok(())
        });
        assert_eq!(ran, 1);
        let text = report.finish().unwrap_err().to_string();
        assert_eq!(text, "1 of 2 steps failed; by hand:\n  first: cargo one");
    }

    #[test]
    fn a_run_without_steps_is_no_success() {
        assert!(Report::default().finish().is_err());
    }
}
