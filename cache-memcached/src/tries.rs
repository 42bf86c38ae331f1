//! Comparing and setting again, while others change the same entry.

use std::time::Duration;

use cache_core::{Clock, Error, ErrorKind, Result, store::jitter};

use crate::pool::Common;

/// The tries of one call, which have one deadline together.
pub(crate) struct Tries {
    clock: Clock,
    deadline: Duration,
    until: Duration,
    pause: Duration,
}

/// The first pause is as long as a round trip, about; each is twice the one before.
const PAUSE: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(20));

impl Tries {
    pub(crate) fn new(common: &Common) -> Self {
        let (clock, deadline) = (common.clock.clone(), common.plan.deadline);
        let until = clock.now().saturating_add(deadline);
        Self { clock, deadline, until, pause: PAUSE.0 }
    }

    /// Waits for a moment, each for another one, so that of several writers each has its turn.
    ///
    /// # Errors
    /// `TimedOut` at the deadline.
    pub(crate) async fn again(&mut self) -> Result<()> {
        if self.clock.now() >= self.until {
            return Err(self.late());
        }
        let pause = PAUSE.1.min(self.pause);
        self.pause = pause * 2;
        self.clock.sleep(jitter(pause)).await;
        Ok(())
    }

    fn late(&self) -> Error {
        let what = format!(
            "others changed the entry again and again, for longer than {:?}",
            self.deadline
        );
        Error::new(ErrorKind::TimedOut, what).ignored_by_breaker()
    }
}
