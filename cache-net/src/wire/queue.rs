//! The state of a connection: bytes to send, and calls that wait for replies.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::BytesMut;
use cache_core::Error;
use tokio::sync::{Notify, oneshot};

use super::{Lost, concurrency::Concurrency};

/// The state that calls and the two tasks of a connection share.
pub(super) struct Queue<R> {
    state: Mutex<State<R>>,
    is_closed: AtomicBool,
    /// How many bytes have arrived.
    received: AtomicU64,
    /// There are bytes for the writer.
    pub(super) work: Notify,
    /// There is room for more bytes, or the connection was closed.
    room: Notify,
}

pub(super) struct State<R> {
    /// Requests that were encoded before, and the output from before them.
    pub(super) parts: VecDeque<BytesMut>,
    /// The output after the parts.
    pub(super) output: BytesMut,
    /// How many calls have appended to the output since it was last written or taken.
    pub(super) appended: usize,
    /// How many bytes the writer has taken and not written.
    in_writing: usize,
    /// Whether the writer was notified and has not looked yet.
    pub(super) is_notified: bool,
    pub(super) waiting: VecDeque<Outcome<R>>,
    concurrency: Concurrency,
    /// Whether calls have been under way at the same time since the connection was last idle.
    pub(super) is_shared: bool,
    pub(super) closed: Option<Closed>,
}

pub(super) struct Closed {
    pub(super) error: Error,
    /// Whether calls waited for replies.
    was_busy: bool,
}

/// A call that waits for its replies.
pub(super) enum Outcome<R> {
    One(oneshot::Sender<Result<R, Lost>>),
    Many { count: usize, replies: Vec<R>, send: oneshot::Sender<Result<Vec<R>, Lost>> },
}

/// A call that has all its replies.
pub(super) enum Finished<R> {
    One(oneshot::Sender<Result<R, Lost>>, R),
    Many(oneshot::Sender<Result<Vec<R>, Lost>>, Vec<R>),
}

/// While so many bytes wait to be sent, calls wait before they append theirs.
pub(super) const LIMIT: usize = 4 << 20;
/// On several threads, a call writes for at least so many. With smaller writes, threads and server
/// are woken up more often.
const LEAST_OF_THREADS: usize = 32;
/// The most bytes that a call writes for others. They wait for it.
const BURST_BYTES: usize = 64 << 10;
/// A buffer that has grown larger than this is not kept.
pub(super) const KEPT: usize = 256 << 10;

impl<R> Queue<R> {
    pub(super) fn new() -> Self {
        let state = State {
            parts: VecDeque::new(),
            output: BytesMut::new(),
            appended: 0,
            in_writing: 0,
            is_notified: false,
            waiting: VecDeque::new(),
            concurrency: Concurrency::default(),
            is_shared: false,
            closed: None,
        };
        Self {
            state: Mutex::new(state),
            is_closed: AtomicBool::new(false),
            received: AtomicU64::new(0),
            work: Notify::new(),
            room: Notify::new(),
        }
    }

    /// Waits until there may be room for more bytes.
    pub(super) async fn room(&self) {
        let mut notified = std::pin::pin!(self.room.notified());
        notified.as_mut().enable();
        if self.has_room() {
            return;
        }
        notified.await;
    }

    fn has_room(&self) -> bool {
        let state = self.lock();
        state.closed.is_some() || state.unsent() < LIMIT
    }

    /// Waits until there are bytes to write, and takes them. Returns `None` when the connection was
    /// closed.
    pub(super) async fn output(&self) -> Option<BytesMut> {
        loop {
            {
                let mut state = self.lock();
                state.is_notified = false;
                if state.closed.is_some() {
                    return None;
                }
                if let Some(output) = state.next_part() {
                    state.in_writing = output.len();
                    // The writer checks for new bytes after this write: calls need not notify it.
                    state.is_notified = true;
                    return Some(output);
                }
            }
            self.work.notified().await;
            // The runtime may run this task before the others that were woken with the first call.
            tokio::task::yield_now().await;
        }
    }

    /// Records that the writer has written what it took.
    pub(super) fn written(&self) {
        let was_full = {
            let mut state = self.lock();
            let was_full = state.unsent() >= LIMIT;
            state.in_writing = 0;
            was_full
        };
        if was_full {
            self.room.notify_waiters();
        }
    }

    /// Gives replies to the calls that wait for them, in order. Returns false if there are more
    /// replies than requests.
    pub(super) fn replies(&self, replies: &mut Vec<R>, finished: &mut Vec<Finished<R>>) -> bool {
        let mut state = self.lock();
        for reply in replies.drain(..) {
            let reply = match state.waiting.front_mut() {
                Some(Outcome::Many { count, replies, .. }) => {
                    replies.push(reply);
                    if replies.len() < *count {
                        continue;
                    }
                    None
                }
                Some(Outcome::One(_)) => Some(reply),
                None => return false,
            };
            match (state.waiting.pop_front(), reply) {
                (Some(Outcome::One(send)), Some(reply)) => {
                    finished.push(Finished::One(send, reply));
                }
                (Some(Outcome::Many { replies, send, .. }), _) => {
                    finished.push(Finished::Many(send, replies));
                }
                _ => return false,
            }
        }
        true
    }

