//! The ages of the values that reads returned.

/// The ages of the values of all reads that were checked, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Staleness {
    /// The number of reads that returned a value.
    pub reads: usize,
    /// The largest age of a value that the process of the read had replaced itself.
    pub own: u64,
    /// The ages above zero of values that another process had replaced, with whether a fault could
    /// have delayed the report.
    pub others: Vec<(u64, bool)>,
}

impl Staleness {
    /// Returns the age that this share of the stale reads does not exceed; zero without such reads.
    pub fn percentile(&self, share: f64, only_calm: bool) -> u64 {
        let ages = self.others.iter().filter(|it| it.1 || !only_calm);
        let mut ages: Vec<u64> = ages.map(|it| it.0).collect();
        ages.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length"
        )]
        let at = (share * ages.len() as f64).ceil() as usize;
        ages.get(at.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Returns the largest age of a value that another process had replaced.
    pub fn longest(&self) -> u64 {
        self.others.iter().map(|it| it.0).max().unwrap_or_default()
    }

    /// Adds the reads of another run.
    pub fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.own = self.own.max(other.own);
        self.others.extend(other.others);
    }

    /// Notes a read of a value that another process replaced so long before.
    pub(super) fn note(&mut self, age: u64, is_calm: bool) {
        self.others.push((age, is_calm));
    }
}
