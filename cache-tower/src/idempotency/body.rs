use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of the responses of [`IdempotencyService`](super::IdempotencyService): that of the
    /// inner service, or one that is in memory.
    #[derive(Debug)]
    pub struct IdempotencyBody<B> {
        // All of it, or what was already read of `rest`.
        read: Option<Bytes>,
        #[pin]
        rest: Option<B>,
    }
}

impl<B> IdempotencyBody<B> {
    pub(super) fn full(body: Bytes) -> Self {
        let read = if body.is_empty() { None } else { Some(body) };
        Self { read, rest: None }
    }

    pub(super) fn with_rest(read: Bytes, rest: B) -> Self {
        let read = if read.is_empty() { None } else { Some(read) };
        Self { read, rest: Some(rest) }
    }
}

impl<B: Body<Data = Bytes>> Body for IdempotencyBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(read) = this.read.take() {
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        match this.rest.as_pin_mut() {
            Some(rest) => rest.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.as_ref().map_or(0, |it| it.len() as u64);
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut res = SizeHint::new();
        res.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            res.set_upper(upper.saturating_add(read));
        }
        res
    }
}
