use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{Clock, PerProcess};

/// A deadline of the same length for many calls, with one timer for all of them.
///
/// A timer per call costs about as much as sending the call. Calls with the same deadline time out
/// in the order in which they began, so one timer for the first of them is enough.
///
/// The caller needs no runtime, and tokio's paused clock does not move the deadline. If no thread
/// can start for the timer, each call uses a timer of the caller's runtime.
///
/// ```
/// use cache_core::{Clock, store::SharedDeadline};
/// use std::{future::pending, time::Duration};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let limit = SharedDeadline::new(Duration::from_millis(5), Clock::system());
/// assert_eq!(limit.run(async { 7 }).await, Some(7));
/// assert_eq!(limit.run(pending::<()>()).await, None);
/// # }
/// ```
#[derive(Clone)]
pub struct SharedDeadline(Arc<Shared>);

struct Shared {
    time: Duration,
    clock: Clock,
    waiting: PerProcess<Mutex<Waiting>>,
}

/// The calls that wait, in the order in which they began: a linked list inside a vector, so that
/// any call can leave in constant time.
#[derive(Default)]
struct Waiting {
    places: Vec<Place>,
    /// The numbers of unused places.
    free: Vec<usize>,
    first: Option<usize>,
    last: Option<usize>,
    /// Whether a task sleeps until the first call times out.
    is_watched: bool,
}

#[derive(Default)]
struct Place {
    /// `None` after the time-out.
    waker: Option<Waker>,
    until: Duration,
    before: Option<usize>,
    after: Option<usize>,
}

/// The place of one call, which is freed when the call ends or is dropped.
struct Queued<'a> {
    waiting: &'a Mutex<Waiting>,
    number: usize,
}

impl SharedDeadline {
    /// Creates a deadline of this length.
    pub fn new(time: Duration, clock: Clock) -> Self {
        Self(Arc::new(Shared { time, clock, waiting: PerProcess::new() }))
    }

    /// Returns the length of the deadline.
    pub fn time(&self) -> Duration {
        self.0.time
    }

    /// Returns the output of the future, or `None` if the deadline passes before.
    ///
    /// # Cancel safety
    /// Dropping the future drops the inner one and leaves nothing else behind.
    pub async fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        self.limit(self.time(), pin!(future)).await
    }

    /// Returns the output of the future, or `None` if it takes longer than `time`. If this is the
    /// time of the deadline, the call shares its timer; otherwise, the call has its own.
    // Not async: the future of an async function costs every call more.
    pub(crate) fn limit<F: Future + Unpin>(
        &self,
        time: Duration,
        mut future: F,
    ) -> impl Future<Output = Option<F::Output>> {
        let mut wait = Wait { deadline: self, time, begun: None };
        poll_fn(move |cx| match Pin::new(&mut future).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // A future that is ready on its first poll is never queued.
            Poll::Pending => wait.poll(cx).map(|()| None),
        })
    }

    /// Queues the call, if a timer can start for the queue. A clock that tests move wakes each
    /// sleeper itself.
    fn queue(&self, cx: &Context<'_>) -> Option<Queued<'_>> {
        if !self.0.clock.is_system() {
            return None;
        }
        let until = self.0.clock.now().saturating_add(self.0.time);
        let own = self.waiting();
        let mut waiting = lock(own);
        if !waiting.is_watched {
            super::own().ok()?.spawn(watch(self.clone()));
            waiting.is_watched = true;
        }
        let number =
            waiting.append(Place { waker: Some(cx.waker().clone()), until, ..Place::default() });
        Some(Queued { waiting: own, number })
    }

    fn waiting(&self) -> &Mutex<Waiting> {
        self.0.waiting.get_or_init(Mutex::default)
    }

    /// Wakes the calls that timed out. Returns the time that the next one has left.
    fn wake(&self) -> Option<Duration> {
        let now = self.0.clock.now();
        let mut timed_out = Vec::new();
        let mut waiting = lock(self.waiting());
        let left = loop {
            match waiting.first {
                None => break None,
                Some(first) if waiting.places[first].until > now => {
                    break Some(waiting.places[first].until.saturating_sub(now));
                }
                Some(first) => {
                    waiting.unlink(first);
                    timed_out.extend(waiting.places[first].waker.take());
                }
            }
        };
        waiting.is_watched = left.is_some();
        drop(waiting);
        // Without the lock, because a waker may run any code.
        timed_out.into_iter().for_each(Waker::wake);
        left
    }
}

/// A wait for the end of a call's time.
struct Wait<'a> {
    deadline: &'a SharedDeadline,
    time: Duration,
    begun: Option<Begun<'a>>,
}

