//! [`Faulty`] as a store. In addition to [`Layered`](crate::layer::Layered), parts of a batch can
//! fail, and a store whose calls may wait has no sync view.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::Faulty;
use crate::{
    error::{Error, Result},
    store::{Backend, Entry, Expiry, SyncBackend, Views, forward},
};

impl Faulty {
    /// Returns the items of a batch that do not fail, and for each item its injected error, if any.
    fn split<I: Clone>(
        &self,
        items: &[I],
        key: impl Fn(&I) -> &str,
    ) -> (Vec<I>, Vec<Option<Error>>) {
        let errors: Vec<_> = items.iter().map(|it| self.faults.key_error(key(it))).collect();
        let good = items.iter().zip(&errors).filter(|(_, err)| err.is_none());
        (good.map(|(it, _)| it.clone()).collect(), errors)
    }
}

fn join<T>(errors: Vec<Option<Error>>, good: Vec<Result<T>>) -> Vec<Result<T>> {
    let mut good = good.into_iter();
    errors
        .into_iter()
        .filter_map(|it| it.map_or_else(|| good.next(), |err| Some(Err(err))))
        .collect()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Faulty {
    forward!(Backend, self.inner, except get_many, get_entries, delete_many, set_many);

    fn views(self: Arc<Self>) -> Views {
        let mut views = Views::none();
        if self.inline
            && let Some(inner) = Arc::clone(&self.inner).views().sync
        {
            views.sync = Some(Arc::new(Inline { outer: self.as_ref().clone(), inner }));
        }
        if let Some(leader) = Arc::clone(&self.store).views().leader {
            let faults = Arc::clone(&self.faults);
            views.leader = Some(Arc::new(Self::with_faults(faults, leader, self.inline)));
        }
        views
    }
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let (keys, errors) = self.split(keys, |it| it);
        join(errors, self.inner.get_many(&keys).await)
    }
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let (keys, errors) = self.split(keys, |it| it);
        join(errors, self.inner.get_entries(&keys).await)
    }
    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let (keys, errors) = self.split(keys, |it| it);
        join(errors, self.inner.delete_many(&keys).await)
    }
    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let (items, errors) = self.split(items, |it| it.0);
        join(errors, self.inner.set_many(&items, expiry).await)
    }
}

/// The sync view of [`Faulty::inline`].
#[derive(Debug)]
struct Inline {
    outer: Faulty,
    inner: Arc<dyn SyncBackend>,
}

#[deny(clippy::missing_trait_methods)]
impl SyncBackend for Inline {
    forward!(SyncBackend, self.inner, except get_many, get_entries, delete_many, set_many);

    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let (keys, errors) = self.outer.split(keys, |it| it);
        join(errors, self.inner.get_many(&keys))
    }
    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let (keys, errors) = self.outer.split(keys, |it| it);
        join(errors, self.inner.get_entries(&keys))
    }
    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let (keys, errors) = self.outer.split(keys, |it| it);
        join(errors, self.inner.delete_many(&keys))
    }
    fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let (items, errors) = self.outer.split(items, |it| it.0);
        join(errors, self.inner.set_many(&items, expiry))
    }
}
