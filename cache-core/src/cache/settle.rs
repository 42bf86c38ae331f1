//! Before a call on a key that is marked: the delete that is owed.

use std::collections::HashMap;

use super::{Cache, batch::one_each, call};
use crate::{
    Error, ErrorKind, Result,
    flight::first,
    marks::{Attempt, Marked},
};

impl Cache {
    /// Before a read. An error means that the key is still marked: a miss, or the error in strict mode.
    pub(super) async fn settle_for_read(&self, key: &str) -> Result<()> {
        match self.shared.marks.look(key) {
            Marked::No | Marked::Late => Ok(()),
            // Waiting for the other caller's delete would make readers queue behind a slow store.
            Marked::Busy => Err(on_the_way()),
            Marked::Mine(attempt) => Box::pin(self.delete_marked(attempt)).await,
        }
    }

    /// [`settle_for_read`](Self::settle_for_read) of many keys, with one call for all that is owed: the errors, by the
    /// places of their keys.
    pub(super) async fn settle_many_for_read(&self, keys: &[&str]) -> HashMap<usize, Error> {
        let mut marked = HashMap::new();
        let mut attempts = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            match self.shared.marks.look(key) {
                Marked::No | Marked::Late => {}
                Marked::Busy => drop(marked.insert(place, on_the_way())),
                Marked::Mine(attempt) => attempts.push((place, attempt)),
            }
        }
        if attempts.is_empty() {
            return marked;
        }
        let owed: Vec<&str> = attempts.iter().map(|(_, attempt)| attempt.key()).collect();
        let answers: Vec<Result<bool>> = call!(self.delete_many(&owed));
        for ((place, attempt), answer) in attempts.into_iter().zip(one_each(answers)) {
            match answer {
                Ok(_) => attempt.succeed(),
                Err(error) => drop(marked.insert(place, error)),
            }
        }
        marked
    }

    /// Before a call that depends on what is there, and never fails open.
    pub(super) async fn settle(&self, key: &str) -> Result<()> {
        if self.shared.marks.len() == 0 {
            return Ok(());
        }
        Box::pin(async {
            // Whoever sends the delete may be a future that nobody polls.
            match first(self.shared.marks.turn(key), self.write_patience()).await {
                Some(None) => Ok(()),
                Some(Some(attempt)) => self.delete_marked(attempt).await,
                None => Err(on_the_way()),
            }
        })
        .await
    }

    async fn delete_marked(&self, attempt: Attempt<'_>) -> Result<()> {
        let res: Result<bool> = call!(self.delete(attempt.key()));
        res.map(|_| attempt.succeed())
    }

    /// Marks a key whose write or delete failed open.
    pub(super) fn mark(&self, key: &str) {
        if !self.shared.marks.mark(key) {
            self.shared.counters.event(crate::stats::Event::MarkLost);
        }
    }
}

#[cold]
fn on_the_way() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "an earlier write of this key failed, and its delete is on the way",
    )
}
