//! When a slot makes and when it replaces its connection, with a fake clock.

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use cache_core::{Error, ErrorKind, Result, store::SharedDeadline, testing::FakeClock};
use cache_net::{ConnectionSlot, Connector, Peek};
use futures_util::future::join_all;
use tokio::{runtime::Handle, sync::Semaphore};

const DEADLINE: Duration = Duration::from_millis(100);

struct Connection {
    number: u32,
    is_closed: AtomicBool,
    /// The unread input.
    peek: Mutex<Peek>,
    replies: AtomicU64,
}

struct Server {
    clock: FakeClock,
    attempts: AtomicU32,
    /// How many attempts may finish.
    permits: Semaphore,
    /// The error of an attempt, if any, and its duration.
    outcome: Mutex<(Option<ErrorKind>, Duration)>,
    pings: AtomicU32,
}

impl Connector for Server {
    type Connection = Connection;

    async fn connect(&self, _: &Handle) -> Result<Connection> {
        let number = self.attempts.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        let (kind, time) = *self.outcome.lock().unwrap();
        self.clock.advance(time);
        match kind {
            Some(kind) => Err(Error::new(kind, format!("attempt {number}"))),
            None => Ok(Connection {
                number,
                is_closed: AtomicBool::new(false),
                peek: Mutex::new(Peek::Empty),
                replies: AtomicU64::new(0),
            }),
        }
    }

    async fn ping(&self, _: &Connection) {
        self.pings.fetch_add(1, Ordering::SeqCst);
        pending::<()>().await;
    }

    fn is_closed(&self, connection: &Connection) -> bool {
        connection.is_closed.load(Ordering::SeqCst)
    }

    fn abort(&self, connection: &Connection) {
        connection.is_closed.store(true, Ordering::SeqCst);
    }

    fn peek(&self, connection: &Connection) -> Peek {
        *connection.peek.lock().unwrap()
    }

    fn replies(&self, connection: &Connection) -> u64 {
        connection.replies.load(Ordering::SeqCst)
    }
}

fn slot() -> (FakeClock, Arc<ConnectionSlot<Server>>) {
    let clock = FakeClock::new();
    let server = Server {
        clock: clock.clone(),
        attempts: AtomicU32::new(0),
        permits: Semaphore::new(1000),
        outcome: Mutex::default(),
        pings: AtomicU32::new(0),
    };
    let deadline = SharedDeadline::new(DEADLINE, clock.clock());
    let slot = ConnectionSlot::new(server, Handle::current(), clock.clock(), deadline);
    (clock, slot)
}

fn attempts(slot: &ConnectionSlot<Server>) -> u32 {
    slot.connector().attempts.load(Ordering::SeqCst)
}

/// Makes a call that gets no reply within the deadline.
async fn unanswered(
    clock: &FakeClock,
    slot: &Arc<ConnectionSlot<Server>>,
    connection: &Arc<Connection>,
) {
    let call = slot.run(slot.deadline(), connection, pending::<()>());
    let time_passes = async {
        clock.sleepers(1).await;
        clock.advance(DEADLINE);
    };
    assert_eq!(tokio::join!(call, time_passes).0, None);
}

/// Makes a call and drops it before its reply.
fn dropped(slot: &Arc<ConnectionSlot<Server>>, connection: &Arc<Connection>) {
    let mut call = pin!(slot.run(slot.deadline(), connection, pending::<()>()));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test]
async fn callers_without_a_connection_share_one_attempt() {
    let (_, slot) = slot();
    assert_eq!(attempts(&slot), 0);
    let connections = join_all((0..20).map(|_| slot.connection())).await;
    assert!(connections.into_iter().all(|it| it.unwrap().number == 0));
    assert_eq!(slot.connection().await.unwrap().number, 0);
    assert_eq!(attempts(&slot), 1);
}

#[tokio::test]
async fn attempt_continues_when_its_caller_is_dropped() {
    let (_, slot) = slot();
    slot.connector().permits.forget_permits(1000);
    let mut first = Box::pin(slot.connection());
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(first);
    tokio::task::yield_now().await;
    slot.connector().permits.add_permits(1);
    assert_eq!(slot.connection().await.unwrap().number, 0);
}

