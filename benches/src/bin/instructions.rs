//! Counts the instructions of the calls of the suites `layers` and `facade`:
//! `instructions [--json FILE]`.
//!
//! Callgrind counts them, so `valgrind` must be installed. Unlike times, the counts do not depend
//! on other programs. The kernel's work is not counted: a system call is one instruction, and so is
//! each read of the clock, which is a system call under valgrind.

use std::{env, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use benches::{
    harness::{Bench, Contest, Effort, Report, Selection, Side, Unit},
    suites::counted,
};

/// Runs one side, in a process that callgrind watches.
const RUN: &str = "--run";
/// A short and a long run. The difference excludes the start of the program and the first call of
/// each key.
const CALLS: [u32; 2] = [1000, 2000];

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut report = match args[..] {
        [] => Report::new(None)?,
        ["--json", file] => Report::new(Some(Path::new(file)))?,
        [RUN, suite, contest, side, calls] => return run(suite, contest, side, calls.parse()?),
        _ => bail!("usage: instructions [--json FILE]"),
    };
    counted(|suite, contests| {
        let mut bench = Bench::new(suite, Selection::All, Effort::QUICK, &mut report);
        for (number, contest) in contests.into_iter().enumerate() {
            let sides = 0..contest.sides.len();
            let counts: Result<Vec<_>> =
                sides.map(|side| Ok(vec![count(suite, number, side)?])).collect();
            let names: Vec<&str> = contest.sides.iter().map(Side::name).collect();
            bench.tell(&contest.case.in_unit(Unit::Instructions), &names, &counts?)?;
        }
        Ok(())
    })
}

/// Runs the calls of one side.
fn run(suite: &str, contest: &str, side: &str, calls: u64) -> Result<()> {
    let (contest, side): (usize, usize) = (contest.parse()?, side.parse()?);
    counted(|name, mut contests: Vec<Contest<'_>>| {
        if name == suite {
            contests[contest].sides[side].time(calls);
        }
        Ok(())
    })
}

/// Returns the instructions per call.
fn count(suite: &str, contest: usize, side: usize) -> Result<f64> {
    let [short, long] = CALLS.map(|calls| callgrind(suite, contest, side, calls));
    Ok((long? - short?) / f64::from(CALLS[1] - CALLS[0]))
}

fn callgrind(suite: &str, contest: usize, side: usize, calls: u32) -> Result<f64> {
    let numbers = [contest.to_string(), side.to_string(), calls.to_string()];
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([RUN, suite])
        .args(numbers)
        .output()
        .context("cannot start `valgrind`: install the package of this name")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind failed:\n{text}");
    let count = text.lines().find_map(|it| it.split_once("Collected :"));
    Ok(count.with_context(|| format!("no count in:\n{text}"))?.1.trim().parse()?)
}
