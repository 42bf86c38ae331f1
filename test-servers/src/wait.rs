//! Waiting for something to happen elsewhere.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Asks again and again until the answer is yes. What cannot be asked yet is a no.
///
/// # Errors
/// If it is still no when `limit` has passed; `what` names the event in the error.
pub fn wait_until(what: &str, limit: Duration, mut ask: impl FnMut() -> bool) -> Result<()> {
    poll(what, limit, || Ok(ask().then_some(())))
}

/// Asks again and again until there is an answer, or an error.
pub(crate) fn poll<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {:.1} s", limit.as_secs_f64());
        }
        // sleeps: other programs have no signal to wait for; what takes long is asked less often
        thread::sleep(pause);
        pause = (pause * 5 / 4).min(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_comes_is_waited_for() {
        let mut asked = 0;
        let ask = || {
            asked += 1;
            asked == 3
        };
        wait_until("the third time", Duration::from_secs(10), ask).unwrap();
        assert_eq!(asked, 3);
    }

    #[test]
    fn an_event_that_does_not_come_is_named() {
        let err = wait_until("rain", Duration::from_millis(100), || false).unwrap_err();
        assert_eq!(err.to_string(), "rain: not within 0.1 s");
    }
}
