//! The results of the checks.

use std::fmt;

use super::ages::Staleness;
use crate::history::{FaultRecord, Operation, millis};

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The promise, and how it was broken.
    pub message: String,
    /// The calls that show it, by their start.
    pub operations: Vec<Operation>,
    /// The faults meanwhile.
    pub faults: Vec<FaultRecord>,
}

/// The result of all checks.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The broken promises.
    pub violations: Vec<Violation>,
    /// The keys whose check was given up because it took too many steps.
    pub undecided: usize,
    /// How old the values were that reads returned.
    pub staleness: Staleness,
}

/// Prints times in milliseconds since the first of the calls.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        let origin = self.operations.first().map_or(0, |it| it.start);
        for it in &self.operations {
            let end = it.reply.as_ref().map_or("…".to_owned(), |it| millis(it.0, origin));
            writeln!(f, "  {:>10} – {end:>10}  {it}", millis(it.start, origin))?;
        }
        for it in &self.faults {
            let before =
                if it.start < origin { "earlier".into() } else { millis(it.start, origin) };
            write!(f, "  {before:>10} – {:>10}  fault: {:?}", millis(it.end, origin), it.fault)?;
            match it.process {
                Some(process) => writeln!(f, " of process {process}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
