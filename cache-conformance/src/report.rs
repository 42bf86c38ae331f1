use std::fmt;

/// What came of a run of the suite.
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) name: String,
    pub(crate) outcomes: Vec<(&'static str, Outcome)>,
}

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The promise holds, as far as a test can tell.
    Passed,
    /// It does not; why.
    Failed(String),
    /// It was not looked at; why.
    Skipped(String),
}

impl Report {
    /// All tests with their outcomes, in the order of the suite.
    pub fn outcomes(&self) -> &[(&'static str, Outcome)] {
        &self.outcomes
    }

    /// The names of the tests that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        self.names(|it| matches!(it, Outcome::Failed(_)))
    }

    /// The names of the tests that passed.
    pub fn passed(&self) -> Vec<&'static str> {
        self.names(|it| *it == Outcome::Passed)
    }

    /// The names of the tests that were not run.
    pub fn skipped(&self) -> Vec<&'static str> {
        self.names(|it| matches!(it, Outcome::Skipped(_)))
    }

    /// Ends the test that ran the suite.
    ///
    /// # Panics
    /// If a test failed, or none was run: a suite that is green because nothing ran proves nothing.
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
            "{} breaks {} promises:{}",
            self.name,
            failed.len(),
            failed.concat()
        );
        assert!(!self.passed().is_empty(), "no test of the suite was run against {}", self.name);
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
            name: "it".into(),
            outcomes: outcomes.iter().map(|it| ("test", it.clone())).collect(),
        }
    }

    #[test]
    #[should_panic(expected = "no test of the suite was run")]
    fn a_run_in_which_nothing_ran_fails() {
        report(&[Outcome::Skipped("why not".into())]).assert_passed();
    }

    #[test]
    #[should_panic(expected = "it breaks 1 promises:\n  test: odd")]
    fn a_failure_is_named() {
        report(&[Outcome::Passed, Outcome::Failed("odd".into())]).assert_passed();
    }
}
