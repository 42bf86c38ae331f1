use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// Returns the output of the first future, or `None` if `limit` ends before it.
pub(crate) async fn first<F: Future>(
    future: F,
    limit: impl Future<Output = ()>,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut limit = pin!(limit);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(res) => Poll::Ready(Some(res)),
        Poll::Pending => limit.as_mut().poll(cx).map(|()| None),
    })
    .await
}