#[tokio::test]
async fn closed_connection_is_replaced_by_the_next_call() {
    let (_, slot) = slot();
    let connection = slot.connection().await.unwrap();
    assert!(slot.current().is_some());
    slot.connector().abort(&connection);
    assert!(slot.current().is_none());
    assert_eq!(slot.connection().await.unwrap().number, 1);
}

#[tokio::test]
async fn refused_connection_is_retried_after_a_second_and_callers_get_its_error_meanwhile() {
    let (clock, slot) = slot();
    *slot.connector().outcome.lock().unwrap() = (Some(ErrorKind::Backend), Duration::ZERO);
    assert_eq!(slot.connection().await.err().unwrap().message(), "attempt 0");
    clock.advance(Duration::from_millis(999));
    assert_eq!(slot.connection().await.err().unwrap().message(), "attempt 0");
    clock.advance(Duration::from_millis(1));
    assert_eq!(slot.connection().await.err().unwrap().message(), "attempt 1");
}

#[tokio::test]
async fn unreachable_server_is_retried_after_as_long_as_the_attempt_took() {
    let (clock, slot) = slot();
    for (took, pause) in [(0, 5), (70, 70), (5000, 1000)] {
        *slot.connector().outcome.lock().unwrap() =
            (Some(ErrorKind::Unavailable), Duration::from_millis(took));
        let before = attempts(&slot);
        assert!(slot.connection().await.is_err());
        clock.advance(Duration::from_millis(pause - 1));
        assert!(slot.connection().await.is_err());
        assert_eq!(attempts(&slot), before + 1, "{took}");
        clock.advance(Duration::from_millis(1));
        assert!(slot.connection().await.is_err());
        assert_eq!(attempts(&slot), before + 2, "{took}");
        clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn connection_without_a_reply_for_more_than_a_deadline_is_aborted() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    unanswered(&clock, &slot, &connection).await;
    assert!(!slot.connector().is_closed(&connection), "aborted after one late reply");
    unanswered(&clock, &slot, &connection).await;
    assert!(slot.connector().is_closed(&connection));
    assert_eq!(slot.connection().await.unwrap().number, 1);
}

/// A circuit breaker gives the calls after an unanswered one less time.
#[tokio::test]
async fn short_call_after_an_unanswered_one_aborts_a_silent_connection() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    unanswered(&clock, &slot, &connection).await;
    clock.advance(DEADLINE / 5);
    dropped(&slot, &connection);
    assert!(slot.connector().is_closed(&connection));
    assert_eq!(slot.connection().await.unwrap().number, 1);
}

/// As when a NAT has forgotten the connection.
#[tokio::test]
async fn idle_connection_is_aborted_by_its_first_unanswered_call() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    assert_eq!(slot.run(slot.deadline(), &connection, async { 7 }).await, Some(7));
    clock.advance(DEADLINE * 2);
    unanswered(&clock, &slot, &connection).await;
    assert!(slot.connector().is_closed(&connection));
    assert_eq!(slot.connection().await.unwrap().number, 1);
}

/// As when the process was suspended while the server closed the connection.
#[tokio::test]
async fn idle_connection_that_the_server_closed_is_replaced_before_it_is_used() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    *connection.peek.lock().unwrap() = Peek::Closed;
    assert_eq!(slot.connection().await.unwrap().number, 0, "a connection in use was checked");
    clock.advance(DEADLINE);
    assert_eq!(slot.connection().await.unwrap().number, 1);
    assert!(slot.connector().is_closed(&connection));
}

#[tokio::test]
async fn idle_connection_with_unread_bytes_is_used_after_they_are_read() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    *connection.peek.lock().unwrap() = Peek::Unread;
    clock.advance(DEADLINE);
    let reading = async {
        clock.sleepers(1).await;
        *connection.peek.lock().unwrap() = Peek::Empty;
        clock.advance(DEADLINE);
    };
    let (found, ()) = tokio::join!(slot.connection(), reading);
    assert_eq!(found.unwrap().number, 0);
}

#[tokio::test]
async fn connect_in_background_does_not_wait() {
    let (_, slot) = slot();
    slot.connect_in_background();
    assert!(slot.current().is_none());
    tokio::task::yield_now().await;
    assert!(slot.current().is_some());
    slot.connect_in_background();
    assert_eq!((slot.connection().await.unwrap().number, attempts(&slot)), (0, 1));
}

