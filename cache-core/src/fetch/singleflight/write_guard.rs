//! A caller that writes a key itself.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::shared::Singleflight;
use crate::runtime::sync::Ordering;

/// The claim of a caller that writes a key: no flight stores the key meanwhile.
///
/// It borrows, because it never outlives its call, and each write would pay for a shared count.
pub(crate) struct WriteGuard<'a> {
    singleflight: &'a Singleflight,
    key: &'a str,
    /// When the claim expires, if the write may have to wait.
    until: Option<Duration>,
}

impl Singleflight {
    /// Begins a write that takes at most `lasts`: neither the key's flight nor any that begins
    /// before the write ends will store its value. The caller then calls [`detach`](Self::detach).
    pub(crate) fn begin_write<'a>(&'a self, key: &'a str, lasts: Duration) -> WriteGuard<'a> {
        let mut guard = WriteGuard::new(self, key);
        if self.writes_wait {
            guard.expire_after(lasts);
        }
        guard
    }
}

impl<'a> WriteGuard<'a> {
    fn new(singleflight: &'a Singleflight, key: &'a str) -> Self {
        singleflight.stripe(key).writers.fetch_add(1, Ordering::SeqCst);
        Self { singleflight, key, until: None }
    }

    /// Lets the claim expire: the write may have to wait, and its future may never be polled again.
    pub(crate) fn expire_after(&mut self, lasts: Duration) {
        if self.until.is_some() {
            return;
        }
        let until = self.singleflight.after(lasts);
        self.singleflight.lock().add_claim(self.key, until);
        self.singleflight.stripe(self.key).writers.fetch_sub(1, Ordering::SeqCst);
        self.until = Some(until);
    }

    /// Makes the write. Returns `None` if the claim expires first: flights of the key would not
    /// know of a write that began now, so it is not polled any more.
    pub(crate) async fn run<F: Future>(&self, write: F) -> Option<F::Output> {
        let mut write = pin!(write);
        poll_fn(|cx| match self.until {
            Some(until) if until <= self.singleflight.now() => Poll::Ready(None),
            _ => write.as_mut().poll(cx).map(Some),
        })
        .await
    }
}

/// The write ended.
impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        let Self { singleflight, key, until } = *self;
        let stripe = singleflight.stripe(key);
        // First: a flight that begins from now on reads again, and an earlier one is detached.
        stripe.write_epoch.fetch_add(1, Ordering::SeqCst);
        if singleflight.active() > 0 {
            singleflight.detach_now(key);
        }
        match until {
            Some(until) => singleflight.lock().remove_claim(key, until),
            None => {
                stripe.writers.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}
