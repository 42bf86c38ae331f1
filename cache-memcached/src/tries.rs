//! Comparing and setting again, while others change the same entry.

use std::time::Duration;

use cache_core::{Clock, Error, ErrorKind, Result, store::jitter};

use crate::{moment::Applied, pool::Common};

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

    /// Returns whether the command was executed. Otherwise, the caller tries again: after a pause
    /// if another client has changed the entry, and at once if it only has to be read again.
    ///
    /// # Errors
    /// `TimedOut` at the deadline.
    pub(crate) async fn is_over(&mut self, applied: Applied) -> Result<bool> {
        match applied {
            Applied::Done => return Ok(true),
            Applied::Changed => self.again().await?,
            Applied::ReadAgain if self.clock.now() >= self.until => {
                return Err(self.late(
                    "before each write, a connection was replaced or the clock entry was evicted",
                ));
            }
            Applied::ReadAgain => {}
        }
        Ok(false)
    }

    /// Waits for a moment, each for another one, so that of several writers each has its turn.
    ///
    /// # Errors
    /// `TimedOut` at the deadline.
    pub(crate) async fn again(&mut self) -> Result<()> {
        if self.clock.now() >= self.until {
            return Err(self.late("others changed the entry again and again"));
        }
        let pause = PAUSE.1.min(self.pause);
        self.pause = pause * 2;
        self.clock.sleep(jitter(pause)).await;
        Ok(())
    }

    fn late(&self, event: &str) -> Error {
        let what = format!("{event}, for longer than {:?}", self.deadline);
        Error::new(ErrorKind::TimedOut, what).ignored_by_breaker()
    }
}
