//! Threads of a store's own.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

use crate::{Error, ErrorKind, PerProcess, Result};

/// A few threads for calls that block, for a store that is no [`SyncBackend`](crate::SyncBackend) as a whole; the others have
/// [`Offload`](crate::Offload). They are started when there is work for them, and end with this value. A child of `fork` starts its own.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let threads = cache_core::Threads::new("mine", 2);
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
    queue: VecDeque<Box<dyn Job>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// A call, and where its answer goes.
trait Job: Send {
    /// Whether somebody still waits for the answer.
    fn is_wanted(&self) -> bool;
    fn run(self: Box<Self>);
}

struct Call<F, T> {
    call: F,
    answer: oneshot::Sender<T>,
}

impl<T: Send, F: FnOnce() -> T + Send> Job for Call<F, T> {
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    fn run(self: Box<Self>) {
        // A panic drops the answer, which the caller sees as an error.
        if let Ok(res) = catch_unwind(AssertUnwindSafe(self.call)) {
            // Nobody may be there any more.
            let _ = self.answer.send(res);
        }
    }
}

/// From this length on, the queue is now and then rid of calls that nobody waits for: threads that hang do not.
const LONG_QUEUE: usize = 256;

impl Threads {
    /// Up to so many threads, at least one, named `cache-` and `name`.
    pub fn new(name: &'static str, most: usize) -> Self {
        Self { shared: PerProcess::new(), name, most: most.max(1) }
    }

    /// Runs `call` on one of the threads. A call whose future is dropped before its turn is not made. Needs no runtime.
    ///
    /// `Unavailable` if no thread can be started, `Backend` if the call panics.
    pub async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, receiver) = oneshot::channel();
        self.push(Box::new(Call { call, answer }))?;
        receiver.await.map_err(|_| Error::new(ErrorKind::Backend, "the store's code panicked"))
    }

    fn push(&self, job: Box<dyn Job>) -> Result<()> {
        let shared = self.shared.get_or_init(Arc::default);
        let mut state = shared.lock();
        if state.idle <= state.queue.len() && state.threads < self.most {
            match self.start_thread(shared) {
                Ok(()) => state.threads += 1,
                Err(_) if state.threads > 0 => {} // the others will do
                Err(err) => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("cannot start a thread for the store: {err}"),
                    ));
                }
            }
        }
        if state.queue.len() >= LONG_QUEUE && state.queue.len().is_power_of_two() {
            state.queue.retain(|it| it.is_wanted());
        }
        state.queue.push_back(job);
        drop(state);
        shared.work.notify_one();
        Ok(())
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
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                if job.is_wanted() {
                    job.run();
                }
                state = self.lock();
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
    fn calls_that_nobody_waits_for_are_not_made_and_do_not_pile_up() {
        let pool = Threads::new("test", 1);
        let hangs = Arc::new(Barrier::new(2));
        let mut cx = Context::from_waker(Waker::noop());
        let mut hung = pin!(pool.run({
            let hangs = Arc::clone(&hangs);
            move || hangs.wait().is_leader()
        }));
        assert!(hung.as_mut().poll(&mut cx).is_pending());
        for _ in 0..LONG_QUEUE * 8 {
            let mut dropped = pin!(pool.run(|| panic!("it was made")));
            let res: std::task::Poll<Result<()>> = dropped.as_mut().poll(&mut cx);
            assert!(res.is_pending());
        }
        assert!(pool.shared.get().unwrap().lock().queue.len() <= LONG_QUEUE);
        hangs.wait();
        assert_eq!(crate::runtime::block_on(pool.run(|| 7)).unwrap(), 7);
    }

    #[test]
    fn a_panic_in_the_store_is_an_error() {
        let pool = Threads::new("test", 1);
        let error =
            crate::runtime::block_on(pool.run(|| panic!("as the test wants"))).map(|(): ()| ());
        assert!(error.unwrap_err().to_string().contains("panicked"));
        assert_eq!(crate::runtime::block_on(pool.run(|| 7)).unwrap(), 7, "the thread goes on");
    }
}
