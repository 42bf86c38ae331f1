//! One connection that many calls use at the same time.

mod concurrency;
mod decode;
mod lost;
mod queue;
mod reader;
mod writer;

use std::{fmt, mem, sync::Arc};

use bytes::{Buf as _, BytesMut};
use cache_core::{Error, ErrorKind};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::{Handle, RuntimeFlavor},
    sync::oneshot,
    task::AbortHandle,
};

pub use self::{
    decode::{Decode, Decoded},
    lost::Lost,
};
use self::{
    queue::{KEPT, LIMIT, Outcome, Queue},
    reader::CloseOnDrop,
};
use crate::{Peek, SocketHandle, runtime_closed};

/// A connection whose requests are pipelined: each call appends its requests to one output buffer,
/// and takes the replies that the server sends in the same order.
///
/// Without TLS, a call on an idle connection writes its requests itself. On a runtime of several
/// threads, it does not if calls shared the connection just before. When half of the calls under
/// way wait to be sent, and on several threads at least 32, the last of them writes for all. In all
/// other cases, a task writes the requests of many calls together. Another task reads, and one read
/// may end many calls.
///
/// The memory is bounded: while [`UNSENT_LIMIT`](Self::UNSENT_LIMIT) bytes wait to be sent, calls
/// wait before they append theirs.
///
/// When it is dropped, a connection without outstanding replies closes gracefully; otherwise it is
/// aborted.
///
/// ```
/// use std::time::Duration;
///
/// use bytes::BytesMut;
/// use cache_core::{Clock, Result};
/// use cache_net::{Decode, Decoded, Dialer, Socket, Wire};
/// use tokio::{io::{AsyncReadExt as _, AsyncWriteExt as _}, net::TcpListener, runtime::Handle};
///
/// /// Replies of one byte.
/// struct Bytewise;
///
/// impl Decode for Bytewise {
///     type Reply = u8;
///
///     fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded<u8>> {
///         Ok(match input.split_to(input.len().min(1)).first() {
///             Some(byte) => Decoded::Reply(*byte),
///             None => Decoded::Incomplete { missing: 1 },
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
/// let dialer = Dialer::new(Duration::from_secs(1), Clock::system());
/// let stream = dialer.connect("127.0.0.1", listener.local_addr().unwrap().port()).await.unwrap();
/// let (socket, handle) = Socket::new(stream);
/// let (mut server, _) = listener.accept().await.unwrap();
/// // An echo.
/// let server = tokio::spawn(async move {
///     let mut request = [0; 3];
///     server.read_exact(&mut request).await.unwrap();
///     server.write_all(&request).await.unwrap();
/// });
///
/// let wire = Wire::plain(&Handle::current(), socket, handle, Bytewise);
/// let one = wire.call(|out| out.extend_from_slice(b"a"));
/// let two = wire.call_many(2, |out| out.extend_from_slice(b"bc"));
/// let (one, two) = tokio::join!(one, two);
/// assert_eq!((one.unwrap(), two.unwrap()), (b'a', vec![b'b', b'c']));
///
/// // The server closed the connection.
/// server.await.unwrap();
/// wire.closed().await;
/// let lost = wire.call(|out| out.extend_from_slice(b"d")).await.unwrap_err();
/// assert!(!lost.was_sent);
/// # }
/// ```
pub struct Wire<D: Decode> {
    queue: Arc<Queue<D::Reply>>,
    socket: SocketHandle,
    /// Whether calls may write to the socket by themselves.
    is_plain: bool,
    /// Whether the runtime has one thread. That of blocking handles has one, although their calls
    /// come from several threads.
    is_one_thread: bool,
    tasks: [AbortHandle; 2],
}

impl<D: Decode> Wire<D> {
    /// While so many bytes wait to be sent, calls wait before they append theirs.
    pub const UNSENT_LIMIT: usize = LIMIT;

    /// Takes a connection without encryption. Its tasks run on this runtime.
    pub fn plain(
        runtime: &Handle,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        socket: SocketHandle,
        decoder: D,
    ) -> Self {
        Self::start(runtime, stream, socket, true, decoder)
    }

