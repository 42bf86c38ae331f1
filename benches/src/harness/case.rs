//! A measured operation, and one line of results.

use std::time::Duration;

use serde::Serialize;

/// A measured operation.
#[derive(Clone, Debug)]
pub struct Case {
    pub(super) name: String,
    pub(super) runtime: &'static str,
    pub(super) tasks: usize,
    pub(super) value_bytes: usize,
    pub(super) unit: Unit,
    /// Whether the CPU time is also reported.
    pub(super) has_cpu: bool,
}

/// The unit of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds per operation.
    Nanos,
    /// Nanoseconds of CPU time per operation, of all threads of this process, without servers.
    ProcessorNanos,
    /// Operations per second, all tasks together.
    PerSecond,
    /// Bytes per entry in addition to its key and its value.
    BytesPerEntry,
    /// The fraction of requests that found a value.
    PercentHits,
    /// Allocations per operation.
    Allocations,
    /// Instructions per operation, without those of the kernel.
    Instructions,
    /// A number of these things, such as loads.
    Count(&'static str),
}

/// The results against one peer.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    pub(super) suite: &'a str,
    pub(super) case: &'a str,
    pub(super) runtime: &'a str,
    pub(super) tasks: usize,
    pub(super) value_bytes: usize,
    pub(super) ours: f64,
    pub(super) peer: &'a str,
    pub(super) theirs: f64,
    pub(super) unit: &'static str,
    pub(super) ratio: f64,
}

impl Case {
    /// Returns a case for one task in a current-thread runtime.
    pub fn new(name: impl Into<String>, unit: Unit, value_bytes: usize) -> Self {
        let (runtime, tasks, has_cpu) = ("current_thread", 1, false);
        Self { name: name.into(), runtime, tasks, value_bytes, unit, has_cpu }
    }

    /// Also reports the CPU time, as the case `…_cpu`, of the contenders that run in this process.
    #[must_use]
    pub fn with_cpu(self) -> Self {
        Self { has_cpu: true, ..self }
    }

    /// Runs on this many threads, without a runtime.
    #[must_use]
    pub fn on_threads(self, tasks: usize) -> Self {
        Self { runtime: "threads", tasks, ..self }
    }

    /// Runs as this many concurrent tasks in a runtime of this flavour.
    #[must_use]
    pub fn on_runtime(self, runtime: &'static str, tasks: usize) -> Self {
        Self { runtime, tasks, ..self }
    }

    /// Returns the case of its CPU time.
    pub(super) fn of_processors(&self) -> Self {
        let case = Self { name: format!("{}_cpu", self.name), ..self.clone() };
        case.in_unit(Unit::ProcessorNanos)
    }

    /// Returns the same operation in another unit.
    #[must_use]
    pub fn in_unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }
}

impl Unit {
    pub(super) fn is_better_higher(self) -> bool {
        matches!(self, Self::PerSecond | Self::PercentHits)
    }

    /// Returns the figure for this many operations in this time.
    pub(super) fn figure(self, time: Duration, count: u64) -> f64 {
        match self {
            Self::PerSecond => count as f64 / time.as_secs_f64(),
            _ => time.as_secs_f64() * 1e9 / count as f64,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nanos => "ns",
            Self::ProcessorNanos => "ns CPU",
            Self::PerSecond => "ops/s",
            Self::BytesPerEntry => "B/entry",
            Self::PercentHits => "% hits",
            Self::Allocations => "allocations",
            Self::Instructions => "instructions",
            Self::Count(things) => things,
        }
    }
}

impl<'a> Line<'a> {
    pub(super) fn new(
        suite: &'a str,
        case: &'a Case,
        ours: f64,
        peer: &'a str,
        theirs: f64,
        ratio: f64,
    ) -> Self {
        let Case { name, runtime, tasks, value_bytes, unit, .. } = case;
        Self {
            suite,
            case: name,
            runtime,
            tasks: *tasks,
            value_bytes: *value_bytes,
            ours: rounded(ours),
            peer,
            theirs: rounded(theirs),
            unit: unit.name(),
            ratio: rounded(ratio),
        }
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Formats the results as a row of a Markdown table.
    pub(super) fn row(&self) -> String {
        let Self { case, runtime, tasks, value_bytes, peer, .. } = self;
        let [ours, theirs] = [self.ours, self.theirs].map(|it| shown(it, self.unit));
        let ratio = self.ratio;
        format!(
            "| {case:22} | {runtime:14} | {tasks:>5} | {value_bytes:>5} | {ours:>16} | {peer:16} | {theirs:>16} | {ratio:>5.2} |"
        )
    }
}

pub(super) const HEAD: &str = "\
| case                   | runtime        | tasks | bytes |             ours | peer             |           theirs | ratio |
|------------------------|----------------|------:|------:|-----------------:|------------------|-----------------:|------:|";

/// Formats a figure with its significant digits; further digits are noise.
fn rounded(it: f64) -> f64 {
    (it * 1000.0).round() / 1000.0
}

fn shown(figure: f64, unit: &str) -> String {
    match unit {
        "ops/s" if figure >= 1e6 => format!("{:.2} M{unit}", figure / 1e6),
        "ops/s" => format!("{:.1} k{unit}", figure / 1e3),
        "ns" if figure >= 10_000.0 => format!("{:.1} µs", figure / 1e3),
        "ns CPU" if figure >= 10_000.0 => format!("{:.1} µs CPU", figure / 1e3),
        "B/entry" => format!("{figure:.0} {unit}"),
        "allocations" => format!("{figure:.2} allocs"),
        "instructions" => format!("{figure:.0} instrs"),
        _ => format!("{figure:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_has_these_keys_and_no_others() {
        let case = Case::new("get_bytes", Unit::Nanos, 89);
        let line = Line::new("facade", &case, 95.0, "quick_cache", 47.5, 0.5);
        assert_eq!(
            line.json().unwrap(),
            r#"{"suite":"facade","case":"get_bytes","runtime":"current_thread","tasks":1,"value_bytes":89,"ours":95.0,"peer":"quick_cache","theirs":47.5,"unit":"ns","ratio":0.5}"#
        );
    }

    #[test]
    fn a_row_fits_its_head() {
        let case = Case::new("get", Unit::PerSecond, 100).on_threads(4);
        let row = Line::new("memory", &case, 9_000_000.0, "moka", 1_600_000.0, 5.625).row();
        assert_eq!(row.chars().count(), HEAD.lines().next().unwrap().chars().count());
        assert!(row.contains("9.00 Mops/s") && row.contains("1.60 Mops/s"), "{row}");
    }

    #[test]
    fn a_line_names_its_runtime() {
        let case = Case::new("get_cpu", Unit::ProcessorNanos, 100).on_runtime("multi_thread", 64);
        let row = Line::new("redis", &case, 12_340.0, "redis", 940.0, 0.076).row();
        assert!(row.contains("multi_thread") && row.contains("|    64 |"), "{row}");
        assert!(row.contains("12.3 µs CPU") && row.contains("940.0 ns CPU"), "{row}");
    }

    #[test]
    fn figures_are_per_operation_or_per_second() {
        let second = Duration::from_secs(1);
        assert!((Unit::Nanos.figure(second, 1000) - 1e6).abs() < 1e-3);
        assert!((Unit::PerSecond.figure(second / 2, 1000) - 2000.0).abs() < 1e-9);
    }
}
