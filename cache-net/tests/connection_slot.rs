//! When a line makes its connection, and when it leaves it, by a clock that the tests hold.

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use cache_core::{Error, ErrorKind, Result, TimeLimit, testing::FakeClock};
use cache_net::{ConnectionSlot, Connector, Peek};
use futures_util::future::join_all;
use tokio::{runtime::Handle, sync::Semaphore};

const DEADLINE: Duration = Duration::from_millis(100);

/// A connection that knows what has become of it.
struct Connection {
    number: u32,
    over: AtomicBool,
    /// What the system says, and the runtime has not heard.
    peek: Mutex<Peek>,
}

struct Server {
    clock: FakeClock,
    /// How often somebody has tried to connect.
    tried: AtomicU32,
    /// How many may.
    admitted: Semaphore,
    /// What comes of it, and how long it takes.
    outcome: Mutex<(Option<ErrorKind>, Duration)>,
    pinged: AtomicU32,
}

impl Connector for Server {
    type Connection = Connection;

    async fn connect(&self, _: &Handle) -> Result<Connection> {
        let number = self.tried.fetch_add(1, Ordering::SeqCst);
        self.admitted.acquire().await.unwrap().forget();
        let (kind, time) = *self.outcome.lock().unwrap();
        self.clock.advance(time);
        match kind {
            Some(kind) => Err(Error::new(kind, format!("try {number}"))),
            None => Ok(Connection {
                number,
                over: AtomicBool::new(false),
                peek: Mutex::new(Peek::Empty),
            }),
        }
    }

    async fn ping(&self, _: &Connection) {
        self.pinged.fetch_add(1, Ordering::SeqCst);
        pending::<()>().await;
    }

    fn is_closed(&self, connection: &Connection) -> bool {
        connection.over.load(Ordering::SeqCst)
    }

    fn abort(&self, connection: &Connection) {
        connection.over.store(true, Ordering::SeqCst);
    }

    fn peek(&self, connection: &Connection) -> Peek {
        *connection.peek.lock().unwrap()
    }
}

fn slot() -> (FakeClock, Arc<ConnectionSlot<Server>>) {
    let clock = FakeClock::new();
    let server = Server {
        clock: clock.clone(),
        tried: AtomicU32::new(0),
        admitted: Semaphore::new(1000),
        outcome: Mutex::default(),
        pinged: AtomicU32::new(0),
    };
    let deadline = TimeLimit::new(DEADLINE, clock.clock());
    let slot = ConnectionSlot::new(server, Handle::current(), clock.clock(), deadline);
    (clock, slot)
}

fn tried(slot: &ConnectionSlot<Server>) -> u32 {
    slot.connector().tried.load(Ordering::SeqCst)
}

/// A call that gets no answer within the deadline.
async fn unanswered(
    clock: &FakeClock,
    slot: &Arc<ConnectionSlot<Server>>,
    connection: &Arc<Connection>,
) {
    let asking = slot.run(slot.deadline(), connection, pending::<()>());
    let passing = async {
        clock.sleepers(1).await;
        clock.advance(DEADLINE);
    };
    assert_eq!(tokio::join!(asking, passing).0, None);
}

/// A call that is dropped before its answer.
fn dropped(slot: &Arc<ConnectionSlot<Server>>, connection: &Arc<Connection>) {
    let mut asking = pin!(slot.run(slot.deadline(), connection, pending::<()>()));
    assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test]
async fn all_who_need_a_connection_wait_for_the_same_attempt() {
    let (_, slot) = slot();
    assert_eq!(tried(&slot), 0);
    let connections = join_all((0..20).map(|_| slot.connection())).await;
    assert!(connections.into_iter().all(|it| it.unwrap().number == 0));
    assert_eq!(slot.connection().await.unwrap().number, 0);
    assert_eq!(tried(&slot), 1);
}

#[tokio::test]
async fn an_attempt_goes_on_without_those_who_wait_for_it() {
    let (_, slot) = slot();
    slot.connector().admitted.forget_permits(1000);
    let mut first = Box::pin(slot.connection());
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(first);
    tokio::task::yield_now().await;
    slot.connector().admitted.add_permits(1);
    assert_eq!(slot.connection().await.unwrap().number, 0);
}

#[tokio::test]
async fn one_that_has_ended_is_replaced_by_the_next_call() {
    let (_, slot) = slot();
    let connection = slot.connection().await.unwrap();
    assert!(slot.current().is_some());
    slot.connector().abort(&connection);
    assert!(slot.current().is_none());
    assert_eq!(slot.connection().await.unwrap().number, 1);
}

#[tokio::test]
async fn who_refuses_is_asked_again_after_a_second_and_callers_are_told_why_meanwhile() {
    let (clock, slot) = slot();
    *slot.connector().outcome.lock().unwrap() = (Some(ErrorKind::Backend), Duration::ZERO);
    assert_eq!(slot.connection().await.err().unwrap().message(), "try 0");
    clock.advance(Duration::from_millis(999));
    assert_eq!(slot.connection().await.err().unwrap().message(), "try 0");
    clock.advance(Duration::from_millis(1));
    assert_eq!(slot.connection().await.err().unwrap().message(), "try 1");
}

