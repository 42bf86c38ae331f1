//! Signed counters. The server itself supports only unsigned numbers of 64 bits.

use std::{pin::pin, sync::Arc};

use cache_core::{
    Error, ErrorKind, Result,
    store::{CounterInit, Expiry, Stamp, integer},
};
use cache_net::{CounterChange, CounterSum, CounterTurn};
use futures_util::future::{Either, select};

use crate::{
    command::{self, Mode},
    error, lifetime,
    moment::{Applied, Moment},
    outcome,
    pool::{Common, KeyLocation},
    recent::KnownCounter,
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
            member.spawn(apply_changes(Arc::clone(common), location.into_owned(), turn));
        }
        let mut answer = common.deadline.run(&mut receive).await;
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
async fn apply_changes(common: Arc<Common>, location: KeyLocation<'static>, mut turn: CounterTurn) {
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
    location: &KeyLocation<'_>,
    changes: &mut Vec<CounterChange>,
) -> Result<Vec<Result<Option<i64>>>> {
    if let Some(answers) = apply_to_known(location, changes).await? {
        return Ok(answers);
    }
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
        let Some(applied) = unless_abandoned(changes, write).await.transpose()? else { break };
        if tries.is_over(applied).await? {
            return Ok(sum.answers);
        }
    }
    Ok(Vec::new())
}

/// Adds the changes to the counter as this process has left it, without a read. Returns `None` if
/// it is not known, or another process has changed it since.
async fn apply_to_known(
    location: &KeyLocation<'_>,
    changes: &mut Vec<CounterChange>,
) -> Result<Option<Vec<Result<Option<i64>>>>> {
    let recent = &location.member.recent;
    let Some(known) = recent.get(location.key()) else { return Ok(None) };
    // After a `clear`, the counter is another one.
    if location.member.names(location.key()).await? != known.moment.names {
        return Ok(None);
    }
    if !CounterChange::keep_wanted(changes) {
        return Ok(Some(Vec::new()));
    }
    let sum = CounterSum::new(Some(known.value), changes);
    let len = known.value.to_string().len();
    let Some(delta) = sum.value.and_then(|new| delta_by_server(known.value, len, new)) else {
        return Ok(None);
    };
    let add = add(location, &known.moment, known.stamp, known.value, delta);
    match unless_abandoned(changes, add).await.transpose()? {
        Some(Applied::Done) => Ok(Some(sum.answers)),
        Some(Applied::Changed) => {
            recent.record_contended(location.key());
            Ok(None)
        }
        Some(Applied::ReadAgain) => Ok(None),
        None => Ok(Some(Vec::new())),
    }
}

/// Runs a step until all callers have dropped their futures. If the step was sent, the server
/// executes it before any later command about the key.
async fn unless_abandoned<T>(
    changes: &mut [CounterChange],
    step: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(step), pin!(CounterChange::all_left(changes))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// Writes the sum, if no other process has changed the counter.
async fn write(
    common: &Common,
    location: &KeyLocation<'_>,
    snapshot: Option<&Snapshot>,
    old: Option<i64>,
    sum: &CounterSum,
) -> Result<Applied> {
    match (sum.value, snapshot) {
        (None, _) => Ok(Applied::Done),
        (new, Some(_)) if new == old => Ok(Applied::Done),
        (Some(new), Some(snapshot)) => replace(location, snapshot, old, new).await,
        (Some(new), None) => {
            let seconds = lifetime::seconds(sum.expiry.unwrap_or(Expiry::Never), &common.clock);
            let text = new.to_string();
            // Creates the counter with its lifetime in one step, unless another process has created
            // it.
            let text = text.as_bytes();
            let reply = location.send(|key| command::set(key, text, Mode::IfAbsent, seconds));
            outcome::applied(Some(&reply.await?), location.address())
        }
    }
}

async fn replace(
    location: &KeyLocation<'_>,
    snapshot: &Snapshot,
    old: Option<i64>,
    new: i64,
) -> Result<Applied> {
    let len = snapshot.entry.value.len();
    let stamp = snapshot.entry.stamp;
    if let Some(old) = old
        && let Some(delta) = delta_by_server(old, len, new)
    {
        return add(location, &snapshot.moment, stamp, old, delta).await;
    }
    let Some(end) = snapshot.end() else {
        snapshot::start_clock(location).await?;
        return Ok(Applied::ReadAgain);
    };
    let text = new.to_string();
    let write = |key| command::set(key, text.as_bytes(), Mode::Always, end).if_unchanged(stamp);
    location.apply(&snapshot.moment, write).await
}

/// Returns the number that the server itself can add to a counter with a text of this length.
fn delta_by_server(old: i64, len: usize, new: i64) -> Option<i64> {
    let is_safe = old >= 0 && new >= 0 && new != old && new.to_string().len() >= len;
    is_safe.then(|| new.checked_sub(old)).flatten()
}

/// Makes the server add to a counter, if it is unchanged. Records the new one.
async fn add(
    location: &KeyLocation<'_>,
    moment: &Moment,
    stamp: Stamp,
    old: i64,
    delta: i64,
) -> Result<Applied> {
    let command = command::add(moment.names.entry(location.key()), delta).if_unchanged(stamp);
    let reply = location.send_if_same(moment, &command).await?;
    let applied = outcome::applied(reply.as_ref(), location.address())?;
    // Zero means that the server has no CAS numbers.
    let stamp = reply.and_then(|it| it.stamp).filter(|it| *it > 0);
    if applied == Applied::Done
        && let Some(stamp) = stamp
    {
        let known = KnownCounter { value: old + delta, stamp: Stamp(stamp), moment: *moment };
        location.member.recent.record(location.key(), known);
    }
    Ok(applied)
}
