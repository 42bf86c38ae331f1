//! Waiting for events in other processes.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Waits until a condition holds.
///
/// # Errors
/// If the condition does not hold within `limit`; `what` names the event in the error.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    poll(what, limit, || Ok(condition().then_some(())))
}

/// Calls `attempt` until it returns a value or an error.
pub(crate) fn poll<T>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {:.1} s", limit.as_secs_f64());
        }
        // sleeps: other programs emit no event; the interval grows with the wait
        thread::sleep(pause);
        pause = (pause * 5 / 4).min(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_ends_when_the_condition_holds() {
        let mut calls = 0;
        let condition = || {
            calls += 1;
            calls == 3
        };
        wait_until("the third time", Duration::from_secs(10), condition).unwrap();
        assert_eq!(calls, 3);
    }

    #[test]
    fn timeout_names_the_event() {
        let err = wait_until("rain", Duration::from_millis(100), || false).unwrap_err();
        assert_eq!(err.to_string(), "rain: not within 0.1 s");
    }
}
