//! A connection that can be probed and reset from outside of the task that uses it.

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

/// A TCP or unix connection for a client library, while a [`SocketHandle`] stays with the owner.
///
/// When it is dropped, the connection is reset: bytes that are not delivered by then never are. It
/// closes gracefully after a [shutdown](AsyncWrite::poll_shutdown) or
/// [`close_gracefully`](SocketHandle::close_gracefully).
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
/// let mut received = Vec::new();
/// let error = server.read_to_end(&mut received).await.unwrap_err();
/// assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
/// # Ok(()) }
/// ```
pub struct Socket(Arc<Mutex<Option<Stream>>>);

/// A handle to a [`Socket`] that a client library owns.
#[derive(Clone)]
pub struct SocketHandle(Arc<Mutex<Option<Stream>>>);

/// The unread input of a socket, as the operating system knows it. The runtime may not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Nothing to read.
    Empty,
    /// Bytes that were not read yet. The connection may be closed after them.
    Unread,
    /// The connection was closed or reset, by the peer or by its handle.
    Closed,
}

/// A stream that a [`Socket`] can own.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// A TCP connection, made by a [`Dialer`](crate::Dialer).
    Tcp(TcpStream),
    /// A connection by a unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Takes the stream. Returns the socket and its handle.
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
    /// Resets the connection at once, also while a task uses the socket. A task that waits to read
    /// or write is not woken; the owner must abort it.
    pub fn reset(&self) {
        if let Some(Stream::Tcp(it)) = lock(&self.0).take() {
            reset(&it);
        }
    }

    /// Writes what the operating system takes at once, and does not wait.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing now; the connection is closed.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &*lock(&self.0) {
            Some(Stream::Tcp(it)) => it.try_write(bytes),
            #[cfg(unix)]
            Some(Stream::Unix(it)) => it.try_write(bytes),
            None => Err(aborted()),
        }
    }

    /// Makes the drop of the socket close the connection gracefully: bytes that were sent are
    /// delivered.
    pub fn close_gracefully(&self) {
        if let Some(stream) = &*lock(&self.0) {
            stream.close_gracefully();
        }
    }

    /// Returns what there is to read, without reading it.
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
            // Fails only if the connection is closed already.
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

/// The connection ends with the socket, although the handle remains.
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

/// Resets a connection at once: bytes that are not delivered by then never are. On Linux, it works
/// also while a forked child has inherited the connection.
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
/// let error = server.read_to_end(&mut Vec::new()).await.unwrap_err();
/// assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
/// # Ok(()) }
/// ```
pub fn reset(stream: &TcpStream) {
    // SO_LINGER may have been changed. Setting it fails only if the connection is closed already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    // SO_LINGER alone takes effect when the last descriptor is closed. This resets the connection
    // now; it fails only if the connection is closed already.
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
    io::Error::new(io::ErrorKind::NotConnected, "the connection was aborted")
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

    /// More than the send and receive buffers hold.
    const MUCH: usize = 64 << 20;

    /// Fills the buffers of the connection and returns how many bytes they hold.
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
    async fn reset_or_dropped_socket_discards_undelivered_bytes() {
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

    /// A forked child inherits a descriptor of each connection.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn reset_works_while_another_descriptor_is_open() {
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
    async fn socket_that_closes_gracefully_delivers_all_bytes() {
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
    async fn reset_after_a_shutdown_discards_undelivered_bytes() {
        let (mut socket, handle, mut server) = pair().await;
        let sent = fill(&mut socket).await;
        socket.shutdown().await.unwrap();
        handle.reset();
        assert!(received(&mut server).await.0 < sent);
    }

    #[tokio::test]
    async fn peek_sees_the_close_before_the_runtime_does() {
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
