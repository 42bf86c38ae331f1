//! Before a call on a key that is marked: what can have been there when its write failed is removed.

use std::collections::HashMap;

use super::{Cache, batch::one_each, call, call_leader, put_aside};
use crate::{
    consistency::tombstones::{Attempt, Marked},
    error::{Error, ErrorKind, Result},
    runtime::{self, first},
    store::{Entry, Expected},
    telemetry::stats::Event,
};

/// How many old entries are removed at the same time.
const AT_ONCE: usize = 16;

impl Cache {
    /// Before a read. An error means that the key is still marked: a miss, or the error in strict mode.
    pub(super) async fn settle_for_read(&self, key: &str) -> Result<()> {
        match self.shared.marks.look(key, self.write_claim(1)) {
            Marked::No | Marked::Late => Ok(()),
            // A strict caller has no use for an invented miss, and the store may well answer.
            Marked::Busy if self.strict => self.settle(key).await,
            // Waiting for the other caller would make readers queue behind a slow store.
            Marked::Busy | Marked::Stuck => Err(on_the_way()),
            Marked::Mine(attempt) => Box::pin(self.settle_one(attempt)).await,
        }
    }

    /// [`settle_for_read`](Self::settle_for_read) of a call that has no use for the value, and leaves the removal to the task that
    /// settles marks. A strict caller is to have an answer.
    pub(super) async fn settle_for_facts(&self, key: &str) -> Result<()> {
        if self.strict || self.shared.marks.len() == 0 {
            return self.settle_for_read(key).await;
        }
        self.store_may_answer();
        if self.shared.marks.is_marked(key) { Err(on_the_way()) } else { Ok(()) }
    }

    /// [`settle_for_read`](Self::settle_for_read) of many keys, with one look at all of them: the errors, by the places of
    /// their keys.
    pub(super) async fn settle_many_for_read(&self, keys: &[&str]) -> HashMap<usize, Error> {
        let mut busy = Vec::new();
        let mut attempts = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            match self.shared.marks.look(key, self.write_claim(keys.len())) {
                Marked::No | Marked::Late => {}
                Marked::Busy | Marked::Stuck => busy.push(place),
                Marked::Mine(attempt) => attempts.push((place, attempt)),
            }
        }
        let mut marked: HashMap<_, _> =
            self.settle_attempts(attempts, true).await.into_iter().collect();
        if self.strict && !busy.is_empty() {
            // As long as one key would wait, for all of them.
            let mut settled = 0;
            let all = async {
                for place in &busy {
                    self.settle(keys[*place]).await?;
                    settled += 1;
                }
                Ok::<_, Error>(())
            };
            // Those that are left get the error below.
            let _ = first(all, self.write_patience()).await;
            busy.drain(..settled);
        }
        marked.extend(busy.into_iter().map(|place| (place, on_the_way())));
        marked
    }

    /// Before a call that depends on what is there, and never fails open.
    pub(super) async fn settle(&self, key: &str) -> Result<()> {
        if self.shared.marks.len() == 0 {
            return Ok(());
        }
        Box::pin(async {
            // The one who settles it may be a future that nobody polls.
            let turn = self.shared.marks.turn(key, self.write_claim(1));
            match first(turn, self.write_patience()).await {
                Some(Marked::Mine(attempt)) => self.settle_one(attempt).await,
                Some(Marked::Stuck) | None => Err(on_the_way()),
                Some(_) => Ok(()),
            }
        })
        .await
    }

    async fn settle_one(&self, attempt: Attempt<'_>) -> Result<()> {
        let mut errors = self.settle_attempts(vec![((), attempt)], true).await;
        errors.pop().map_or(Ok(()), |((), error)| Err(error))
    }

    /// Settles marks; the errors of those that are left. With `gives_up`, a batch of removals that failed as a whole is the last:
    /// the others would most likely fail as well, each batch after a deadline.
    pub(super) async fn settle_attempts<P>(
        &self,
        attempts: Vec<(P, Attempt<'_>)>,
        gives_up: bool,
    ) -> Vec<(P, Error)> {
        let unseen = attempts.iter().filter(|(_, it)| it.seen().is_none());
        let unseen: Vec<&str> = unseen.map(|(_, it)| it.key()).collect();
        let found = if unseen.is_empty() { Vec::new() } else { self.look_at(&unseen).await };
        let mut found = one_each(found);
        let mut errors = Vec::new();
        let mut removals = Vec::new();
        for (place, mut attempt) in attempts {
            let look = match attempt.seen() {
                Some(entry) => Ok(Some(entry.clone())),
                None => found.next().unwrap_or(Ok(None)),
            };
            match look {
                Ok(Some(entry)) => {
                    if attempt.seen().is_none() {
                        attempt.saw(entry.clone());
                    }
                    removals.push((place, attempt, entry));
                }
                // A cache writes bytes; another program wrote this entry.
                Err(error) if !error.kind().is_unreadable() => errors.push((place, error)),
                Err(_) | Ok(None) => self.settled_one(attempt),
            }
        }
        let mut removals = removals.into_iter();
        loop {
            let batch: Vec<_> = removals.by_ref().take(AT_ONCE).collect();
            if batch.is_empty() {
                return errors;
            }
            let mut futures = Vec::with_capacity(batch.len());
            for (_, attempt, entry) in &batch {
                futures.push(self.remove_seen(attempt, entry));
            }
            let answers = runtime::all(futures.into_iter()).await;
            let is_last = gives_up && answers.iter().all(Result::is_err);
            let mut last = None;
            for ((place, attempt, _), answer) in batch.into_iter().zip(answers) {
                match answer {
                    Ok(()) => self.settled_one(attempt),
                    Err(error) => {
                        last = Some(error.clone());
                        errors.push((place, error));
                    }
                }
            }
            if let (true, Some(error)) = (is_last, last) {
                errors.extend(removals.map(|(place, ..)| (place, error.clone())));
                return errors;
            }
        }
    }

    /// Notes that the old entry is gone.
    fn settled_one(&self, attempt: Attempt<'_>) {
        self.shared.counters.event(Event::MarkSettled);
        attempt.succeed();
    }

    async fn look_at(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        if let [key] = keys {
            let found: Result<Option<Entry>> = call_leader!(self.get_entry(key));
            return vec![found];
        }
        call_leader!(self.get_entries(keys))
    }

    /// Removes what the first look has found, and nothing that was written since.
    async fn remove_seen(&self, attempt: &Attempt<'_>, entry: &Entry) -> Result<()> {
        let removal = async {
            let res: Result<bool> =
                call!(self.compare_and_delete(attempt.key(), Expected::entry(entry)));
            res
        };
        attempt.run(removal).await.unwrap_or_else(|| Err(put_aside())).map(drop)
    }

    /// Marks a key whose write or delete failed open.
    pub(super) fn mark(&self, key: &str) {
        // The failed write itself may still arrive, and a coarse store adds to each lifetime.
        let granularity = self.shared.backend.capabilities().granularity;
        let margin = self.write_claim(1).saturating_add(granularity.saturating_mul(2));
        if !self.shared.marks.mark(key, margin) {
            self.shared.counters.event(Event::MarkLost);
        }
        self.settle_in_background();
    }
}

#[cold]
fn on_the_way() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "an earlier write of this key failed, and the removal of what it should have replaced is still to come",
    )
    .ignored_by_breaker()
}
