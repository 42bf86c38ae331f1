//! A broken rule.

use std::fmt;

#[cfg(test)]
use super::files::File;

/// One broken rule in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) path: String,
    /// From 1; 0 is the whole file.
    pub(super) line: usize,
    /// Says what is wrong, why that matters, and what to do.
    pub(super) message: String,
}

impl Violation {
    pub(super) fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Returns the lines of a file of this path and text that break a rule, for the tests of the rules.
#[cfg(test)]
pub(super) fn told(rule: impl Fn(&File) -> Vec<Violation>, path: &str, text: &str) -> Vec<usize> {
    rule(&File::new(path, text)).iter().map(|it| it.line).collect()
}
