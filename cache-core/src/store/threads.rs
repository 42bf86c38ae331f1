//! The threads of a store that blocks.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use tokio::sync::oneshot;

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::PerProcess,
};

/// A few threads for calls that block, for a store that is not a
/// [`SyncBackend`](crate::store::SyncBackend) as a whole. A `SyncBackend` uses
/// [`Offload`](crate::store::Offload) instead.
///
/// Threads are started when a call needs one, and end when this value is dropped. A child of `fork`
/// starts its own threads.
///
/// A call that waits for a thread until its deadline, while the threads answer other calls, does
/// not count as a failure for the circuit breaker.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let threads = cache_core::store::Threads::new("mine", 2);
/// assert_eq!(threads.run(|| 6 * 7).await?, 42);
/// # Ok::<_, cache_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Threads {
    shared: PerProcess<Arc<Shared>>,
    name: &'static str,
    most: usize,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    /// The calls that wait for a thread, with their numbers.
    queue: VecDeque<(u64, Box<dyn Job>)>,
    /// The number of the last call that was queued. `begun`: of the last call that a thread took.
    queued: u64,
    begun: u64,
    /// The number of calls that finished while their callers waited.
    answered: u64,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// A call with the channel for its result.
trait Job: Send {
    /// Returns whether a caller still waits for the result.
    fn is_wanted(&self) -> bool;
    /// Runs the call; returns whether a caller received the result.
    fn run(self: Box<Self>) -> bool;
}

struct Call<F, T> {
    make: F,
    answer: oneshot::Sender<T>,
    has_left: Arc<AtomicBool>,
}

impl<T: Send, F: FnOnce() -> T + Send> Job for Call<F, T> {
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    fn run(self: Box<Self>) -> bool {
        let Self { make, answer, has_left } = *self;
        CALLER.set(Some(has_left));
        let res = catch_unwind(AssertUnwindSafe(make));
        CALLER.take();
        // A panic drops the channel, which the caller sees as an error. The caller may have left.
        res.is_ok_and(|res| answer.send(res).is_ok())
    }
}

/// Returns whether the caller of the call that this thread makes has left: it dropped the future,
/// or its deadline did. `false` on a thread that is not one of [`Threads`].
///
/// A store whose calls may overtake each other checks it once it has the lock of an entry, and then
/// writes nothing: otherwise the write could take effect after a later one of the same caller.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use cache_core::store::{Threads, caller_has_left};
///
/// assert!(!Threads::new("mine", 2).run(caller_has_left).await?);
/// # Ok::<_, cache_core::Error>(()) }).unwrap();
/// ```
pub fn caller_has_left() -> bool {
    CALLER.with_borrow(|it| it.as_ref().is_some_and(|it| it.load(SeqCst)))
}

thread_local! {
    /// Whether the caller of the call that this thread makes has left.
    static CALLER: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
    /// Whether a call was dropped in the queue while other calls were answered.
    static WAS_BEHIND_OTHERS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `drop`, and returns whether the dropped call still waited for a thread although other calls
/// were answered meanwhile: the store serves requests, but the threads are busy.
pub(crate) fn was_behind_others(drop: impl FnOnce()) -> bool {
    WAS_BEHIND_OTHERS.set(false);
    drop();
    WAS_BEHIND_OTHERS.take()
}

/// A call without a result yet.
struct Unanswered<'a> {
    shared: &'a Shared,
    number: u64,
    /// The number of calls that were answered before this call was queued.
    answered: u64,
    is_done: bool,
    has_left: Arc<AtomicBool>,
}

impl Unanswered<'_> {
    fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        self.has_left.store(true, SeqCst);
        let state = self.shared.lock();
        if state.begun < self.number && state.answered > self.answered {
            WAS_BEHIND_OTHERS.set(true);
        }
    }
}

/// The queue length from which abandoned calls are removed: threads that hang do not remove them.
const LONG_QUEUE: usize = 256;

impl Threads {
    /// Creates up to `most` threads, at least one, with the name `cache-` plus `name`.
    pub fn new(name: &'static str, most: usize) -> Self {
        Self { shared: PerProcess::new(), name, most: most.max(1) }
    }

