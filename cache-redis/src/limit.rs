//! How large a value the server takes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Result};
use redis::Value;

use crate::{options::MAX_VALUE_LEN, reply};

/// What the settings allow, and what the server does: one that gets more closes the connection, with the calls of all others on it.
#[derive(Debug)]
pub(crate) struct Limit {
    configured: usize,
    clock: Clock,
    server: Mutex<Server>,
}

#[derive(Debug)]
struct Server {
    /// The most bytes.
    max: usize,
    /// Until when that holds, if the server was not asked for it and has refused one more byte.
    until: Option<Duration>,
    /// Whether it said so itself.
    is_known: bool,
    /// How often a connection was lost in turn with a large value under way.
    losses: u32,
    /// The same since the beginning.
    total_losses: u64,
}

/// The least that a server can be set to.
const MIN_SERVER_LIMIT: usize = 1 << 20;
/// What is in a server's buffer besides a value.
const OVERHEAD: usize = 64 << 10;
/// So many connections that were lost in turn with a large value under way mean that it is too large, if the server may not be asked.
const MAX_LOSSES: u32 = 2;
/// After which time a large value is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

impl Limit {
    pub(crate) fn new(configured: usize, clock: Clock) -> Self {
        let server =
            Server { max: default_max(), until: None, is_known: false, losses: 0, total_losses: 0 };
        Self { configured, clock, server: Mutex::new(server) }
    }

    /// An error if a value of so many bytes is too large. With what the library stores besides it has `stored` bytes, which is what
    /// the server counts.
    pub(crate) fn check(&self, len: usize, stored: usize) -> Result<()> {
        let (len, max, by) = if len > self.configured {
            (len, self.configured, "options.max_value_bytes")
        } else if stored >= MIN_SERVER_LIMIT - OVERHEAD && stored > self.server_max() {
            // Every server takes less.
            let by = "the server's proto-max-bulk-len or client-query-buffer-limit";
            (stored, self.server_max(), by)
        } else {
            return Ok(());
        };
        Err(Error::too_large(len, max as u64, by))
    }

    /// Notes what the server says to `CONFIG GET`, if it does.
    pub(crate) fn learn(&self, answer: Value) {
        let Ok(settings) = reply::pairs(answer) else { return };
        let setting = |name: &str| {
            let value = settings.iter().find(|it| it.0 == name).map(|it| &it.1);
            value
                .and_then(|it| it.parse::<u64>().ok())
                .map(|it| usize::try_from(it).unwrap_or(usize::MAX))
        };
        let bulk = setting("proto-max-bulk-len");
        let buffer = setting("client-query-buffer-limit").map(|it| it.saturating_sub(OVERHEAD));
        if let Some(max) = bulk.into_iter().chain(buffer).min() {
            let mut server = self.lock();
            (server.max, server.until, server.is_known, server.losses) = (max, None, true, 0);
        }
    }

    /// Notes what the server answered to a value of so many bytes. See [`lost`](Self::lost) for a server that did not.
    pub(crate) fn record_reply<T>(&self, len: usize, res: &Result<T>) {
        if len < MIN_SERVER_LIMIT - OVERHEAD {
            return;
        }
        let mut server = self.lock();
        match res {
            Ok(_) => server.losses = 0,
            Err(it) if it.kind() == ErrorKind::TooLarge => self.refuse(&mut server, len),
            Err(_) => {}
        }
    }

    /// Returns how many connections were lost with a large value under way, for a new connection to remember.
    pub(crate) fn loss_count(&self) -> u64 {
        self.lock().total_losses
    }

    /// Notes that a connection was lost with a value of so many bytes under way. Counts only if no other loss was counted since
    /// the connection was made, when [`losses`](Self::losses) was `before`: the end of a server ends all connections at once.
    pub(crate) fn record_loss(&self, len: usize, before: u64) {
        let mut server = self.lock();
        if len < MIN_SERVER_LIMIT - OVERHEAD || server.total_losses != before {
            return;
        }
        server.total_losses += 1;
        server.losses += 1;
        if server.losses >= MAX_LOSSES {
            self.refuse(&mut server, len);
        }
    }

