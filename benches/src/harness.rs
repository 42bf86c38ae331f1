//! Measures contenders in turn, and reports what came of it.

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
    /// The only case that is wanted.
    only: Option<String>,
    effort: Effort,
    report: &'a mut Report,
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often all contenders run.
    pub rounds: usize,
    /// How long one of them runs at a time.
    pub chunk: Duration,
    /// How many requests a trace has.
    pub requests: usize,
    /// Whether to leave out what takes long.
    pub quick: bool,
}

/// Some contenders at one thing; the first is ours.
#[derive(Debug)]
pub struct Contest<'a> {
    /// What they do.
    pub case: Case,
    /// Who does it.
    pub sides: Vec<Side<'a>>,
}

impl Effort {
    /// For figures to publish.
    pub const FULL: Self =
        Self { rounds: 11, chunk: Duration::from_millis(40), requests: 2_000_000, quick: false };
    /// For a look.
    pub const QUICK: Self =
        Self { rounds: 7, chunk: Duration::from_millis(8), requests: 300_000, quick: true };
}

impl<'a> Bench<'a> {
    /// For the suite of that name, with what was built in; of one case alone if there is one.
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

    /// How long to measure.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Whether anybody wants this case: by its name, or by how its name begins, with `*` after that.
    pub fn wants(&self, case: &str) -> bool {
        self.only.as_ref().is_none_or(|it| match it.strip_suffix('*') {
            Some(start) => case.starts_with(start),
            None => it == case,
        })
    }

    /// Measures: each in its turn, A B C A B C …, after one round that only warms up.
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

    /// Reports what was measured otherwise: the samples of each contender, round by round, the first being ours.
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
