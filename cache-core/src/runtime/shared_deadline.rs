//! One limit of time for many calls, at a fraction of a timer each.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{Clock, PerProcess};

/// The same limit of time for many calls.
///
/// A timer for each call of a store costs about as much as sending the call. Calls with the same limit run out of
/// time in the order in which they began, so one timer for the first of them is enough.
///
/// It needs no runtime of the caller's, and a clock of tokio's that tests have paused does not move it. Where no thread can be
/// started for its timer, each call has a timer in the caller's runtime.
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

/// Those who wait, in the order in which they began: a list within a vector, so that anybody can leave at once.
#[derive(Default)]
struct Waiting {
    places: Vec<Place>,
    /// Places that nobody has.
    free: Vec<usize>,
    first: Option<usize>,
    last: Option<usize>,
    /// Somebody sleeps until the first of them runs out of time.
    is_watched: bool,
}

#[derive(Default)]
struct Place {
    /// `None` once the time is over.
    waker: Option<Waker>,
    until: Duration,
    before: Option<usize>,
    after: Option<usize>,
}

/// A place that is given back when its owner is done, or dropped.
struct Taken<'a> {
    waiting: &'a Mutex<Waiting>,
    number: usize,
}

impl SharedDeadline {
    /// This long, by this clock.
    pub fn new(time: Duration, clock: Clock) -> Self {
        Self(Arc::new(Shared { time, clock, waiting: PerProcess::new() }))
    }

    /// How long it is.
    pub fn time(&self) -> Duration {
        self.0.time
    }

    /// What the future answers, if it does so in time; otherwise it is dropped.
    pub async fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut taken: Option<Taken<'_>> = None;
        let mut alone: Option<Alone<'_>> = None;
        poll_fn(|cx| {
            if let Poll::Ready(res) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(res));
            }
            if let Some(taken) = &taken {
                return taken.poll_over(cx).map(|()| None);
            }
            // Whoever answers at once takes no place.
            if alone.is_none() {
                taken = self.take(cx);
                if taken.is_some() {
                    return Poll::Pending;
                }
            }
            let alone = alone.get_or_insert_with(|| Box::pin(self.0.clock.sleep(self.0.time)));
            alone.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// A place among those who wait, if there can be a timer for them. A clock that tests move tells each sleeper itself.
    fn take(&self, cx: &Context<'_>) -> Option<Taken<'_>> {
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
        Some(Taken { waiting: own, number })
    }

    fn waiting(&self) -> &Mutex<Waiting> {
        self.0.waiting.get_or_init(Mutex::default)
    }

    /// Wakes those whose time is over; how long the next one has.
    fn wake(&self) -> Option<Duration> {
        let now = self.0.clock.now();
        let mut over = Vec::new();
        let mut waiting = lock(self.waiting());
        let left = loop {
            match waiting.first {
                None => break None,
                Some(first) if waiting.places[first].until > now => {
                    break Some(waiting.places[first].until.saturating_sub(now));
                }
                Some(first) => {
                    waiting.unlink(first);
                    over.extend(waiting.places[first].waker.take());
                }
            }
        };
        waiting.is_watched = left.is_some();
        drop(waiting);
        // Not under the lock: a waker may do anything.
        over.into_iter().for_each(Waker::wake);
        left
    }
}

/// A timer of a call's own.
type Alone<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs as long as anybody waits.
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

impl Taken<'_> {
    fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = lock(self.waiting);
        let old = match &mut waiting.places[self.number].waker {
            None => return Poll::Ready(()),
            Some(waker) if waker.will_wake(cx.waker()) => return Poll::Pending,
            Some(waker) => std::mem::replace(waker, cx.waker().clone()),
        };
        // Not under the lock: a waker may do anything.
        drop(waiting);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(self.waiting);
        let waker = waiting.places[self.number].waker.take();
        if waker.is_some() {
            waiting.unlink(self.number);
        }
        waiting.free.push(self.number);
        // Before the waker, which may do anything.
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
    async fn nobody_runs_out_of_time_early_and_all_do() {
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
        assert_eq!(places, free, "all places are given back");
    }

    #[tokio::test]
    async fn whoever_answers_at_once_takes_no_place() {
        let limit = limit(1000);
        assert_eq!(limit.run(ready(1)).await, Some(1));
        assert_eq!(waiting(&limit), (0, 0));
    }

    #[tokio::test]
    async fn whoever_leaves_in_the_middle_leaves_the_others_their_time() {
        let limit = limit(30);
        let slow = || Box::pin(limit.run(pending::<()>()));
        let (send, receive) = tokio::sync::oneshot::channel();
        let (mut first, mut dropped, mut last) = (slow(), slow(), slow());
        let mut middle = Box::pin(limit.run(receive));
        // Polled here and not in tasks: each waits by now, and is not asked again before it has its answer.
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
        // Another one after nobody has waited for a while.
        assert_eq!(slow().await, None);
        let (places, free) = waiting(&limit);
        assert_eq!((places, free), (4, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_of_tokios_does_not_move_it() {
        let began = Instant::now();
        assert_eq!(limit(20).run(pending::<()>()).await, None);
        assert!(began.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn threads_come_and_go() {
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
