//! Sessions that ended with unanswered writes, until the server has ended them, too.
//!
//! A write may arrive long after its connection was aborted: something on the way held it, or the
//! server was frozen. It must not arrive after writes that were acknowledged on another connection.
//! So before the next write the server ends the session by its process id. The start time tells the
//! session from a later one with the same id.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cache_core::Clock;
use tokio_postgres::{Client, Error as PgError, error::SqlState};

/// A session of this process at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) pid: i32,
    /// Microseconds since 1970.
    pub(crate) began: i64,
}

/// The sessions to end, each with the time at which it was added.
#[derive(Debug, Default)]
pub(crate) struct Abandoned {
    sessions: Mutex<Vec<(Session, Duration)>>,
    is_any: AtomicBool,
    /// Callers that need the sessions ended take turns.
    ending: tokio::sync::Mutex<()>,
}

/// Returns the session of this connection.
pub(crate) const CURRENT_SESSION: &str = "SELECT pid, (date_part('epoch', backend_start) * 1000000)::bigint FROM pg_stat_activity \
                                WHERE pid = pg_backend_pid()";
/// Ends the sessions that still exist, and returns them. A pooler may have assigned one to another
/// client: if to one of this library, this client reconnects; if to another program, its
/// application name differs.
const END_SESSIONS: &str = "SELECT a.pid, pg_terminate_backend(a.pid) FROM pg_stat_activity a \
                   JOIN unnest($1::int4[], $2::int8[]) AS s (pid, began) \
                   ON a.pid = s.pid AND (date_part('epoch', a.backend_start) * 1000000)::bigint = s.began \
                   WHERE a.usename = session_user AND a.application_name = current_setting('application_name') \
                   AND a.pid <> pg_backend_pid()";
/// The server ends a session at its next step. If a session lives longer than this, its process is
/// frozen; it runs no further statement when it goes on.
const LONGEST: Duration = Duration::from_secs(10);

impl Abandoned {
    /// Records a session.
    pub(crate) fn add(&self, session: Session, now: Duration) {
        let mut sessions = self.lock();
        if !sessions.iter().any(|(it, _)| *it == session) {
            sessions.push((session, now));
        }
        self.is_any.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::SeqCst)
    }

    /// Waits for the caller's turn.
    pub(crate) async fn lock_ending(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.ending.lock().await
    }

    /// Ends all sessions and forgets those that have ended. If the user lacks the privilege,
    /// forgets them all.
    pub(crate) async fn end(&self, client: &Client, clock: &Clock) -> Result<(), PgError> {
        let (pids, began): (Vec<i32>, Vec<i64>) =
            self.lock().iter().map(|(it, _)| (it.pid, it.began)).unzip();
        match client.query(END_SESSIONS, &[&pids, &began]).await {
            Ok(rows) => {
                let left: Vec<i32> = rows.iter().filter_map(|it| it.try_get(0).ok()).collect();
                self.keep(clock.now(), |it| left.contains(&it.pid) || !pids.contains(&it.pid));
            }
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                self.keep(clock.now(), |it| !pids.contains(&it.pid));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn keep(&self, now: Duration, is_left: impl Fn(&Session) -> bool) {
        let mut sessions = self.lock();
        sessions.retain(|(it, since)| is_left(it) && now.saturating_sub(*since) < LONGEST);
        self.is_any.store(!sessions.is_empty(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Session, Duration)>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
