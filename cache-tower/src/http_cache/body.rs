//! The body of a response: a stored one, or that of the service.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

/// The body of a response of an [`HttpCacheService`](super::HttpCacheService): a stored one, or
/// that of the service behind the layer.
pub struct HttpCacheBody<B: Body> {
    /// The frames that were read before it was clear that the body is not stored.
    read: VecDeque<Result<Frame<Bytes>, B::Error>>,
    /// Boxed, because the body moves after its first frames were read.
    rest: Option<Pin<Box<B>>>,
}

impl<B: Body> HttpCacheBody<B> {
    pub(super) fn stored(body: Bytes) -> Self {
        let read = if body.is_empty() { VecDeque::new() } else { [Ok(Frame::data(body))].into() };
        Self { read, rest: None }
    }

    pub(super) fn empty() -> Self {
        Self { read: VecDeque::new(), rest: None }
    }

    pub(super) fn of_service(body: B) -> Self {
        Self { read: VecDeque::new(), rest: Some(Box::pin(body)) }
    }
}

impl<B: Body> Body for HttpCacheBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if let Some(frame) = this.read.pop_front() {
            return Poll::Ready(Some(frame));
        }
        let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
        rest.as_mut().poll_frame(cx).map_ok(to_bytes)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().filter_map(|it| it.as_ref().ok()?.data_ref());
        let read: u64 = read.map(|it| it.len() as u64).sum();
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut res = SizeHint::new();
        res.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|it| it.checked_add(read)) {
            res.set_upper(upper);
        }
        res
    }
}

// A derive would demand it of the body.
impl<B: Body> fmt::Debug for HttpCacheBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

// The frames that were read are never pinned.
impl<B: Body> Unpin for HttpCacheBody<B> {}

/// The result of reading a body as a whole.
pub(super) enum Read<B: Body> {
    Whole(Bytes),
    /// The body is too long, has trailers, or failed.
    Part(HttpCacheBody<B>),
}

/// Reads a body as long as it is not longer than `max`.
pub(super) async fn read<B: Body>(body: B, max: usize) -> Read<B> {
    let is_too_long = |it: u64| usize::try_from(it).map_or(true, |it| it > max);
    if is_too_long(body.size_hint().lower()) {
        return Read::Part(HttpCacheBody::of_service(body));
    }
    let mut body = Box::pin(body);
    let mut read: VecDeque<Result<Frame<Bytes>, B::Error>> = VecDeque::new();
    let mut len = 0;
    loop {
        let frame = body.frame().await;
        let Some(frame) = frame else { break };
        let frame = frame.map(to_bytes);
        let data = frame.as_ref().ok().and_then(Frame::data_ref).map(Bytes::len);
        read.push_back(frame);
        match data {
            Some(data) => len += data,
            None => return Read::Part(HttpCacheBody { read, rest: Some(body) }),
        }
        if len > max {
            return Read::Part(HttpCacheBody { read, rest: Some(body) });
        }
    }
    let mut frames = read.into_iter().filter_map(|it| it.ok()?.into_data().ok());
    let Some(first) = frames.next() else { return Read::Whole(Bytes::new()) };
    if first.len() == len {
        return Read::Whole(first);
    }
    let mut whole = BytesMut::with_capacity(len);
    whole.extend_from_slice(&first);
    frames.for_each(|it| whole.extend_from_slice(&it));
    Read::Whole(whole.freeze())
}

fn to_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut it| it.copy_to_bytes(it.remaining()))
}