#[tokio::test]
async fn who_cannot_be_reached_is_tried_again_after_as_long_as_the_try_took() {
    let (clock, slot) = slot();
    for (took, pause) in [(0, 5), (70, 70), (5000, 1000)] {
        *slot.connector().outcome.lock().unwrap() =
            (Some(ErrorKind::Unavailable), Duration::from_millis(took));
        let before = tried(&slot);
        assert!(slot.connection().await.is_err());
        clock.advance(Duration::from_millis(pause - 1));
        assert!(slot.connection().await.is_err());
        assert_eq!(tried(&slot), before + 1, "{took}");
        clock.advance(Duration::from_millis(1));
        assert!(slot.connection().await.is_err());
        assert_eq!(tried(&slot), before + 2, "{took}");
        clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn nothing_heard_for_more_than_a_deadline_ends_a_connection() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    unanswered(&clock, &slot, &connection).await;
    assert!(!slot.connector().is_closed(&connection), "one late answer");
    unanswered(&clock, &slot, &connection).await;
    assert!(slot.connector().is_closed(&connection));
    assert_eq!(slot.connection().await.unwrap().number, 1);
}

/// As when a breaker gives the calls after an unanswered one less time.
#[tokio::test]
async fn short_call_after_an_unanswered_one_ends_a_silent_connection() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    unanswered(&clock, &slot, &connection).await;
    clock.advance(DEADLINE / 5);
    dropped(&slot, &connection);
    assert!(slot.connector().is_closed(&connection));
    assert_eq!(slot.connection().await.unwrap().number, 1);
}

/// As when a NAT has forgotten it.
#[tokio::test]
async fn connection_that_was_silent_before_is_ended_by_its_first_unanswered_call() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    assert_eq!(slot.run(slot.deadline(), &connection, async { 7 }).await, Some(7));
    clock.advance(DEADLINE * 2);
    unanswered(&clock, &slot, &connection).await;
    assert!(slot.connector().is_closed(&connection));
    assert_eq!(slot.connection().await.unwrap().number, 1);
}

/// As when the process stood still while the server closed it.
#[tokio::test]
async fn idle_connection_that_has_ended_unnoticed_is_replaced_before_it_is_used() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    *connection.peek.lock().unwrap() = Peek::Closed;
    assert_eq!(slot.connection().await.unwrap().number, 0, "one in use is not looked at");
    clock.advance(DEADLINE);
    assert_eq!(slot.connection().await.unwrap().number, 1);
    assert!(slot.connector().is_closed(&connection));
}

#[tokio::test]
async fn idle_connection_with_unread_bytes_is_used_once_they_are_read() {
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
async fn connection_can_be_begun_without_waiting_for_it() {
    let (_, slot) = slot();
    slot.connect_in_background();
    assert!(slot.current().is_none());
    tokio::task::yield_now().await;
    assert!(slot.current().is_some());
    slot.connect_in_background();
    assert_eq!((slot.connection().await.unwrap().number, tried(&slot)), (0, 1));
}

#[tokio::test]
async fn connection_that_is_not_waited_for_is_tried_once_a_second() {
    let (clock, slot) = slot();
    slot.connector().outcome.lock().unwrap().0 = Some(ErrorKind::Unavailable);
    for second in 1..=3 {
        for _ in 0..100 {
            slot.connect_in_background();
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(10));
        }
        assert_eq!(tried(&slot), second);
    }
}

#[tokio::test]
async fn an_answer_in_between_keeps_a_connection() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    for _ in 0..5 {
        unanswered(&clock, &slot, &connection).await;
        assert_eq!(slot.run(slot.deadline(), &connection, async { 7 }).await, Some(7));
    }
    assert_eq!(slot.connection().await.unwrap().number, 0);
}

/// Nobody waits for as long as the deadline, so nobody would notice: the line asks for itself.
#[tokio::test]
async fn silence_is_noticed_though_all_calls_are_dropped_before() {
    let (clock, slot) = slot();
    let connection = slot.connection().await.unwrap();
    dropped(&slot, &connection);
    tokio::task::yield_now().await;
    assert_eq!(slot.connector().pinged.load(Ordering::SeqCst), 0);
    clock.advance(DEADLINE);
    for _ in 0..3 {
        dropped(&slot, &connection);
    }
    tokio::task::yield_now().await;
    assert_eq!(slot.connector().pinged.load(Ordering::SeqCst), 1);
    clock.advance(DEADLINE);
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    assert!(slot.connector().is_closed(&connection));
    assert_eq!(slot.connection().await.unwrap().number, 1);
}

#[tokio::test]
async fn one_is_left_for_another_server_once_a_second_at_most() {
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
async fn who_leaves_an_old_connection_does_not_leave_the_new_one() {
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
    assert!(!slot.connector().is_closed(&old), "what is under way comes to its end");
}