    /// Runs `call` on one of the threads. Needs no runtime.
    ///
    /// # Errors
    /// `Unavailable` if no thread can be started, `Backend` if the call panics.
    ///
    /// # Cancel safety
    /// If the future is dropped before a thread takes the call, the call is never made; otherwise
    /// it runs to its end, unless it reads [`caller_has_left`].
    pub async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, receiver) = oneshot::channel();
        let has_left = Arc::<AtomicBool>::default();
        let job = Call { make: call, answer, has_left: Arc::clone(&has_left) };
        let unanswered = self.push(Box::new(job), has_left)?;
        let res = receiver.await;
        unanswered.done();
        res.map_err(|_| Error::new(ErrorKind::Backend, "the store's code panicked"))
    }

    fn push(&self, job: Box<dyn Job>, has_left: Arc<AtomicBool>) -> Result<Unanswered<'_>> {
        let shared = self.shared.get_or_init(Arc::default);
        let mut state = shared.lock();
        if state.idle <= state.queue.len() && state.threads < self.most {
            match self.start_thread(shared) {
                Ok(()) => state.threads += 1,
                Err(_) if state.threads > 0 => {} // the running threads take the call
                Err(err) => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("cannot start a thread for the store: {err}"),
                    ));
                }
            }
        }
        if state.queue.len() >= LONG_QUEUE && state.queue.len().is_power_of_two() {
            state.queue.retain(|(_, it)| it.is_wanted());
        }
        state.queued += 1;
        let (number, answered) = (state.queued, state.answered);
        state.queue.push_back((number, job));
        drop(state);
        shared.work.notify_one();
        Ok(Unanswered { shared, number, answered, is_done: false, has_left })
    }

    fn start_thread(&self, shared: &Arc<Shared>) -> std::io::Result<()> {
        let shared = Arc::clone(shared);
        thread::Builder::new()
            .name(format!("cache-{}", self.name))
            .spawn(move || shared.serve())
            .map(drop)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.get() {
            shared.lock().closed = true;
            shared.work.notify_all();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some((number, job)) = state.queue.pop_front() {
                state.begun = number;
                drop(state);
                let is_answered = job.is_wanted() && job.run();
                state = self.lock();
                state.answered += u64::from(is_answered);
            } else if state.closed {
                return;
            } else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("queued", &self.queue.len())
            .field("threads", &self.threads)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::Barrier,
        task::{Context, Waker},
    };

    use super::*;

    #[test]
    fn abandoned_calls_are_not_made_and_do_not_pile_up() {
        let pool = Threads::new("test", 1);
        let hangs = Arc::new(Barrier::new(2));
        let mut cx = Context::from_waker(Waker::noop());
        let mut hung = pin!(pool.run({
            let hangs = Arc::clone(&hangs);
            move || hangs.wait().is_leader()
        }));
        assert!(hung.as_mut().poll(&mut cx).is_pending());
        for _ in 0..LONG_QUEUE * 8 {
            let mut dropped = pin!(pool.run(|| panic!("an abandoned call was made")));
            let res: std::task::Poll<Result<()>> = dropped.as_mut().poll(&mut cx);
            assert!(res.is_pending());
        }
        assert!(pool.shared.get().unwrap().lock().queue.len() <= LONG_QUEUE);
        hangs.wait();
        assert_eq!(crate::runtime::block_on(pool.run(|| 7)).unwrap(), 7);
    }

    #[test]
    fn call_knows_whether_its_caller_has_left() {
        let pool = Threads::new("test", 1);
        let (begins, goes_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (sender, has_left) = std::sync::mpsc::channel();
        let call = {
            let (begins, goes_on) = (Arc::clone(&begins), Arc::clone(&goes_on));
            move || {
                sender.send(caller_has_left()).unwrap();
                begins.wait();
                goes_on.wait();
                sender.send(caller_has_left()).unwrap();
            }
        };
        let mut left = Box::pin(pool.run(call));
        assert!(left.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        begins.wait();
        drop(left);
        goes_on.wait();
        assert_eq!([has_left.recv(), has_left.recv()], [Ok(false), Ok(true)]);
        assert!(!crate::runtime::block_on(pool.run(caller_has_left)).unwrap());
        assert!(!caller_has_left(), "on another thread");
    }

    #[test]
    fn panic_in_the_store_is_an_error() {
        let pool = Threads::new("test", 1);
        let error =
            crate::runtime::block_on(pool.run(|| panic!("expected by the test"))).map(|(): ()| ());
        assert!(error.unwrap_err().to_string().contains("panicked"));
        assert_eq!(crate::runtime::block_on(pool.run(|| 7)).unwrap(), 7, "the thread survives");
    }
}
