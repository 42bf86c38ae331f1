use std::{
    future::{Future, poll_fn},
    task::Poll,
};

/// Runs the futures at the same time, so that a future that hangs does not delay the others.
/// Returns their outputs in order.
pub(crate) async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|it| (Box::pin(it), None)).collect();
    poll_fn(|cx| {
        for (future, answer) in futures.iter_mut().filter(|(_, answer)| answer.is_none()) {
            if let Poll::Ready(it) = future.as_mut().poll(cx) {
                *answer = Some(it);
            }
        }
        if futures.iter().any(|(_, answer)| answer.is_none()) {
            return Poll::Pending;
        }
        Poll::Ready(futures.iter_mut().filter_map(|(_, answer)| answer.take()).collect())
    })
    .await
}
