//! Measures contenders in turn, and reports the results.

mod case;
mod figures;
mod report;
mod selection;
mod side;

pub use self::{
    case::{Case, Line, Unit},
    report::Report,
    selection::{Published, Selection},
    side::{Side, Took, on_threads, process_time, processor_time},
};

use std::time::Duration;

use anyhow::Result;

use self::figures::{median, median_ratio};

/// Runs the contests of one suite.
#[derive(Debug)]
pub struct Bench<'a> {
    suite: String,
    selection: Selection<'a>,
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
    /// For the published tables: several runs, each shorter than a full run.
    pub const PUBLISHED: Self =
        Self { rounds: 7, chunk: Duration::from_millis(25), requests: 2_000_000, quick: false };
    /// For a short test.
    pub const QUICK: Self =
        Self { rounds: 7, chunk: Duration::from_millis(8), requests: 300_000, quick: true };
}

impl<'a> Bench<'a> {
    /// Returns a bench for the selected cases of the suite of this name.
    pub fn new(
        suite: &str,
        selection: Selection<'a>,
        effort: Effort,
        report: &'a mut Report,
    ) -> Self {
        let mut suite = suite.to_owned();
        for (name, on) in
            [("metrics", cfg!(feature = "metrics")), ("tracing", cfg!(feature = "tracing"))]
        {
            if on {
                suite = format!("{suite}+{name}");
            }
        }
        Report::begin(&suite);
        Self { suite, selection, effort, report }
    }

    /// Returns the amount of measurement.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Returns whether any case of this name is selected.
    pub fn wants(&self, case: &str) -> bool {
        self.selection.has_name(case)
    }

    /// Returns whether any case of this name with values of this size is selected.
    pub fn wants_size(&self, case: &str, value_bytes: usize) -> bool {
        self.selection.has_size(case, value_bytes)
    }

    /// Measures the contenders in turn, A B C A B C …, after a warm-up round.
    pub fn run(&mut self, contest: Contest<'_>) -> Result<()> {
        let Contest { case, mut sides } = contest;
        if !self.selection.has(&case) {
            return Ok(());
        }
        let counts: Vec<u64> = sides.iter_mut().map(|it| it.calibrate(self.effort.chunk)).collect();
        let mut samples = vec![Vec::new(); sides.len()];
        let mut processors = samples.clone();
        for _ in 0..self.effort.rounds {
            for (i, side) in sides.iter_mut().enumerate() {
                let took = side.measure(counts[i]);
                samples[i].push(case.unit.figure(took.time, counts[i]));
                let cpu = took.processors;
                processors[i].extend(cpu.map(|it| Unit::ProcessorNanos.figure(it, counts[i])));
            }
        }
        let names: Vec<&str> = sides.iter().map(Side::name).collect();
        self.tell(&case, &names, &samples)?;
        if !case.has_cpu {
            return Ok(());
        }
        let here = |it: &(&str, Vec<f64>)| !it.1.is_empty();
        let (names, processors): (Vec<&str>, Vec<_>) =
            names.into_iter().zip(processors).filter(here).unzip();
        self.tell(&case.of_processors(), &names, &processors)
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
