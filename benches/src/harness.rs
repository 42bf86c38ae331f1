//! Measures contenders in turn, and reports the results.

mod case;
mod figures;
mod report;
mod side;

pub use self::{
    case::{Case, Line, Unit},
    report::Report,
    side::{Side, on_threads, process_time, processor_time},
};

use std::time::Duration;

use anyhow::Result;

use self::figures::{median, median_ratio};

/// Runs the contests of one suite.
#[derive(Debug)]
pub struct Bench<'a> {
    suite: String,
    /// The only case to run, if set.
    only: Option<String>,
    effort: Effort,
    report: &'a mut Report,
}

/// The amount of measurement.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The number of rounds in which all contenders run.
    pub rounds: usize,
    /// How long a contender runs in a round.
    pub chunk: Duration,
    /// The number of requests of a trace.
    pub requests: usize,
    /// Whether to skip long cases.
    pub quick: bool,
}

/// Contenders of one case; the first is ours.
#[derive(Debug)]
pub struct Contest<'a> {
    /// The case.
    pub case: Case,
    /// The contenders.
    pub sides: Vec<Side<'a>>,
}

impl Effort {
    /// For published figures.
    pub const FULL: Self =
        Self { rounds: 11, chunk: Duration::from_millis(40), requests: 2_000_000, quick: false };
    /// For a short test.
    pub const QUICK: Self =
        Self { rounds: 7, chunk: Duration::from_millis(8), requests: 300_000, quick: true };
}

impl<'a> Bench<'a> {
    /// Returns a bench for the suite of this name, limited to one case if given.
    pub fn new(suite: &str, only: Option<&str>, effort: Effort, report: &'a mut Report) -> Self {
        let mut suite = suite.to_owned();
        for (name, on) in
            [("metrics", cfg!(feature = "metrics")), ("tracing", cfg!(feature = "tracing"))]
        {
            if on {
                suite = format!("{suite}+{name}");
            }
        }
        Report::begin(&suite);
        Self { suite, only: only.map(String::from), effort, report }
    }

    /// Returns the amount of measurement.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Returns whether this case is selected: by its name, or by a prefix with `*`.
    pub fn wants(&self, case: &str) -> bool {
        self.only.as_ref().is_none_or(|it| match it.strip_suffix('*') {
            Some(start) => case.starts_with(start),
            None => it == case,
        })
    }

    /// Measures the contenders in turn, A B C A B C …, after a warm-up round.
    pub fn run(&mut self, contest: Contest<'_>) -> Result<()> {
        let Contest { case, mut sides } = contest;
        if !self.wants(&case.name) {
            return Ok(());
        }
        let counts: Vec<u64> = sides.iter_mut().map(|it| it.calibrate(self.effort.chunk)).collect();
        let mut samples = vec![Vec::new(); sides.len()];
        for _ in 0..self.effort.rounds {
            for ((side, count), samples) in sides.iter_mut().zip(&counts).zip(&mut samples) {
                samples.push(case.unit.figure(side.time(*count), *count));
            }
        }
        let names: Vec<&str> = sides.iter().map(Side::name).collect();
        self.tell(&case, &names, &samples)
    }

    /// Reports samples that were measured elsewhere: those of each contender, round by round; the
    /// first contender is ours.
    pub fn tell(&mut self, case: &Case, names: &[&str], samples: &[Vec<f64>]) -> Result<()> {
        let Some((ours, others)) = samples.split_first() else { return Ok(()) };
        for (peer, theirs) in names.iter().skip(1).zip(others) {
            let ratio = median_ratio(ours, theirs, case.unit.is_better_higher());
            let line = Line::new(&self.suite, case, median(ours), peer, median(theirs), ratio);
            self.report.add(&line)?;
        }
        Ok(())
    }
}