    /// Takes a connection whose stream changes the bytes on their way to the socket, as TLS does:
    /// only a task writes to it.
    pub fn wrapped(
        runtime: &Handle,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        socket: SocketHandle,
        decoder: D,
    ) -> Self {
        Self::start(runtime, stream, socket, false, decoder)
    }

    fn start(
        runtime: &Handle,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        socket: SocketHandle,
        is_plain: bool,
        decoder: D,
    ) -> Self {
        let queue = Arc::new(Queue::new());
        let (read, write) = tokio::io::split(stream);
        let reader = runtime.spawn(reader::run(read, decoder, CloseOnDrop(Arc::clone(&queue))));
        let writer = runtime.spawn(writer::run(write, CloseOnDrop(Arc::clone(&queue))));
        let is_one_thread = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
        let tasks = [reader.abort_handle(), writer.abort_handle()];
        Self { queue, socket, is_plain, is_one_thread, tasks }
    }

    /// Sends a request that has one reply, and waits for the reply. `encode` appends the request to
    /// the output; it must not remove anything. Other calls wait for it, so a large request is
    /// better [encoded before](Self::call_encoded).
    ///
    /// # Errors
    /// The connection was closed before the reply.
    ///
    /// # Cancel safety
    /// The request may have been sent. The reply is discarded.
    pub async fn call(&self, encode: impl FnOnce(&mut BytesMut)) -> Result<D::Reply, Lost> {
        let (send, receive) = oneshot::channel();
        match self.try_enqueue(Outcome::One(send), Requests::Encode(encode)) {
            Enqueue::Done => {}
            other => Box::pin(self.enqueue_later(other)).await?,
        }
        received(receive.await)
    }

    /// Sends requests that have `count` replies together, and waits for all of them.
    ///
    /// # Errors
    /// The connection was closed before the last reply.
    ///
    /// # Cancel safety
    /// The requests may have been sent. The replies are discarded.
    pub async fn call_many(
        &self,
        count: usize,
        encode: impl FnOnce(&mut BytesMut),
    ) -> Result<Vec<D::Reply>, Lost> {
        self.call_all(count, Requests::Encode(encode)).await
    }

    /// Sends requests that the caller has encoded, and waits for their `count` replies.
    ///
    /// # Errors
    /// The connection was closed before the last reply.
    ///
    /// # Cancel safety
    /// The requests may have been sent. The replies are discarded.
    pub async fn call_encoded(
        &self,
        count: usize,
        requests: BytesMut,
    ) -> Result<Vec<D::Reply>, Lost> {
        self.call_all(count, Requests::<fn(&mut BytesMut)>::Encoded(requests)).await
    }

