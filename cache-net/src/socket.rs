//! A stream of bytes to a server that can be looked at and reset from outside of the task that moves its bytes.

use std::{
    fmt, io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection by TCP, or by a unix socket. It may be handed to a client library, while its [`SocketHandle`] stays with its owner.
///
/// Dropped, it is reset: what was not delivered by then never is. It ends in good order after it was
/// [shut down](AsyncWrite::poll_shutdown), or if its handle [says so](SocketHandle::end_in_order).
///
/// ```
/// use std::{io, time::Duration};
///
/// use cache_core::Clock;
/// use cache_net::{Dialer, Peek, Socket};
/// use tokio::{io::{AsyncReadExt as _, AsyncWriteExt as _}, net::TcpListener};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let dialer = Dialer::new(Duration::from_secs(1), Clock::system());
/// let stream = dialer.connect("127.0.0.1", listener.local_addr()?.port()).await?;
/// let (mut socket, handle) = Socket::new(stream);
/// let (mut server, _) = listener.accept().await?;
/// assert_eq!(handle.peek(), Peek::Empty);
///
/// socket.write_all(b"a write").await?;
/// handle.reset();
/// assert_eq!(handle.peek(), Peek::Closed);
/// assert!(socket.write_all(b"another").await.is_err());
///
/// let mut said = Vec::new();
/// let ended = server.read_to_end(&mut said).await.unwrap_err();
/// assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
/// # Ok(()) }
/// ```
pub struct Socket(Arc<Mutex<Option<Stream>>>);

/// The way to a [`Socket`] that is somebody else's by now.
#[derive(Clone)]
pub struct SocketHandle(Arc<Mutex<Option<Stream>>>);

/// What there is to read on a socket, by the system's own account. The runtime may not have heard of it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Nothing.
    Empty,
    /// Bytes that nobody has read. The end may come after them.
    Unread,
    /// The end: the other side has closed or reset it, or it was given up here.
    Closed,
}

/// Either sort of connection.
#[derive(Debug)]
pub enum Stream {
    /// By TCP, of [`Dialer`](crate::Dialer).
    Tcp(TcpStream),
    /// By a unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Takes the stream over.
    pub fn new(stream: impl Into<Stream>) -> (Self, SocketHandle) {
        let shared = Arc::new(Mutex::new(Some(stream.into())));
        (Self(Arc::clone(&shared)), SocketHandle(shared))
    }

    fn poll<T>(
        &self,
        poll: impl FnOnce(Pin<&mut dyn ReadWrite>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *lock(&self.0) {
            Some(Stream::Tcp(it)) => poll(Pin::new(it)),
            #[cfg(unix)]
            Some(Stream::Unix(it)) => poll(Pin::new(it)),
            None => Poll::Ready(Err(aborted())),
        }
    }
}

impl SocketHandle {
    /// Resets the connection now, whatever the task that has the socket is doing. Whoever waits there to read or to write is not
    /// woken: that task is for its owner to end.
    pub fn reset(&self) {
        if let Some(Stream::Tcp(it)) = lock(&self.0).take() {
            reset(&it);
        }
    }

    /// Has the connection closed in good order when the socket is dropped: what was sent is delivered.
    pub fn close_gracefully(&self) {
        if let Some(stream) = &*lock(&self.0) {
            stream.close_gracefully();
        }
    }

    /// Looks what there is to read, and leaves it there.
    pub fn peek(&self) -> Peek {
        let shared = lock(&self.0);
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match &*shared {
            Some(Stream::Tcp(it)) => SockRef::from(it).peek(&mut byte),
            #[cfg(unix)]
            Some(Stream::Unix(it)) => SockRef::from(it).peek(&mut byte),
            None => return Peek::Closed,
        };
        match peeked {
            Ok(0) => Peek::Closed,
            Ok(_) => Peek::Unread,
            Err(it) => match it.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Peek::Empty,
                _ => Peek::Closed,
            },
        }
    }
}

