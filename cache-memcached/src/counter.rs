//! Signed counters. The server itself supports only unsigned numbers of 64 bits.

use std::{pin::pin, sync::Arc};

use cache_core::{
    Error, ErrorKind, Result,
    store::{CounterInit, Expiry, integer},
};
use cache_net::{CounterChange, CounterSum, CounterTurn};
use futures_util::future::{Either, select};

use crate::{
    command, error, lifetime,
    pool::{Common, KeyLocation},
    snapshot::{self, Snapshot},
    store::Memcached,
    tries::Tries,
};

impl Memcached {
    /// Changes a counter. The changes of this process to one key run one after another, and the
    /// waiting changes are combined into one.
    pub(crate) async fn count(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let (location, common) = (self.locate(key)?, &self.common);
        let member = Arc::clone(&location.member);
        let (change, mut receive) = CounterChange::new(delta, create);
        if let Some(turn) = member.queue.join(key, change) {
            member.spawn(apply_changes(Arc::clone(common), location.in_task(), turn));
        }
        let mut answer = common.turn.run(&mut receive).await;
        if answer.is_none() && !member.is_connected() {
            answer = common.connect.run(&mut receive).await;
        }
        match answer {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => Err(cache_net::runtime_closed()),
            None => {
                let time = common.plan.deadline;
                let what = format!(
                    "other changes of the counter took longer than {time:?}; this change may have had its effect"
                );
                let late = error::at(Error::new(ErrorKind::TimedOut, what), member.address());
                // The breaker ignores the timeout if the server answers other calls.
                Err(if member.is_silent() { late } else { late.ignored_by_breaker() })
            }
        }
    }
}

/// Applies the changes of a key until no more are waiting. This runs in a task of its own, because
/// the other changes must not wait for a caller that does not poll its future.
async fn apply_changes(common: Arc<Common>, location: KeyLocation, mut turn: CounterTurn) {
    while let Some(mut changes) = turn.next() {
        match apply_batch(&common, &location, &mut changes).await {
            Ok(answers) => {
                for (change, answer) in changes.into_iter().zip(answers) {
                    change.answer(answer);
                }
            }
            Err(error) => {
                for change in changes {
                    change.answer(Err(error.clone()));
                }
            }
        }
    }
}

/// Reads the counter, adds the changes, and writes the sum if the counter is unchanged. Removes the
/// changes whose callers have dropped their futures. Returns the results of the other changes, or
/// no results if no caller is left.
///
/// The server's own arithmetic stops at zero, wraps around, accepts values that only begin with a
/// number, and leaves spaces after a number that becomes shorter. It is used only if none of this
/// can happen. Otherwise, the entry is written again with the same expiry.
async fn apply_batch(
    common: &Common,
    location: &KeyLocation,
    changes: &mut Vec<CounterChange>,
) -> Result<Vec<Result<Option<i64>>>> {
    let mut tries = Tries::new(common);
    while CounterChange::keep_wanted(changes) {
        let read = snapshot::read(common, location);
        let Some(snapshot) = unless_abandoned(changes, read).await.transpose()? else { break };
        let old = snapshot.as_ref().map(|it| integer::parse(&it.entry.value)).transpose()?;
        if !CounterChange::keep_wanted(changes) {
            break;
        }
        let sum = CounterSum::new(old, changes);
        let write = write(common, location, snapshot.as_ref(), old, &sum);
        match unless_abandoned(changes, write).await.transpose()? {
            Some(true) => return Ok(sum.answers),
            // Another process changed the counter.
            Some(false) => tries.again().await?,
            None => break,
        }
    }
    Ok(Vec::new())
}

/// Runs a step until all callers have dropped their futures. Then it drops the step, which resets
/// the connection, so that the server does not execute the step later.
async fn unless_abandoned<T>(
    changes: &mut [CounterChange],
    step: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(step), pin!(CounterChange::all_left(changes))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// Writes the sum. Returns false if another process has changed the counter, or if the clock entry
/// had to be written first.
async fn write(
    common: &Common,
    location: &KeyLocation,
    snapshot: Option<&Snapshot>,
    old: Option<i64>,
    sum: &CounterSum,
) -> Result<bool> {
    match (sum.value, snapshot) {
        (None, _) => Ok(true),
        (new, Some(_)) if new == old => Ok(true),
        (Some(new), Some(snapshot)) => replace(location, snapshot, old, new).await,
        (Some(new), None) => {
            let seconds = lifetime::seconds(sum.expiry.unwrap_or(Expiry::Never), &common.clock);
            let text = new.to_string();
            // Creates the counter with its lifetime in one step, unless another process has created
            // it.
            let write = |key| command::set(key, text.as_bytes(), seconds).flag("ME");
            location.is_done(write).await
        }
    }
}

async fn replace(
    location: &KeyLocation,
    snapshot: &Snapshot,
    old: Option<i64>,
    new: i64,
) -> Result<bool> {
    let text = new.to_string();
    let by_server = old
        .filter(|old| *old >= 0 && new >= 0 && text.len() >= snapshot.entry.value.len())
        .and_then(|old| new.checked_sub(old));
    let (end, by) = match (by_server, snapshot.end()) {
        (None, None) => {
            snapshot::start_clock(location).await?;
            return Ok(false);
        }
        (by, end) => (end.unwrap_or(0), by),
    };
    let change = |key| {
        let change = match by {
            Some(delta) => command::add(key, delta),
            None => command::set(key, text.as_bytes(), end),
        };
        command::if_unchanged(change, snapshot.entry.stamp)
    };
    location.is_done_to(&snapshot.moment, change).await
}
