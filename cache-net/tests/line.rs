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

use cache_core::{Error, ErrorKind, Result, store::SharedDeadline, testing::FakeClock};
use cache_net::{Line, Peek, Peer};
use futures_util::future::join_all;
use tokio::{runtime::Handle, sync::Semaphore};

const DEADLINE: Duration = Duration::from_millis(100);

/// A connection that knows what has become of it.
struct Up {
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
    knocked: AtomicU32,
}

impl Peer for Server {
    type Up = Up;

    async fn connect(&self, _: &Handle) -> Result<Up> {
        let number = self.tried.fetch_add(1, Ordering::SeqCst);
        self.admitted.acquire().await.unwrap().forget();
        let (kind, time) = *self.outcome.lock().unwrap();
        self.clock.advance(time);
        match kind {
            Some(kind) => Err(Error::new(kind, format!("try {number}"))),
            None => Ok(Up { number, over: AtomicBool::new(false), peek: Mutex::new(Peek::Quiet) }),
        }
    }

    async fn knock(&self, _: &Up) {
        self.knocked.fetch_add(1, Ordering::SeqCst);
        pending::<()>().await;
    }

    fn is_over(&self, up: &Up) -> bool {
        up.over.load(Ordering::SeqCst)
    }

    fn give_up(&self, up: &Up) {
        up.over.store(true, Ordering::SeqCst);
    }

    fn peek(&self, up: &Up) -> Peek {
        *up.peek.lock().unwrap()
    }
}

fn line() -> (FakeClock, Arc<Line<Server>>) {
    let clock = FakeClock::new();
    let server = Server {
        clock: clock.clone(),
        tried: AtomicU32::new(0),
        admitted: Semaphore::new(1000),
        outcome: Mutex::default(),
        knocked: AtomicU32::new(0),
    };
    let deadline = SharedDeadline::new(DEADLINE, clock.clock());
    let line = Line::new(server, Handle::current(), clock.clock(), deadline);
    (clock, line)
}

fn tried(line: &Line<Server>) -> u32 {
    line.peer().tried.load(Ordering::SeqCst)
}

/// A call that gets no answer within the deadline.
async fn unanswered(clock: &FakeClock, line: &Arc<Line<Server>>, up: &Arc<Up>) {
    let asking = line.heard(line.deadline(), up, pending::<()>());
    let passing = async {
        clock.sleepers(1).await;
        clock.advance(DEADLINE);
    };
    assert_eq!(tokio::join!(asking, passing).0, None);
}

/// A call that is dropped before its answer.
fn dropped(line: &Arc<Line<Server>>, up: &Arc<Up>) {
    let mut asking = pin!(line.heard(line.deadline(), up, pending::<()>()));
    assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test]
async fn all_who_need_a_connection_wait_for_the_same_attempt() {
    let (_, line) = line();
    assert_eq!(tried(&line), 0);
    let ups = join_all((0..20).map(|_| line.up())).await;
    assert!(ups.into_iter().all(|it| it.unwrap().number == 0));
    assert_eq!(line.up().await.unwrap().number, 0);
    assert_eq!(tried(&line), 1);
}

#[tokio::test]
async fn an_attempt_goes_on_without_those_who_wait_for_it() {
    let (_, line) = line();
    line.peer().admitted.forget_permits(1000);
    let mut first = Box::pin(line.up());
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(first);
    tokio::task::yield_now().await;
    line.peer().admitted.add_permits(1);
    assert_eq!(line.up().await.unwrap().number, 0);
}

#[tokio::test]
async fn one_that_has_ended_is_replaced_by_the_next_call() {
    let (_, line) = line();
    let up = line.up().await.unwrap();
    assert!(line.up_now().is_some());
    line.peer().give_up(&up);
    assert!(line.up_now().is_none());
    assert_eq!(line.up().await.unwrap().number, 1);
}

#[tokio::test]
async fn who_refuses_is_asked_again_after_a_second_and_callers_are_told_why_meanwhile() {
    let (clock, line) = line();
    *line.peer().outcome.lock().unwrap() = (Some(ErrorKind::Backend), Duration::ZERO);
    assert_eq!(line.up().await.err().unwrap().message(), "try 0");
    clock.advance(Duration::from_millis(999));
    assert_eq!(line.up().await.err().unwrap().message(), "try 0");
    clock.advance(Duration::from_millis(1));
    assert_eq!(line.up().await.err().unwrap().message(), "try 1");
}

