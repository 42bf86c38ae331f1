//! The largest value that the server accepts.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Result};

use crate::{options::MAX_VALUE_LEN, reply, resp::Reply};

/// The limits of the settings and of the server. A server that receives a larger value closes the
/// connection, with the calls of all callers on it.
#[derive(Debug)]
pub(crate) struct Limit {
    configured: usize,
    clock: Clock,
    server: Mutex<Server>,
}

#[derive(Debug)]
struct Server {
    /// The limit in bytes.
    max: usize,
    /// When the limit ends, if it was derived from a rejected value instead of the server's
    /// settings.
    until: Option<Duration>,
    /// Whether the limit is from the server's settings.
    is_known: bool,
    /// How many connections in a row were lost while a large value was in flight.
    losses: u32,
    /// How many connections were lost in total while a large value was in flight.
    total_losses: u64,
}

/// The smallest limit that a server can have.
const MIN_SERVER_LIMIT: usize = 1 << 20;
/// The part of the server's buffer that is not available for the value.
const OVERHEAD: usize = 64 << 10;
/// If the server's settings cannot be read, this many lost connections in a row with a large value
/// in flight mean that the value is too large.
const MAX_LOSSES: u32 = 2;
/// The time after which a large value is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

impl Limit {
    pub(crate) fn new(configured: usize, clock: Clock) -> Self {
        let server =
            Server { max: default_max(), until: None, is_known: false, losses: 0, total_losses: 0 };
        Self { configured, clock, server: Mutex::new(server) }
    }

    /// Returns `TooLarge` if a value of `len` bytes is too large. The server counts `stored` bytes,
    /// which include the header of this library.
    pub(crate) fn check(&self, len: usize, stored: usize) -> Result<()> {
        let (len, max, by) = if len > self.configured {
            (len, self.configured, "options.max_value_bytes")
        } else if stored >= MIN_SERVER_LIMIT - OVERHEAD && stored > self.server_max() {
            // Every server accepts a smaller value.
            let by = "the server's proto-max-bulk-len or client-query-buffer-limit";
            (stored, self.server_max(), by)
        } else {
            return Ok(());
        };
        Err(Error::too_large(len, max as u64, by))
    }

    /// Takes the limit from the reply to `CONFIG GET`, unless the server refused the command.
    pub(crate) fn learn(&self, answer: Reply) {
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

    /// Records the result of a write of `len` bytes. If the connection was lost, see
    /// [`record_loss`](Self::record_loss).
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

    /// Returns how many connections were lost while a large value was in flight. A new connection
    /// keeps this number for [`record_loss`](Self::record_loss).
    pub(crate) fn loss_count(&self) -> u64 {
        self.lock().total_losses
    }

    /// Records that a connection was lost while a value of `len` bytes was in flight. `before` is
    /// the [`loss_count`](Self::loss_count) from when the connection was made. If the count has
    /// changed since, the loss is not counted: a server that stops ends all connections at once.
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

/// The server's limit if its settings are unknown.
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

    fn config(settings: &[(&str, &str)]) -> Reply {
        let text = |it: &str| Reply::Bulk(it.to_owned().into());
        Reply::Array(settings.iter().flat_map(|it| [text(it.0), text(it.1)]).collect())
    }

    #[test]
    fn smaller_of_both_limits_applies_and_the_error_names_it() {
        let (_, limit) = limit(8 * MIB);
        assert!(check(&limit, 8 * MIB).is_ok());
        let error = check(&limit, 8 * MIB + 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.message().contains("options.max_value_bytes"), "{error}");
        limit.learn(config(&[
            ("proto-max-bulk-len", "2097152"),
            ("client-query-buffer-limit", "0x"),
        ]));
        assert!(check(&limit, 2 * MIB).is_ok());
        let error = check(&limit, 2 * MIB + 1).unwrap_err();
        assert!(error.message().contains("proto-max-bulk-len"), "{error}");
        limit.learn(config(&[("client-query-buffer-limit", "1048576")]));
        assert!(check(&limit, MIB - OVERHEAD).is_ok() && check(&limit, MIB).is_err());
        limit.learn(Reply::Nil);
        assert!(check(&limit, MIB).is_err(), "an empty reply changes nothing");
    }

    #[test]
    fn rejected_size_is_not_sent_again_for_a_minute() {
        let (clock, limit) = limit(512 * MIB);
        let refused = Err::<(), _>(Error::new(ErrorKind::TooLarge, "refused"));
        limit.record_reply(3 * MIB, &refused);
        assert!(check(&limit, 3 * MIB).is_err() && check(&limit, 3 * MIB - 1).is_ok());
        clock.advance(RETRY_AFTER);
        assert!(check(&limit, 3 * MIB).is_ok());
    }

    #[test]
    fn repeated_losses_with_a_large_value_make_it_too_large() {
        let (_, limit) = limit(512 * MIB);
        // The loss of a new connection.
        let lose = |len| limit.record_loss(len, limit.loss_count());
        lose(2 * MIB);
        limit.record_reply(2 * MIB, &Ok(()));
        lose(100);
        lose(2 * MIB);
        assert!(check(&limit, 2 * MIB).is_ok());
        lose(2 * MIB);
        assert!(check(&limit, 2 * MIB).is_err());
        limit.learn(config(&[("proto-max-bulk-len", "536870912")]));
        (0..5).for_each(|_| lose(2 * MIB));
        assert!(check(&limit, 2 * MIB).is_ok(), "the server accepts it");
    }

    #[test]
    fn outage_does_not_make_a_value_too_large() {
        let (_, limit) = limit(512 * MIB);
        let before = limit.loss_count();
        // Several connections with large values are lost at once, then calls fail to connect.
        for _ in 0..10 {
            limit.record_loss(2 * MIB, before);
            let down = Error::new(ErrorKind::Unavailable, "cannot connect");
            limit.record_reply(2 * MIB, &Err::<(), _>(down));
        }
        assert!(check(&limit, 2 * MIB).is_ok());
    }
}