    /// Ends the connection: all calls fail with this error, and nothing more is sent.
    pub(super) fn close(&self, error: &Error) {
        let waiting = {
            let mut state = self.lock();
            if state.closed.is_some() {
                return;
            }
            let was_busy = !state.waiting.is_empty();
            state.closed = Some(Closed { error: error.clone(), was_busy });
            (state.parts, state.output) = (VecDeque::new(), BytesMut::new());
            mem::take(&mut state.waiting)
        };
        self.is_closed.store(true, Ordering::Release);
        self.work.notify_one();
        self.room.notify_waiters();
        for it in waiting {
            let lost = Lost { error: error.clone(), was_sent: true };
            // A call that was dropped needs no reply.
            match it {
                Outcome::One(send) => drop(send.send(Err(lost))),
                Outcome::Many { send, .. } => drop(send.send(Err(lost))),
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Waits until the connection is closed.
    pub(super) async fn closed(&self) {
        loop {
            let mut notified = std::pin::pin!(self.room.notified());
            notified.as_mut().enable();
            if self.is_closed() {
                return;
            }
            notified.await;
        }
    }

    /// Records that bytes have arrived.
    pub(super) fn receive(&self, len: usize) {
        self.received.fetch_add(len as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        let state = self.lock();
        state.closed.as_ref().map_or(!state.waiting.is_empty(), |it| it.was_busy)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> State<R> {
    pub(super) fn unsent(&self) -> usize {
        let parts: usize = self.parts.iter().map(BytesMut::len).sum();
        parts + self.output.len() + self.in_writing
    }

    /// Adds a call to those that wait for replies.
    pub(super) fn wait(&mut self, call: Outcome<R>) {
        self.waiting.push_back(call);
        self.concurrency.record(self.waiting.len());
    }

    /// Returns whether a call is to write the output of many: that of half of the calls that were
    /// under way of late, so that the server executes it while the others are encoded. The writer
    /// would run only after all of them.
    pub(super) fn is_burst(&self, is_one_thread: bool) -> bool {
        let least = if is_one_thread { 0 } else { LEAST_OF_THREADS };
        self.appended >= least.max(self.concurrency.most() / 2)
            && self.in_writing == 0
            && self.output.len() <= BURST_BYTES
    }

    /// Removes the bytes to write next, if there are any.
    fn next_part(&mut self) -> Option<BytesMut> {
        if let Some(part) = self.parts.pop_front() {
            return Some(part);
        }
        if self.output.is_empty() {
            return None;
        }
        self.appended = 0;
        let part = self.output.split();
        if self.output.capacity() > KEPT {
            self.output = BytesMut::new();
        }
        Some(part)
    }
}

impl<R> Outcome<R> {
    pub(super) fn many(count: usize, send: oneshot::Sender<Result<Vec<R>, Lost>>) -> Self {
        Self::Many { count, replies: Vec::with_capacity(count), send }
    }
}

impl<R> Finished<R> {
    /// Wakes the call.
    pub(super) fn send(self) {
        // A call that was dropped needs no reply.
        match self {
            Self::One(send, reply) => drop(send.send(Ok(reply))),
            Self::Many(send, replies) => drop(send.send(Ok(replies))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of calls with which a call writes for all, while so many are under way.
    fn burst(calls: usize, is_one_thread: bool) -> Option<usize> {
        let queue = Queue::<()>::new();
        let mut state = queue.lock();
        for _ in 0..calls {
            state.wait(Outcome::One(oneshot::channel().0));
        }
        (1..=calls).find(|appended| {
            state.appended = *appended;
            state.is_burst(is_one_thread)
        })
    }

    #[test]
    fn call_writes_for_half_of_the_calls_under_way() {
        assert_eq!([8, 32, 64, 128].map(|it| burst(it, true)), [4, 16, 32, 64].map(Some));
        assert_eq!([8, 31].map(|it| burst(it, false)), [None, None]);
        assert_eq!([32, 64, 128].map(|it| burst(it, false)), [32, 32, 64].map(Some));
    }

    #[test]
    fn call_does_not_write_much_for_others_nor_while_the_writer_writes() {
        let queue = Queue::<()>::new();
        let mut state = queue.lock();
        state.appended = 64;
        state.output.resize(BURST_BYTES, 0);
        assert!(state.is_burst(true) && state.is_burst(false));
        state.in_writing = 1;
        assert!(!state.is_burst(true) && !state.is_burst(false));
        state.in_writing = 0;
        state.output.resize(BURST_BYTES + 1, 0);
        assert!(!state.is_burst(true) && !state.is_burst(false));
    }
}
