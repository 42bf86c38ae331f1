//! Whether a connection still works, judged by its replies.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The replies on a connection. A connection that is frozen or half open gives no error; only the
/// time without a reply tells.
pub(crate) struct Liveness {
    deadline: Duration,
    replies: AtomicU64,
    /// When the last reply arrived, in milliseconds.
    last_reply: AtomicU64,
}

/// A period without a reply, although a call waited for one.
#[derive(Clone, Copy)]
pub(crate) struct Silence {
    /// The number of replies before.
    after: u64,
    since: Duration,
    /// Whether a call has waited for its whole deadline.
    unanswered: bool,
}

/// The judgement about a connection after a call without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Alive,
    /// Only a ping can tell.
    Doubtful,
    Dead,
}

/// A connection without a reply for a deadline plus this part of a second one is frozen or half
/// open, and is replaced. After an unanswered call a circuit breaker allows the next calls this
/// much time, and opens if they get no reply either. A half-open connection to a healthy server
/// should be replaced before.
const GRACE_DIVISOR: u32 = 5;
/// A connection without a reply for this many deadlines, the last of them that of its first
/// unanswered call, is replaced at once: a NAT or a firewall may have forgotten it while it was
/// idle.
const STALE_DEADLINES: u32 = 3;

impl Liveness {
    /// `deadline` is the time within which a reply is expected.
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { deadline, replies: AtomicU64::new(0), last_reply: AtomicU64::new(0) }
    }

    /// Returns the number of replies so far.
    pub(crate) fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    /// Records a reply.
    pub(crate) fn reply(&self, now: Duration) {
        self.replies.fetch_add(1, Ordering::Relaxed);
        self.reset(now);
    }

    /// Starts the time without a reply again, for a new connection.
    pub(crate) fn reset(&self, now: Duration) {
        let millis = now.as_millis().try_into().unwrap_or(u64::MAX);
        self.last_reply.store(millis, Ordering::Relaxed);
    }

    /// Returns how long ago the last reply arrived.
    pub(crate) fn quiet_for(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.last_reply.load(Ordering::Relaxed)))
    }

    /// Judges a call that got no reply within `limit`. There were `before` replies when it began.
    pub(crate) fn unanswered(
        &self,
        silence: &mut Option<Silence>,
        before: u64,
        now: Duration,
        limit: Duration,
    ) -> Verdict {
        if self.replies() != before {
            return Verdict::Alive;
        }
        let since = match silence {
            Some(it) if it.after == before => it.since,
            _ => now.saturating_sub(limit),
        };
        *silence = Some(Silence { after: before, since, unanswered: true });
        let is_stale = self.quiet_for(now) >= self.deadline.saturating_mul(STALE_DEADLINES);
        if is_stale || self.is_too_long(now.saturating_sub(since)) {
            Verdict::Dead
        } else {
            Verdict::Alive
        }
    }

    /// Judges a call that was dropped before its reply. There were `before` replies when it began.
    /// If every caller waits for less than the deadline, no call ever counts as unanswered.
    pub(crate) fn dropped(
        &self,
        silence: &mut Option<Silence>,
        before: u64,
        now: Duration,
    ) -> Verdict {
        if self.replies() != before {
            return Verdict::Alive;
        }
        let current = match *silence {
            Some(it) if it.after == before => it,
            _ => Silence { after: before, since: now, unanswered: false },
        };
        *silence = Some(current);
        let time = now.saturating_sub(current.since);
        if current.unanswered && self.is_too_long(time) {
            Verdict::Dead
        } else if time < self.deadline {
            Verdict::Alive
        } else {
            Verdict::Doubtful
        }
    }

    fn is_too_long(&self, time: Duration) -> bool {
        time >= self.deadline.saturating_add(self.deadline / GRACE_DIVISOR)
    }
}