#[tokio::test]
async fn who_cannot_be_reached_is_tried_again_after_as_long_as_the_try_took() {
    let (clock, line) = line();
    for (took, pause) in [(0, 5), (70, 70), (5000, 1000)] {
        *line.peer().outcome.lock().unwrap() =
            (Some(ErrorKind::Unavailable), Duration::from_millis(took));
        let before = tried(&line);
        assert!(line.up().await.is_err());
        clock.advance(Duration::from_millis(pause - 1));
        assert!(line.up().await.is_err());
        assert_eq!(tried(&line), before + 1, "{took}");
        clock.advance(Duration::from_millis(1));
        assert!(line.up().await.is_err());
        assert_eq!(tried(&line), before + 2, "{took}");
        clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn nothing_heard_for_more_than_a_deadline_ends_a_connection() {
    let (clock, line) = line();
    let up = line.up().await.unwrap();
    unanswered(&clock, &line, &up).await;
    assert!(!line.peer().is_over(&up), "one late answer");
    unanswered(&clock, &line, &up).await;
    assert!(line.peer().is_over(&up));
    assert_eq!(line.up().await.unwrap().number, 1);
}

/// As when a breaker gives the calls after an unanswered one less time.
#[tokio::test]
async fn short_call_after_an_unanswered_one_ends_a_silent_connection() {
    let (clock, line) = line();
    let up = line.up().await.unwrap();
    unanswered(&clock, &line, &up).await;
    clock.advance(DEADLINE / 5);
    dropped(&line, &up);
    assert!(line.peer().is_over(&up));
    assert_eq!(line.up().await.unwrap().number, 1);
}

/// As when a NAT has forgotten it.
#[tokio::test]
async fn connection_that_was_silent_before_is_ended_by_its_first_unanswered_call() {
    let (clock, line) = line();
    let up = line.up().await.unwrap();
    assert_eq!(line.heard(line.deadline(), &up, async { 7 }).await, Some(7));
    clock.advance(DEADLINE * 2);
    unanswered(&clock, &line, &up).await;
    assert!(line.peer().is_over(&up));
    assert_eq!(line.up().await.unwrap().number, 1);
}

/// As when the process stood still while the server closed it.
#[tokio::test]
async fn idle_connection_that_has_ended_unnoticed_is_replaced_before_it_is_used() {
    let (clock, line) = line();
    let up = line.up().await.unwrap();
    *up.peek.lock().unwrap() = Peek::Ended;
    assert_eq!(line.up().await.unwrap().number, 0, "one in use is not looked at");
    clock.advance(DEADLINE);
    assert_eq!(line.up().await.unwrap().number, 1);
    assert!(line.peer().is_over(&up));
}

#[tokio::test]
async fn idle_connection_with_unread_bytes_is_used_once_they_are_read() {
    let (clock, line) = line();
    let up = line.up().await.unwrap();
    *up.peek.lock().unwrap() = Peek::Unread;
    clock.advance(DEADLINE);
    let reading = async {
        clock.sleepers(1).await;
        *up.peek.lock().unwrap() = Peek::Quiet;
        clock.advance(DEADLINE);
    };
    let (found, ()) = tokio::join!(line.up(), reading);
    assert_eq!(found.unwrap().number, 0);
}

#[tokio::test]
async fn connection_can_be_begun_without_waiting_for_it() {
    let (_, line) = line();
    line.begin();
    assert!(line.up_now().is_none());
    tokio::task::yield_now().await;
    assert!(line.up_now().is_some());
    line.begin();
    assert_eq!((line.up().await.unwrap().number, tried(&line)), (0, 1));
}

#[tokio::test]
async fn connection_that_is_not_waited_for_is_tried_once_a_second() {
    let (clock, line) = line();
    line.peer().outcome.lock().unwrap().0 = Some(ErrorKind::Unavailable);
    for second in 1..=3 {
        for _ in 0..100 {
            line.begin();
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(10));
        }
        assert_eq!(tried(&line), second);
    }
}

#[tokio::test]
async fn an_answer_in_between_keeps_a_connection() {
    let (clock, line) = line();
    let up = line.up().await.unwrap();
    for _ in 0..5 {
        unanswered(&clock, &line, &up).await;
        assert_eq!(line.heard(line.deadline(), &up, async { 7 }).await, Some(7));
    }
    assert_eq!(line.up().await.unwrap().number, 0);
}

/// Nobody waits for as long as the deadline, so nobody would notice: the line asks for itself.
#[tokio::test]
async fn silence_is_noticed_though_all_calls_are_dropped_before() {
    let (clock, line) = line();
    let up = line.up().await.unwrap();
    dropped(&line, &up);
    tokio::task::yield_now().await;
    assert_eq!(line.peer().knocked.load(Ordering::SeqCst), 0);
    clock.advance(DEADLINE);
    for _ in 0..3 {
        dropped(&line, &up);
    }
    tokio::task::yield_now().await;
    assert_eq!(line.peer().knocked.load(Ordering::SeqCst), 1);
    clock.advance(DEADLINE);
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    assert!(line.peer().is_over(&up));
    assert_eq!(line.up().await.unwrap().number, 1);
}

#[tokio::test]
async fn one_is_left_for_another_server_once_a_second_at_most() {
    let (clock, line) = line();
    line.up().await.unwrap();
    line.renew(None);
    assert_eq!(line.up().await.unwrap().number, 1);
    line.renew(None);
    assert_eq!(line.up().await.unwrap().number, 1);
    clock.advance(Duration::from_secs(1));
    line.renew(None);
    assert_eq!(line.up().await.unwrap().number, 2);
}

#[tokio::test]
async fn who_leaves_an_old_connection_does_not_leave_the_new_one() {
    let (clock, line) = line();
    let old = line.up().await.unwrap();
    line.leave(&old);
    let new = line.up().await.unwrap();
    line.leave(&old);
    line.renew(Some(&old));
    assert_eq!(line.up().await.unwrap().number, 1);
    clock.advance(Duration::from_secs(1));
    line.renew(Some(&new));
    assert_eq!(line.up().await.unwrap().number, 2);
    assert!(!line.peer().is_over(&old), "what is under way comes to its end");
}
