//! Which connection is used while another one cannot be made.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use cache_core::{Error, ErrorKind, Result, store::SharedDeadline, testing::FakeClock};
use cache_net::{ConnectionSlot, ConnectionSlots, Connector};
use tokio::{runtime::Handle, sync::Semaphore, task::yield_now};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Server {
    /// How many connections it accepts.
    limit: AtomicU32,
    accepted: AtomicU32,
    attempts: AtomicU32,
    pings: AtomicU32,
}

struct Client {
    server: Arc<Server>,
    /// The replies to pings.
    pongs: Arc<Semaphore>,
}

impl Connector for Client {
    /// The number of the connection.
    type Connection = u32;

    async fn connect(&self, _: &Handle) -> Result<u32> {
        let server = &self.server;
        server.attempts.fetch_add(1, Ordering::SeqCst);
        if server.accepted.load(Ordering::SeqCst) >= server.limit.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "too many connections"));
        }
        Ok(server.accepted.fetch_add(1, Ordering::SeqCst))
    }

    async fn ping(&self, _: &u32) {
        self.server.pings.fetch_add(1, Ordering::SeqCst);
        self.pongs.acquire().await.unwrap().forget();
    }

    fn is_closed(&self, _: &u32) -> bool {
        false
    }

    fn abort(&self, _: &u32) {}
}

/// A server, two connections to it, and the replies to pings.
struct Two {
    clock: FakeClock,
    server: Arc<Server>,
    slots: ConnectionSlots<Client>,
    pongs: Arc<Semaphore>,
}

impl Two {
    fn with_limit(limit: u32) -> Self {
        let (clock, server) = (FakeClock::new(), Arc::new(Server::default()));
        server.limit.store(limit, Ordering::SeqCst);
        let pongs = Arc::new(Semaphore::new(0));
        let deadline = SharedDeadline::new(SECOND, clock.clock());
        let slot = || {
            let client = Client { server: Arc::clone(&server), pongs: Arc::clone(&pongs) };
            ConnectionSlot::new(client, Handle::current(), clock.clock(), deadline.clone())
        };
        let slots = ConnectionSlots::new(vec![slot(), slot()]);
        Self { clock, server, slots, pongs }
    }

    /// Returns the connection that the keys of this number use.
    async fn used(&self, number: usize) -> u32 {
        *self.slots.connection(number).await.unwrap().1
    }

    fn attempts(&self) -> u32 {
        self.server.attempts.load(Ordering::SeqCst)
    }

    /// Lets the server accept the second connection, and makes it in the background.
    async fn make_second(&self) {
        self.server.limit.store(2, Ordering::SeqCst);
        self.clock.advance(SECOND);
        assert_eq!(self.used(1).await, 0);
        while self.slots.slots()[1].current().is_none() {
            yield_now().await;
        }
    }
}

#[tokio::test]
async fn other_connection_stands_in_while_the_missing_one_is_tried_once_a_second() {
    let two = Two::with_limit(1);
    assert_eq!((two.used(0).await, two.used(1).await), (0, 0));
    assert_eq!(two.attempts(), 2);
    assert!(two.slots.ready(1).is_none());
    for second in 0..3 {
        for _ in 0..10 {
            assert_eq!(two.used(1).await, 0);
            yield_now().await;
        }
        assert_eq!(two.attempts(), 2 + second);
        two.clock.advance(SECOND);
    }
}

#[tokio::test]
async fn keys_return_to_their_connection_after_the_reply_to_a_ping() {
    let two = Two::with_limit(1);
    assert_eq!((two.used(0).await, two.used(1).await), (0, 0));
    two.make_second().await;
    let mut cx = Context::from_waker(Waker::noop());
    let (mut one, mut other) = (pin!(two.used(1)), pin!(two.used(1)));
    for _ in 0..10 {
        assert!(one.as_mut().poll(&mut cx).is_pending(), "a command on the other may be under way");
        assert!(other.as_mut().poll(&mut cx).is_pending());
        yield_now().await;
    }
    assert_eq!(two.server.pings.load(Ordering::SeqCst), 1);
    two.pongs.add_permits(1);
    assert_eq!((one.await, other.await), (1, 1));
    assert!(two.slots.ready(1).is_some_and(|it| *it.1 == 1));
}

/// A command behind the ping would otherwise be overtaken.
#[tokio::test]
async fn keys_do_not_return_by_a_ping_that_is_older_than_their_last_call() {
    let two = Two::with_limit(1);
    assert_eq!((two.used(0).await, two.used(1).await), (0, 0));
    two.make_second().await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut returning = pin!(two.used(1));
    assert!(returning.as_mut().poll(&mut cx).is_pending());
    // The own connection is lost again, and a call uses the other one.
    two.slots.slots()[1].reconnect(None);
    assert_eq!(two.used(1).await, 0);
    two.server.limit.store(3, Ordering::SeqCst);
    two.clock.advance(SECOND);
    assert_eq!(two.used(1).await, 0);
    while two.slots.slots()[1].current().is_none() {
        yield_now().await;
    }
    two.pongs.add_permits(1);
    let mut next = pin!(two.used(1));
    for _ in 0..10 {
        assert!(next.as_mut().poll(&mut cx).is_pending(), "the ping did not follow the call");
        yield_now().await;
    }
    assert_eq!(two.server.pings.load(Ordering::SeqCst), 2);
    two.pongs.add_permits(1);
    assert_eq!(next.await, 2);
}

#[tokio::test]
async fn call_whose_attempt_failed_uses_a_connection_that_was_made_since() {
    let two = Two::with_limit(1);
    assert_eq!(two.used(0).await, 0);
    let mut cx = Context::from_waker(Waker::noop());
    let mut late = pin!(two.used(1));
    assert!(late.as_mut().poll(&mut cx).is_pending());
    while two.attempts() < 2 {
        yield_now().await;
    }
    yield_now().await;
    two.server.limit.store(2, Ordering::SeqCst);
    two.clock.advance(SECOND);
    while two.slots.slots()[1].connection().await.is_err() {
        two.clock.advance(SECOND);
    }
    assert_eq!(late.await, 1);
    assert!(two.slots.ready(1).is_some());
}

#[tokio::test]
async fn keys_stay_on_the_other_connection_if_it_does_not_reply() {
    let two = Two::with_limit(1);
    assert_eq!((two.used(0).await, two.used(1).await), (0, 0));
    two.make_second().await;
    let call = two.slots.connection(1);
    let time_passes = async {
        two.clock.sleepers(1).await;
        two.clock.advance(SECOND);
    };
    let error = tokio::join!(call, time_passes).0.map(|it| *it.1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    // The next call asks again.
    two.pongs.add_permits(1);
    assert_eq!(two.used(1).await, 1);
}

#[tokio::test]
async fn error_of_the_own_connection_is_returned_if_no_other_exists() {
    let two = Two::with_limit(0);
    let error = two.slots.connection(1).await.map(|it| *it.1).unwrap_err();
    assert_eq!(error.message(), "too many connections");
}