enum Begun<'a> {
    Queued(Queued<'a>),
    /// A timer for this call only.
    Alone(Pin<Box<dyn Future<Output = ()> + Send + 'a>>),
}

impl Wait<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.begun {
            Some(Begun::Queued(queued)) => queued.poll_timed_out(cx),
            Some(Begun::Alone(timer)) => timer.as_mut().poll(cx),
            None => self.begin(cx),
        }
    }

    fn begin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.time == self.deadline.0.time
            && let Some(queued) = self.deadline.queue(cx)
        {
            self.begun = Some(Begun::Queued(queued));
            return Poll::Pending;
        }
        let mut timer = Box::pin(self.deadline.0.clock.sleep(self.time));
        let res = timer.as_mut().poll(cx);
        self.begun = Some(Begun::Alone(timer));
        res
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs as long as calls wait.
async fn watch(limit: SharedDeadline) {
    while let Some(left) = limit.wake() {
        limit.0.clock.sleep(left).await;
    }
}

impl Waiting {
    fn append(&mut self, place: Place) -> usize {
        let place = Place { before: self.last, ..place };
        let number = if let Some(number) = self.free.pop() {
            self.places[number] = place;
            number
        } else {
            self.places.push(place);
            self.places.len() - 1
        };
        match self.last.replace(number) {
            Some(last) => self.places[last].after = Some(number),
            None => self.first = Some(number),
        }
        number
    }

    fn unlink(&mut self, number: usize) {
        let Place { before, after, .. } = self.places[number];
        match before {
            Some(before) => self.places[before].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.places[after].before = before,
            None => self.last = before,
        }
    }
}

impl Queued<'_> {
    fn poll_timed_out(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = lock(self.waiting);
        let old = match &mut waiting.places[self.number].waker {
            None => return Poll::Ready(()),
            Some(waker) if waker.will_wake(cx.waker()) => return Poll::Pending,
            Some(waker) => std::mem::replace(waker, cx.waker().clone()),
        };
        // Without the lock, because a waker may run any code.
        drop(waiting);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(self.waiting);
        let waker = waiting.places[self.number].waker.take();
        if waker.is_some() {
            waiting.unlink(self.number);
        }
        waiting.free.push(self.number);
        // Unlocked before the waker is dropped, which may run any code.
        drop(waiting);
    }
}

impl fmt::Debug for SharedDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedDeadline").field(&self.0.time).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        time::Instant,
    };

    use tokio::task::JoinSet;

    use super::*;

    fn limit(millis: u64) -> SharedDeadline {
        SharedDeadline::new(Duration::from_millis(millis), Clock::system())
    }

    fn waiting(limit: &SharedDeadline) -> (usize, usize) {
        let waiting = lock(limit.waiting());
        (waiting.places.len(), waiting.free.len())
    }

    #[tokio::test]
    async fn each_call_times_out_and_none_early() {
        let limit = limit(20);
        let mut all = JoinSet::new();
        for _ in 0..100 {
            let limit = limit.clone();
            all.spawn(async move {
                let began = Instant::now();
                assert_eq!(limit.run(pending::<()>()).await, None);
                assert!(began.elapsed() >= Duration::from_millis(20), "{:?}", began.elapsed());
            });
            tokio::task::yield_now().await;
        }
        all.join_all().await;
        let (places, free) = waiting(&limit);
        assert_eq!(places, free, "all places are free again");
    }

    #[tokio::test]
    async fn future_that_is_ready_at_once_is_not_queued() {
        let limit = limit(1000);
        assert_eq!(limit.run(ready(1)).await, Some(1));
        assert_eq!(waiting(&limit), (0, 0));
    }

    #[tokio::test]
    async fn call_that_ends_early_does_not_change_the_deadlines_of_others() {
        let limit = limit(30);
        let slow = || Box::pin(limit.run(pending::<()>()));
        let (send, receive) = tokio::sync::oneshot::channel();
        let (mut first, mut dropped, mut last) = (slow(), slow(), slow());
        let mut middle = Box::pin(limit.run(receive));
        // Polled here and not in tasks, so that each one is queued now and is polled next when it
        // is ready.
        poll_fn(|cx| {
            assert!(first.as_mut().poll(cx).is_pending());
            assert!(middle.as_mut().poll(cx).is_pending());
            assert!(dropped.as_mut().poll(cx).is_pending());
            assert!(last.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        send.send(7).unwrap();
        drop(dropped);
        assert_eq!(middle.await, Some(Ok(7)));
        assert_eq!(tokio::join!(first, last), (None, None));
        // Another call after the queue was empty.
        assert_eq!(slow().await, None);
        let (places, free) = waiting(&limit);
        assert_eq!((places, free), (4, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn paused_clock_of_tokio_does_not_move_the_deadline() {
        let began = Instant::now();
        assert_eq!(limit(20).run(pending::<()>()).await, None);
        assert!(began.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn calls_of_many_threads_queue_and_leave() {
        let limit = limit(2);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let limit = limit.clone();
                scope.spawn(move || {
                    for round in 0..200 {
                        let waits = (round + thread) % 3 == 0;
                        let res = crate::runtime::block_on(limit.run(async move {
                            if waits { pending().await } else { tokio::task::yield_now().await }
                        }));
                        assert_eq!(res.is_none(), waits);
                    }
                });
            }
        });
        let (places, free) = waiting(&limit);
        assert_eq!(places, free);
    }
}
