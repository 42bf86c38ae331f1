//! The suites, one file each.

pub mod facade;
pub mod memory;

use anyhow::Result;

use crate::harness::Bench;

/// Contests about one part of the library.
#[derive(Debug)]
pub struct Suite {
    /// By which it is asked for.
    pub name: &'static str,
    /// Measures and reports.
    pub run: fn(&mut Bench<'_>) -> Result<()>,
}

/// All of them, in the order in which they run.
pub const SUITES: &[Suite] = &[
    Suite { name: facade::NAME, run: facade::run },
    Suite { name: memory::NAME, run: memory::run },
];
