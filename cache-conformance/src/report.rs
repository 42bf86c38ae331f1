use std::fmt;

/// The outcomes of one run of the suite.
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) name: String,
    pub(crate) outcomes: Vec<(&'static str, Outcome)>,
}

/// The outcome of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store kept the promise.
    Passed,
    /// The store broke the promise: what was expected, and what came.
    Failed(String),
    /// The test did not run, for this reason.
    Skipped(String),
}

impl Report {
    /// Returns all tests with their outcomes, in the order of the suite.
    pub fn outcomes(&self) -> &[(&'static str, Outcome)] {
        &self.outcomes
    }

    /// Returns the names of the tests that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        self.names(|it| matches!(it, Outcome::Failed(_)))
    }

    /// Returns the names of the tests that passed.
    pub fn passed(&self) -> Vec<&'static str> {
        self.names(|it| *it == Outcome::Passed)
    }

    /// Returns the names of the tests that were skipped.
    pub fn skipped(&self) -> Vec<&'static str> {
        self.names(|it| matches!(it, Outcome::Skipped(_)))
    }

    /// Asserts that no test failed and at least one ran.
    ///
    /// # Panics
    /// If a test failed, or every test was skipped: such a run proves nothing.
    pub fn assert_passed(&self) {
        let failed: Vec<_> = self
            .outcomes
            .iter()
            .filter_map(|(name, it)| match it {
                Outcome::Failed(why) => Some(format!("\n  {name}: {why}")),
                _ => None,
            })
            .collect();
        assert!(
            failed.is_empty(),
            "{} failed {} conformance tests:{}",
            self.name,
            failed.len(),
            failed.concat()
        );
        assert!(
            !self.passed().is_empty(),
            "no conformance test ran against {}: all were skipped",
            self.name
        );
    }

    fn names(&self, which: impl Fn(&Outcome) -> bool) -> Vec<&'static str> {
        self.outcomes.iter().filter(|(_, it)| which(it)).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("ok"),
            Self::Failed(why) => write!(f, "FAILED: {why}"),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &[Outcome]) -> Report {
        Report {
            name: "store".into(),
            outcomes: outcomes.iter().map(|outcome| ("test", outcome.clone())).collect(),
        }
    }

    #[test]
    #[should_panic(expected = "no conformance test ran against store")]
    fn run_without_a_passed_test_fails() {
        report(&[Outcome::Skipped("reason".into())]).assert_passed();
    }

    #[test]
    #[should_panic(expected = "store failed 1 conformance tests:\n  test: reason")]
    fn failed_test_is_named_with_its_reason() {
        report(&[Outcome::Passed, Outcome::Failed("reason".into())]).assert_passed();
    }
}
