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
    /// For how long a confirmation is good.
    good_for: Duration,
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
    pub(crate) fn new(
        beats: impl Iterator<Item = Beat>,
        confirmed: Duration,
        (deadline, good_for): (Duration, Duration),
    ) -> Self {
        let beats: Vec<_> = beats.collect();
        let lag = beats.iter().map(|it| it.took).max().unwrap_or_default();
        Self { deadline, good_for, last: Mutex::new(Last { beats, lag, confirmed }) }
    }

    /// Notes a heartbeat of the connection with this number.
    pub(crate) fn heard(&self, number: usize, beat: Beat) {
        let mut last = self.last();
        last.lag = beat.took;
        if let Some(last) = last.beats.get_mut(number) {
            *last = beat;
        }
    }

    /// Notes when a confirmation began. Returns whether it was the last one that was the oldest.
    pub(crate) fn confirmed(&self, began: Duration) -> bool {
        let mut last = self.last();
        let before = self.until(&last);
        last.confirmed = began;
        self.until(&last) != before
    }

    /// Returns the heartbeat of the stream: it is valid until the oldest of them is too old. When
    /// all is well, the next heartbeat of each connection is answered by then, and the next
    /// confirmation is there.
    pub(crate) fn heartbeat(&self, now: Duration) -> Heartbeat {
        let last = self.last();
        Heartbeat { lag: last.lag, valid_for: self.until(&last).saturating_sub(now) }
    }

    fn until(&self, last: &Last) -> Duration {
        // A reply that was read late counts as one at the deadline.
        let next = |it: &Beat| {
            let sent = it.sent.saturating_add(it.took.min(self.deadline));
            sent.saturating_add(HEARTBEAT).saturating_add(self.deadline)
        };
        let confirmed = last.confirmed.saturating_add(self.good_for);
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
        let freshness =
            Freshness::new([beat(10, 0), beat(11, 1)].into_iter(), secs(12), (secs(5), secs(4)));
        let valid = || freshness.heartbeat(secs(15)).valid_for.as_secs();
        assert_eq!(valid(), 1, "the first connection, and the confirmation");
        assert!(!freshness.confirmed(secs(13)));
        assert_eq!(valid(), 1, "the first connection");
        freshness.heard(0, beat(12, 1));
        assert_eq!(valid(), 2, "the confirmation");
        assert!(freshness.confirmed(secs(20)));
        assert_eq!(valid(), 3, "the second connection");
        freshness.heard(0, beat(20, 0));
        freshness.heard(1, beat(11, 9));
        let late = Heartbeat { lag: secs(9), valid_for: secs(2) };
        assert_eq!(freshness.heartbeat(secs(20)), late, "as if the reply had come at the deadline");
        assert_eq!(freshness.heartbeat(secs(30)).valid_for, secs(0));
    }
}