#[tokio::test]
async fn connect_in_background_makes_one_attempt_a_second() {
    let (clock, slot) = slot();
    slot.connector().outcome.lock().unwrap().0 = Some(ErrorKind::Unavailable);
    for second in 1..=3 {
        for _ in 0..100 {
            slot.connect_in_background();
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(10));
        }
        assert_eq!(attempts(&slot), second);
    }
}

#[tokio::test]
async fn reply_between_unanswered_calls_keeps_the_connection() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    for _ in 0..5 {
        unanswered(&clock, &slot, &connection).await;
        assert_eq!(slot.run(slot.deadline(), &connection, async { 7 }).await, Some(7));
    }
    assert_eq!(slot.connection().await.unwrap().number, 0);
}

/// If no caller waits for the whole deadline, no call counts as unanswered: the slot sends a ping.
#[tokio::test]
async fn dead_connection_is_detected_by_a_ping_when_all_calls_are_dropped() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    dropped(&slot, &connection);
    tokio::task::yield_now().await;
    assert_eq!(slot.connector().pings.load(Ordering::SeqCst), 0);
    clock.advance(DEADLINE);
    for _ in 0..3 {
        dropped(&slot, &connection);
    }
    tokio::task::yield_now().await;
    assert_eq!(slot.connector().pings.load(Ordering::SeqCst), 1);
    clock.advance(DEADLINE);
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    assert!(slot.connector().is_closed(&connection));
    assert_eq!(slot.connection().await.unwrap().number, 1);
}

#[tokio::test]
async fn reconnect_has_an_effect_once_a_second_at_most() {
    let (clock, slot) = slot();
    slot.connection().await.unwrap();
    slot.reconnect(None);
    assert_eq!(slot.connection().await.unwrap().number, 1);
    slot.reconnect(None);
    assert_eq!(slot.connection().await.unwrap().number, 1);
    clock.advance(Duration::from_secs(1));
    slot.reconnect(None);
    assert_eq!(slot.connection().await.unwrap().number, 2);
}

#[tokio::test]
async fn retiring_an_old_connection_keeps_the_new_one() {
    let (clock, slot) = slot();
    let old = slot.connection().await.unwrap();
    slot.retire(&old);
    let new = slot.connection().await.unwrap();
    slot.retire(&old);
    slot.reconnect(Some(&old));
    assert_eq!(slot.connection().await.unwrap().number, 1);
    clock.advance(Duration::from_secs(1));
    slot.reconnect(Some(&new));
    assert_eq!(slot.connection().await.unwrap().number, 2);
    assert!(!slot.connector().is_closed(&old), "calls on the retired connection were aborted");
}

/// A reply to a call that was dropped, or that is not polled, is a sign of life.
#[tokio::test]
async fn connection_with_replies_to_other_calls_is_kept() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    for _ in 0..5 {
        let call = slot.run(slot.deadline(), &connection, pending::<()>());
        let time_passes = async {
            clock.sleepers(1).await;
            connection.replies.fetch_add(1, Ordering::SeqCst);
            clock.advance(DEADLINE);
        };
        assert_eq!(tokio::join!(call, time_passes).0, None);
        dropped(&slot, &connection);
    }
    assert!(slot.current().is_some());
    assert_eq!(slot.connector().pings.load(Ordering::SeqCst), 0);
    for _ in 0..2 {
        unanswered(&clock, &slot, &connection).await;
    }
    assert!(slot.current().is_none());
}

#[tokio::test]
async fn batch_ends_when_no_reply_arrives_within_the_deadline() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    let batch = slot.run_many(slot.deadline(), &connection, pending::<()>());
    let time_passes = async {
        for _ in 0..7 {
            clock.sleepers(1).await;
            connection.replies.fetch_add(1, Ordering::SeqCst);
            clock.advance(DEADLINE);
        }
        clock.sleepers(1).await;
        clock.advance(DEADLINE);
    };
    assert_eq!(tokio::join!(batch, time_passes).0, None);
    assert!(slot.current().is_some(), "it has replied");
    let reply = slot.run_many(slot.deadline(), &connection, async { "a reply" });
    assert_eq!(reply.await, Some("a reply"));
}
