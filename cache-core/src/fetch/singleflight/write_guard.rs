//! A caller that writes a key itself.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::{claims::Claim, shared::Singleflight};
use crate::runtime::sync::Ordering;

/// The claim of a caller that writes a key: no flight stores the key meanwhile.
///
/// It borrows, because it never outlives its call, and each write would pay for a shared count.
pub(crate) struct WriteGuard<'a> {
    singleflight: &'a Singleflight,
    key: &'a str,
    /// If the write may have to wait. Otherwise, the stripe of the key counts it.
    claim: Option<Claim>,
}

impl Singleflight {
    /// Begins a write that takes at most `lasts`: neither the key's flight nor any that begins
    /// before the write ends will store its value. The caller then calls [`detach`](Self::detach).
    pub(crate) fn begin_write<'a>(&'a self, key: &'a str, lasts: Duration) -> WriteGuard<'a> {
        if self.writes_wait {
            let claim = Claim { key: self.hasher.hash(key), until: self.after(lasts) };
            self.lock().claims.add(claim);
            return WriteGuard { singleflight: self, key, claim: Some(claim) };
        }
        self.stripe(key).writers.fetch_add(1, Ordering::SeqCst);
        WriteGuard { singleflight: self, key, claim: None }
    }

    /// Begins the writes of these keys, as [`begin_write`](Self::begin_write) does for one.
    pub(crate) fn begin_writes<'a>(
        &'a self,
        keys: impl Iterator<Item = &'a str>,
        lasts: Duration,
    ) -> Vec<WriteGuard<'a>> {
        if !self.writes_wait {
            return keys.map(|key| self.begin_write(key, lasts)).collect();
        }
        let until = self.after(lasts);
        let claimed = |key| {
            let claim = Claim { key: self.hasher.hash(key), until };
            WriteGuard { singleflight: self, key, claim: Some(claim) }
        };
        let guards: Vec<_> = keys.map(claimed).collect();
        let mut table = self.lock();
        guards.iter().filter_map(|it| it.claim).for_each(|it| table.claims.add(it));
        drop(table);
        guards
    }
}

impl WriteGuard<'_> {
    /// Lets the claim expire: the write may have to wait, and its future may never be polled again.
    pub(crate) fn expire_after(&mut self, lasts: Duration) {
        if self.claim.is_some() {
            return;
        }
        let Self { singleflight, key, .. } = *self;
        let claim = Claim { key: singleflight.hasher.hash(key), until: singleflight.after(lasts) };
        singleflight.lock().claims.add(claim);
        singleflight.stripe(key).writers.fetch_sub(1, Ordering::SeqCst);
        self.claim = Some(claim);
    }

    /// Makes the write. Returns `None` if the claim expires first: flights of the key would not
    /// know of a write that began now, so it is not polled any more.
    pub(crate) async fn run<F: Future>(&self, write: F) -> Option<F::Output> {
        let mut write = pin!(write);
        poll_fn(|cx| match self.claim {
            Some(it) if it.until <= self.singleflight.now() => Poll::Ready(None),
            _ => write.as_mut().poll(cx).map(Some),
        })
        .await
    }
}

/// The write ended.
impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        let Self { singleflight, key, claim } = *self;
        let stripe = singleflight.stripe(key);
        // First: a flight that begins from now on reads again, and an earlier one is detached.
        stripe.write_epoch.fetch_add(1, Ordering::SeqCst);
        if singleflight.active() > 0 {
            singleflight.detach_now(key);
        }
        match claim {
            Some(claim) => singleflight.lock().claims.remove(claim),
            None => {
                stripe.writers.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}