impl Stream {
    fn close_gracefully(&self) {
        if let Self::Tcp(it) = self {
            // If it cannot be lifted, there is no connection any more.
            let _ = SockRef::from(it).set_linger(None);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|it| it.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(|it| it.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(|it| it.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|it| it.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(stream) = &*lock(&self.0) {
            stream.close_gracefully();
        }
        self.poll(|it| it.poll_shutdown(cx))
    }
}

/// The handle does not keep it open.
impl Drop for Socket {
    fn drop(&mut self) {
        let stream = lock(&self.0).take();
        if let Some(Stream::Tcp(it)) = stream
            && SockRef::from(&it).linger().is_ok_and(|it| it == Some(Duration::ZERO))
        {
            reset(&it);
        }
    }
}

/// Resets a connection now: what was not delivered by then never is. On Linux, also while a child of `fork` has inherited it.
///
/// ```
/// use std::io;
///
/// use tokio::{io::{AsyncReadExt as _, AsyncWriteExt as _}, net::{TcpListener, TcpStream}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let mut stream = TcpStream::connect(listener.local_addr()?).await?;
/// let (mut server, _) = listener.accept().await?;
/// stream.write_all(b"a write").await?;
/// cache_net::reset(&stream);
/// let ended = server.read_to_end(&mut Vec::new()).await.unwrap_err();
/// assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
/// # Ok(()) }
/// ```
pub fn reset(stream: &TcpStream) {
    // The linger may have been lifted; if it cannot be set, there is no connection any more.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    // A reset by the linger waits until the last descriptor is closed. Where this fails, there is no connection any more.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::connect_unspec(stream);
}

trait ReadWrite: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> ReadWrite for T {}

impl From<TcpStream> for Stream {
    fn from(it: TcpStream) -> Self {
        Self::Tcp(it)
    }
}

#[cfg(unix)]
impl From<UnixStream> for Stream {
    fn from(it: UnixStream) -> Self {
        Self::Unix(it)
    }
}

fn lock(shared: &Mutex<Option<Stream>>) -> MutexGuard<'_, Option<Stream>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn aborted() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection was given connection")
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&*lock(&self.0)).finish()
    }
}

impl fmt::Debug for SocketHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketHandle").field(&*lock(&self.0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use cache_core::Clock;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::Dialer;

    async fn pair() -> (Socket, SocketHandle, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let dialer = Dialer::new(Duration::from_secs(20), Clock::system());
        let stream =
            dialer.connect("127.0.0.1", listener.local_addr().unwrap().port()).await.unwrap();
        let (socket, handle) = Socket::new(stream);
        (socket, handle, listener.accept().await.unwrap().0)
    }

    /// More than both buffers of a connection hold.
    const MUCH: usize = 64 << 20;

    /// Fills the connection until it takes no more, and returns how much it took.
    async fn fill(socket: &mut Socket) -> usize {
        let (bytes, mut len) = (vec![7; MUCH], 0);
        while let Ok(n) =
            tokio::time::timeout(Duration::from_millis(50), socket.write(&bytes)).await
        {
            len += n.unwrap();
        }
        len
    }

    async fn received(server: &mut TcpStream) -> (usize, io::Result<usize>) {
        let mut bytes = Vec::new();
        let end = server.read_to_end(&mut bytes).await;
        (bytes.len(), end)
    }

    #[tokio::test]
    async fn reset_or_dropped_socket_delivers_nothing_that_was_not_delivered() {
        for drops in [false, true] {
            let (mut socket, handle, mut server) = pair().await;
            let sent = fill(&mut socket).await;
            if drops {
                drop(socket);
            } else {
                handle.reset();
            }
            let (len, end) = received(&mut server).await;
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            assert!(len < sent, "{len} of {sent}");
        }
    }

    /// As a child of `fork` keeps what it has inherited.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn socket_is_reset_while_another_descriptor_of_it_is_open() {
        for drops in [false, true] {
            let (mut socket, handle, mut server) = pair().await;
            let sent = fill(&mut socket).await;
            let inherited = match &*lock(&socket.0) {
                Some(Stream::Tcp(it)) => SockRef::from(it).try_clone().unwrap(),
                _ => unreachable!(),
            };
            if drops {
                drop(socket);
            } else {
                handle.reset();
            }
            let (len, end) = received(&mut server).await;
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            assert!(len < sent, "{len} of {sent}");
            drop(inherited);
        }
    }

    #[tokio::test]
    async fn socket_that_ends_in_order_delivers_all() {
        for shuts_down in [false, true] {
            let (mut socket, handle, mut server) = pair().await;
            let sent = fill(&mut socket).await;
            if shuts_down {
                socket.shutdown().await.unwrap();
            } else {
                handle.close_gracefully();
            }
            drop(socket);
            let (len, end) = received(&mut server).await;
            assert_eq!((len, end.unwrap()), (sent, sent));
        }
    }

    #[tokio::test]
    async fn reset_after_a_shutdown_is_a_reset() {
        let (mut socket, handle, mut server) = pair().await;
        let sent = fill(&mut socket).await;
        socket.shutdown().await.unwrap();
        handle.reset();
        assert!(received(&mut server).await.0 < sent);
    }

    #[tokio::test]
    async fn end_is_seen_before_the_runtime_hears_of_it() {
        let (mut socket, handle, mut server) = pair().await;
        assert_eq!(handle.peek(), Peek::Empty);
        server.write_all(b"x").await.unwrap();
        while handle.peek() == Peek::Empty {}
        assert_eq!(handle.peek(), Peek::Unread);
        socket.read_exact(&mut [0]).await.unwrap();
        assert_eq!(handle.peek(), Peek::Empty);
        drop(server);
        while handle.peek() == Peek::Empty {}
        assert_eq!(handle.peek(), Peek::Closed);
    }
}