    async fn call_all(
        &self,
        count: usize,
        requests: Requests<impl FnOnce(&mut BytesMut)>,
    ) -> Result<Vec<D::Reply>, Lost> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let (send, receive) = oneshot::channel();
        match self.try_enqueue(Outcome::many(count, send), requests) {
            Enqueue::Done => {}
            other => Box::pin(self.enqueue_later(other)).await?,
        }
        received(receive.await)
    }

    /// Waits for room, and appends the requests. The future is boxed where it is used, because it
    /// would enlarge the futures of all calls.
    #[cold]
    async fn enqueue_later(
        &self,
        mut call: Enqueue<D::Reply, impl FnOnce(&mut BytesMut)>,
    ) -> Result<(), Lost> {
        loop {
            match call {
                Enqueue::Done => return Ok(()),
                Enqueue::Closed(error) => return Err(Lost { error, was_sent: false }),
                Enqueue::Full((outcome, requests)) => {
                    self.queue.room().await;
                    call = self.try_enqueue(outcome, requests);
                }
            }
        }
    }

    /// Appends the requests of a call. Writes them at once if calls may write to the socket, and
    /// the call is alone, or many calls wait to be sent. Otherwise, the writer writes them, also
    /// those that were encoded before: they are large, and a write takes long.
    fn try_enqueue<F: FnOnce(&mut BytesMut)>(
        &self,
        outcome: Outcome<D::Reply>,
        requests: Requests<F>,
    ) -> Enqueue<D::Reply, F> {
        let queue = &*self.queue;
        let mut guard = queue.lock();
        let state = &mut *guard;
        if let Some(closed) = &state.closed {
            return Enqueue::Closed(closed.error.clone());
        }
        if state.unsent() >= LIMIT {
            return Enqueue::Full((outcome, requests));
        }
        let is_idle = state.waiting.is_empty() && state.unsent() == 0;
        match requests {
            Requests::Encode(encode) => {
                encode(&mut state.output);
                state.appended += 1;
            }
            Requests::Encoded(requests) => {
                if !state.output.is_empty() {
                    let before = state.output.split();
                    state.parts.push_back(before);
                    state.appended = 0;
                }
                state.parts.push_back(requests);
            }
        }
        state.wait(outcome);
        // On one thread, the server begins with the first of the calls that come together while the
        // others are encoded. More threads encode at the same time, so the first one waits.
        let was_shared = mem::replace(&mut state.is_shared, !is_idle);
        let is_alone = is_idle && (self.is_one_thread || !was_shared);
        if self.is_plain
            && state.parts.is_empty()
            && (is_alone || state.is_burst(self.is_one_thread))
        {
            state.appended = 0;
            // On an error the writer finds it, too, and closes the connection.
            if let Ok(written) = self.socket.try_write(&state.output) {
                state.output.advance(written);
                if state.output.is_empty() {
                    if written > KEPT {
                        state.output = BytesMut::new();
                    }
                    return Enqueue::Done;
                }
            }
        }
        let notifies = !mem::replace(&mut state.is_notified, true);
        drop(guard);
        if notifies {
            queue.work.notify_one();
        }
        Enqueue::Done
    }

    /// Returns whether the connection was closed: by the server, by [`abort`](Self::abort), or
    /// because its runtime has shut down.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Waits until the connection is closed. The future does not keep the connection.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<D> {
        let queue = Arc::clone(&self.queue);
        async move { queue.closed().await }
    }

    /// Returns whether requests were sent whose replies have not arrived, those of dropped calls
    /// included. For a closed connection, returns whether replies were outstanding when it closed:
    /// the server may still execute the requests that it has received.
    pub fn is_busy(&self) -> bool {
        self.queue.is_busy()
    }

    /// Returns how many bytes have arrived. While a long reply arrives, the number grows before the
    /// reply is complete.
    pub fn received(&self) -> u64 {
        self.queue.received()
    }

    /// Returns what the operating system has received on the connection. The reader may not know
    /// yet.
    pub fn peek(&self) -> Peek {
        self.socket.peek()
    }

    /// Resets the connection at once, with all calls on it: nothing more is sent.
    pub fn abort(&self) {
        self.queue.close(&Error::new(ErrorKind::Unavailable, "the connection was aborted"));
        self.tasks.iter().for_each(AbortHandle::abort);
        self.socket.reset();
    }
}

fn received<T>(reply: Result<Result<T, Lost>, oneshot::error::RecvError>) -> Result<T, Lost> {
    reply.unwrap_or_else(|_| Err(Lost { error: runtime_closed(), was_sent: true }))
}

impl<D: Decode> Drop for Wire<D> {
    fn drop(&mut self) {
        if self.is_busy() {
            return self.abort();
        }
        self.socket.close_gracefully();
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl<D: Decode> fmt::Debug for Wire<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Wire");
        debug.field("is_closed", &self.is_closed()).field("is_busy", &self.is_busy());
        debug.finish_non_exhaustive()
    }
}

/// The requests of a call.
enum Requests<F> {
    /// Appends them to the output.
    Encode(F),
    Encoded(BytesMut),
}

/// The result of [`Wire::try_enqueue`].
enum Enqueue<R, F> {
    Done,
    /// Too many bytes wait to be sent. Returns the call.
    Full((Outcome<R>, Requests<F>)),
    Closed(Error),
}
