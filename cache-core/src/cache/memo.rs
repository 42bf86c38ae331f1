//! Reads within the scope of a [`RequestMemo`](crate::RequestMemo).

use std::{any::Any, sync::Arc};

use bytes::Bytes;

use super::{Cache, batch::one_each};
use crate::{
    error::Result,
    memo::{self, Moment, Recalled},
    value::{Form, envelope},
};

impl<V: Form> Cache<V> {
    /// Returns whether reads look for an answer to an earlier read. A store that never waits
    /// answers as fast.
    #[inline]
    pub(super) fn is_memoized(&self) -> bool {
        self.shared.sync.is_none() && memo::is_on()
    }

    /// Returns the answer to an earlier read of this scope.
    pub(super) fn recall(&self, key: &str, leader: bool) -> Option<Recalled> {
        if !self.is_memoized() {
            return None;
        }
        let now = self.moment(key);
        memo::with(|it| it.get(&self.identity(), key, leader, now)).flatten()
    }

    /// Reads a key, unless the scope remembers it.
    pub(super) async fn memoized(
        &self,
        key: &str,
        leader: bool,
        read: impl Future<Output = Result<Option<Bytes>>>,
    ) -> Result<Option<Bytes>> {
        if let Some(Recalled(known)) = self.recall(key, leader) {
            return Ok(known);
        }
        let moment = self.moment(key);
        let res = read.await;
        if let Ok(value) = &res {
            self.remember(key, leader, moment, value.as_ref());
        }
        res
    }

    /// Reads many keys, without those that the scope remembers.
    pub(super) async fn memoized_many(
        &self,
        keys: &[&str],
        leader: bool,
    ) -> Vec<Result<Option<Bytes>>> {
        let has_absences = leader && self.shared.fetch.has_entries;
        let known = keys.iter().map(|key| {
            // A batch that loads tells a remembered absence from a miss.
            self.recall(key, leader).filter(|it| it.0.is_some() || !has_absences)
        });
        let known: Vec<_> = known.collect();
        let unknown = keys.iter().zip(&known).filter(|(_, known)| known.is_none());
        let unknown: Vec<&str> = unknown.map(|(key, _)| *key).collect();
        let moments: Vec<_> = unknown.iter().map(|it| self.moment(it)).collect();
        let mut read = one_each(self.read_many_stored(&unknown, leader).await);
        let mut wanted = unknown.iter().zip(moments);
        let answers = known.into_iter().map(|known| {
            if let Some(Recalled(known)) = known {
                return Ok(known);
            }
            let answer = read.next().unwrap_or(Ok(None));
            if let (Some((key, moment)), Ok(value)) = (wanted.next(), &answer)
                && !(has_absences && value.as_deref().is_some_and(envelope::is_absent))
            {
                self.remember(key, leader, moment, value.as_ref());
            }
            answer
        });
        answers.collect()
    }

    /// Remembers the answer to a read that began at this moment.
    pub(super) fn remember(&self, key: &str, leader: bool, moment: Moment, value: Option<&Bytes>) {
        let by_leader = leader || Arc::ptr_eq(&self.shared.backend, &self.shared.leader);
        memo::with(|it| it.insert(&self.identity(), key, by_leader, moment, value.cloned()));
    }

    /// Returns the moment before a read: the answer is out of date if this process writes the key
    /// afterwards.
    pub(super) fn moment(&self, key: &str) -> Moment {
        Moment { epoch: self.shared.flights.change_epoch(key), time: self.shared.clock.now() }
    }

    fn identity(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::clone(&self.shared) as _
    }
}
