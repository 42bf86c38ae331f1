//! Comparing and setting again, while others change the same entry.

use std::{mem, time::Duration};

use cache_core::{Clock, Error, ErrorKind, Result, store::jitter};

use crate::{moment::Applied, pool::Common};

/// The tries of one call, which have one deadline together.
pub(crate) struct Tries {
    clock: Clock,
    deadline: Duration,
    until: Duration,
    pause: Duration,
    /// Whether a try has already failed because the entry has to be read again.
    has_read_again: bool,
}

/// The first pause is as long as a round trip, about; each is twice the one before.
const PAUSE: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(20));

impl Tries {
    pub(crate) fn new(common: &Common) -> Self {
        let (clock, deadline) = (common.clock.clone(), common.plan.deadline);
        let until = clock.now().saturating_add(deadline);
        Self { clock, deadline, until, pause: PAUSE.0, has_read_again: false }
    }

    /// Returns whether the command was executed. Otherwise, the caller tries again after a pause.
    /// If the entry only has to be read again, there is no pause before the first such try: usually
    /// its read is valid. It is not on a server that evicts the clock entry again and again.
    ///
    /// # Errors
    /// `TimedOut` at the deadline.
    pub(crate) async fn is_over(&mut self, applied: Applied) -> Result<bool> {
        match applied {
            Applied::Done => return Ok(true),
            Applied::Changed => self.again().await?,
            Applied::ReadAgain if !mem::replace(&mut self.has_read_again, true) => {}
            Applied::ReadAgain => {
                let event =
                    "before each write, a connection was replaced or the clock entry was evicted";
                self.pause(event).await?;
            }
        }
        Ok(false)
    }

    /// Waits for a moment after another client has changed the entry.
    ///
    /// # Errors
    /// `TimedOut` at the deadline.
    pub(crate) async fn again(&mut self) -> Result<()> {
        self.pause("others changed the entry again and again").await
    }

    /// Waits for a moment, each for another one, so that of several writers each has its turn.
    async fn pause(&mut self, event: &str) -> Result<()> {
        if self.clock.now() >= self.until {
            return Err(self.late(event));
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

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use cache_core::testing::FakeClock;

    use super::*;

    #[test]
    fn reads_that_stay_invalid_are_repeated_after_pauses_until_the_deadline() {
        let time = FakeClock::new();
        let deadline = Duration::from_millis(500);
        let until = time.clock().now() + deadline;
        let (clock, pause) = (time.clock(), PAUSE.0);
        let mut tries = Tries { clock, deadline, until, pause, has_read_again: false };
        let mut cx = Context::from_waker(Waker::noop());
        let mut waits = 0;
        for n in 0..1000 {
            let mut step = pin!(tries.is_over(Applied::ReadAgain));
            match step.as_mut().poll(&mut cx) {
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(res) => {
                    let error = res.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    assert!(error.message().contains("the clock entry was evicted"), "{error}");
                    assert!(waits >= 25, "{waits} pauses of at most 20 ms in 500 ms");
                    return;
                }
                Poll::Pending => {
                    assert!(n > 0, "the first read is repeated at once");
                    waits += 1;
                    time.advance(PAUSE.1);
                    assert_eq!(step.poll(&mut cx).map(Result::unwrap), Poll::Ready(false));
                }
            }
        }
        panic!("it repeats reads without an end: {waits} pauses");
    }
}
