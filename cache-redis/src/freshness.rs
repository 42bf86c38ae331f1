//! Until when the messages of a stream are known to be complete.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cache_core::store::Heartbeat;

use crate::subscription::{Beat, HEARTBEAT};

/// The last heartbeats of a stream, and the last confirmation that its servers take the writes.
#[derive(Debug)]
pub(crate) struct Freshness {
    /// The time within which a server replies.
    deadline: Duration,
    /// For how long a confirmation is valid.
    confirmation_valid_for: Duration,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    /// Of each connection.
    beats: Vec<Beat>,
    /// The duration of the last heartbeat.
    lag: Duration,
    /// When the last confirmation began.
    confirmed: Duration,
}

impl Freshness {
    /// Begins with the first heartbeat of each connection, and the beginning of the first
    /// confirmation.
    pub(crate) fn new(
        beats: Vec<Beat>,
        deadline: Duration,
        confirmed: Duration,
        confirmation_valid_for: Duration,
    ) -> Self {
        let lag = beats.iter().map(|it| it.took).max().unwrap_or_default();
        let last = Mutex::new(Last { beats, lag, confirmed });
        Self { deadline, confirmation_valid_for, last }
    }

    /// Notes a heartbeat of the connection with this number.
    pub(crate) fn heard(&self, number: usize, beat: Beat) {
        let mut last = self.last();
        last.lag = beat.took;
        if let Some(last) = last.beats.get_mut(number) {
            *last = beat;
        }
    }

    /// Notes when a confirmation began. Returns whether the stream is valid for longer by it.
    pub(crate) fn confirmed(&self, began: Duration) -> bool {
        let mut last = self.last();
        let before = self.valid_until(&last);
        last.confirmed = began;
        self.valid_until(&last) > before
    }

    /// Returns the heartbeat of the whole stream.
    pub(crate) fn heartbeat(&self) -> Heartbeat {
        let last = self.last();
        Heartbeat { lag: last.lag, valid_until: self.valid_until(&last) }
    }

    /// When all is well, the next heartbeat of each connection is answered by then, and the next
    /// confirmation is there. A reply that was read late counts as one at the deadline.
    fn valid_until(&self, last: &Last) -> Duration {
        let next = |it: &Beat| {
            let answered = it.sent.saturating_add(it.took.min(self.deadline));
            answered.saturating_add(HEARTBEAT).saturating_add(self.deadline)
        };
        let confirmed = last.confirmed.saturating_add(self.confirmation_valid_for);
        last.beats.iter().map(next).fold(confirmed, Duration::min)
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_sign_of_life_counts() {
        let secs = Duration::from_secs;
        let beat = |sent, took| Beat { sent: secs(sent), took: secs(took) };
        let freshness = Freshness::new(vec![beat(10, 0), beat(11, 1)], secs(5), secs(12), secs(4));
        let until = || freshness.heartbeat().valid_until.as_secs();
        assert_eq!(until(), 16, "the first connection, and the confirmation");
        assert!(!freshness.confirmed(secs(13)));
        assert_eq!(until(), 16, "the first connection");
        freshness.heard(0, beat(12, 1));
        assert_eq!(until(), 17, "the confirmation");
        assert!(freshness.confirmed(secs(90)));
        assert_eq!(until(), 18, "the second connection");
        freshness.heard(0, beat(80, 0));
        freshness.heard(1, beat(11, 9));
        let late = Heartbeat { lag: secs(9), valid_until: secs(22) };
        assert_eq!(freshness.heartbeat(), late, "as if the reply had come at the deadline");
    }
}
