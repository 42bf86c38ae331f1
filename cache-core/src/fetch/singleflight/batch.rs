//! One loader and one write for several flights.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::{
    leader::{Lead, PendingWrite, Revoked},
    wait_graph,
};
use crate::runtime::{first, sync::Ordering};

impl Lead {
    /// Runs one loader for all flights. A load inside it that would wait for one of them returns an
    /// error there.
    pub(crate) async fn load_all<F: Future>(leads: &[Self], loader: F) -> F::Output {
        let _edges = wait_graph::chain(leads.iter().map(|it| &it.flight));
        let mut loader = pin!(loader);
        poll_fn(|cx| {
            let _polling: Vec<_> = leads.iter().map(|it| wait_graph::enter(&it.flight)).collect();
            loader.as_mut().poll(cx)
        })
        .await
    }

    /// Writes the loaded values of all flights whose keys were not written meanwhile. `write` gets
    /// the positions of these flights. Returns `None` if nothing was written. `write` ends for all
    /// of them if a writer of one no longer waits. In all other respects it works like
    /// [`store`](Self::store); `dropped` gets the position of the flight as well.
    pub(crate) async fn store_all<F: Future>(
        leads: &[Self],
        write: impl FnOnce(Vec<usize>) -> F,
        lasts: Duration,
        patience: impl Future<Output = ()>,
        dropped: impl Fn(usize, u64),
    ) -> Option<F::Output> {
        let singleflight = &leads.first()?.singleflight;
        let began = poll_fn(|cx| {
            let mut table = singleflight.lock();
            let mut pending = 0;
            for lead in leads {
                let polled = singleflight.poll_arrived(&mut table, &lead.flight.key, cx);
                pending += usize::from(polled.is_pending());
            }
            if pending > 0 {
                return Poll::Pending;
            }
            let until = singleflight.after(lasts);
            let mut begun = Vec::with_capacity(leads.len());
            for (position, lead) in leads.iter().enumerate() {
                let key = &lead.flight.key;
                if lead.flight.stores() && !singleflight.is_being_written(&table, key) {
                    let (id, permit) = table.begin_write(key, until);
                    begun.push((position, id, permit));
                }
            }
            singleflight.count(&table);
            Poll::Ready((begun, until))
        });
        let (begun, until) = first(began, patience).await?;
        if begun.is_empty() {
            return None;
        }
        let positions = begun.iter().map(|(position, ..)| *position).collect();
        let dropped = &dropped;
        let pending = begun.into_iter().map(|(position, id, permit)| PendingWrite {
            lead: &leads[position],
            id,
            permit,
            dropped: Some(move |id| dropped(position, id)),
        });
        let mut pending: Vec<_> = pending.collect();
        let mut write = pin!(write(positions));
        let res = poll_fn(|cx| {
            if until <= singleflight.now() {
                return Poll::Ready(Ok(None));
            }
            let steps: Option<Vec<_>> = pending.iter().map(PendingWrite::step).collect();
            let Some(_steps) = steps else { return Poll::Ready(Err(Revoked)) };
            write.as_mut().poll(cx).map(|it| Ok(Some(it)))
        })
        .await;
        for it in &mut pending {
            if res.is_ok() {
                it.dropped = None;
            }
            let stripe = singleflight.stripe(&it.lead.flight.key);
            stripe.write_epoch.fetch_add(1, Ordering::SeqCst);
        }
        res.ok().flatten()
    }
}