    fn refuse(&self, server: &mut Server, len: usize) {
        server.losses = 0;
        if !server.is_known {
            server.max = server.max.min(len - 1);
            server.until = Some(self.clock.now().saturating_add(RETRY_AFTER));
        }
    }

    fn server_max(&self) -> usize {
        let mut server = self.lock();
        if server.until.is_some_and(|it| self.clock.now() >= it) {
            (server.max, server.until) = (default_max(), None);
        }
        server.max
    }

    fn lock(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server takes that is not set to anything.
fn default_max() -> usize {
    usize::try_from(MAX_VALUE_LEN).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use cache_core::testing::FakeClock;

    use super::*;

    const MIB: usize = 1 << 20;

    fn limit(configured: usize) -> (FakeClock, Limit) {
        let clock = FakeClock::new();
        let limit = Limit::new(configured, clock.clock());
        (clock, limit)
    }

    fn check(limit: &Limit, len: usize) -> Result<()> {
        limit.check(len, len)
    }

    fn said(settings: &[(&str, &str)]) -> Value {
        let text = |it: &str| Value::BulkString(it.into());
        Value::Array(settings.iter().flat_map(|it| [text(it.0), text(it.1)]).collect())
    }

    #[test]
    fn smaller_of_both_limits_counts_and_the_error_names_it() {
        let (_, limit) = limit(8 * MIB);
        assert!(check(&limit, 8 * MIB).is_ok());
        let error = check(&limit, 8 * MIB + 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.message().contains("options.max_value_bytes"), "{error}");
        limit
            .learn(said(&[("proto-max-bulk-len", "2097152"), ("client-query-buffer-limit", "0x")]));
        assert!(check(&limit, 2 * MIB).is_ok());
        let error = check(&limit, 2 * MIB + 1).unwrap_err();
        assert!(error.message().contains("proto-max-bulk-len"), "{error}");
        limit.learn(said(&[("client-query-buffer-limit", "1048576")]));
        assert!(check(&limit, MIB - OVERHEAD).is_ok() && check(&limit, MIB).is_err());
        limit.learn(Value::Nil);
        assert!(check(&limit, MIB).is_err(), "it said nothing else");
    }

    #[test]
    fn what_was_refused_is_not_sent_again_for_a_minute() {
        let (clock, limit) = limit(512 * MIB);
        let refused = Err::<(), _>(Error::new(ErrorKind::TooLarge, "refused"));
        limit.record_reply(3 * MIB, &refused);
        assert!(check(&limit, 3 * MIB).is_err() && check(&limit, 3 * MIB - 1).is_ok());
        clock.advance(RETRY_AFTER);
        assert!(check(&limit, 3 * MIB).is_ok());
    }

    #[test]
    fn losses_in_turn_with_a_large_value_mean_that_it_is_too_large() {
        let (_, limit) = limit(512 * MIB);
        // As on a connection that was made just now.
        let lost = |len| limit.record_loss(len, limit.loss_count());
        lost(2 * MIB);
        limit.record_reply(2 * MIB, &Ok(()));
        lost(100);
        lost(2 * MIB);
        assert!(check(&limit, 2 * MIB).is_ok());
        lost(2 * MIB);
        assert!(check(&limit, 2 * MIB).is_err());
        limit.learn(said(&[("proto-max-bulk-len", "536870912")]));
        (0..5).for_each(|_| lost(2 * MIB));
        assert!(check(&limit, 2 * MIB).is_ok(), "the server takes it");
    }

    #[test]
    fn outage_is_no_sign_that_a_value_is_too_large() {
        let (_, limit) = limit(512 * MIB);
        let before = limit.loss_count();
        // Many values on several connections, which end together, and calls that find no server.
        for _ in 0..10 {
            limit.record_loss(2 * MIB, before);
            let down = Error::new(ErrorKind::Unavailable, "cannot connect");
            limit.record_reply(2 * MIB, &Err::<(), _>(down));
        }
        assert!(check(&limit, 2 * MIB).is_ok());
    }
}
