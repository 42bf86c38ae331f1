//! The cases: each number of entries, with figures per entry.

use std::time::Duration;

use crate::{
    harness::{Bench, Case, Side, Unit},
    suites::{file::settings::OURS, network::inputs::MANY},
};

/// A number of entries.
#[derive(Clone, Copy)]
pub(super) struct Number {
    pub(super) entries: usize,
    pub(super) name: &'static str,
    /// The name of `cache-file` with this number, compared with the smallest number.
    pub(super) grown: &'static str,
}

pub(super) const NUMBERS: [Number; 3] = [
    Number { entries: 1_000, name: "1k", grown: OURS },
    Number { entries: 50_000, name: "50k", grown: "at_50k_entries" },
    Number { entries: 500_000, name: "500k", grown: "at_500k_entries" },
];
/// The size of values.
pub(super) const SIZE: usize = 100;

impl Number {
    pub(super) fn case(self, what: &str) -> String {
        format!("at_{}_{what}", self.name)
    }

    /// Whether one of the cases with these names is requested.
    pub(super) fn is_wanted(self, bench: &Bench<'_>, whats: &[&str]) -> bool {
        whats.iter().any(|what| bench.wants(&self.case(what)))
    }
}

/// Turns the time of batches into a contender with the time of single entries.
pub(super) fn in_batches<'a>(
    name: &'static str,
    mut time: impl FnMut(u64) -> Duration + 'a,
) -> Side<'a> {
    Side::timed(name, move |count| {
        let made = count.div_ceil(MANY as u64);
        time(made).mul_f64(count as f64 / (made * MANY as u64) as f64)
    })
}

pub(super) fn case(name: String, size: usize) -> Case {
    Case::new(name, Unit::Nanos, size)
}

/// Returns the name of the case that compares `cache-file` with many entries and with few.
pub(super) fn growing(what: &str) -> String {
    format!("{what}_growing")
}
