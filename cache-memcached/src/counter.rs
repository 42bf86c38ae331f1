//! Signed counters over a server that knows only numbers of 64 bits without a sign.

use std::{pin::pin, sync::Arc};

use cache_core::{
    Error, ErrorKind, Result,
    store::{CounterInit, Expiry, integer},
};
use cache_net::{CounterChange, CounterSum, CounterTurn};
use futures_util::future::{Either, select};

use crate::{
    command, error, lifetime,
    look::{self, Found},
    pool::{Common, Place},
    store::Memcached,
    tries::Tries,
};

impl Memcached {
    /// Changes a counter. The changes that this process makes to one key wait for each other, and those that wait are made together.
    pub(crate) async fn count(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let (place, common) = (self.place(key)?, &self.common);
        let member = Arc::clone(&place.member);
        let (change, mut receive) = CounterChange::new(delta, create);
        if let Some(turn) = member.queue.join(key, change) {
            member.spawn(lead(Arc::clone(common), place.in_task(), turn));
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
                    "the counter had other changes to wait for, for longer than {time:?}; this one may have had its effect"
                );
                let late = error::at(Error::new(ErrorKind::TimedOut, what), member.address());
                // A server that answers others is not the one to blame.
                Err(if member.is_silent() { late } else { late.ignored_by_breaker() })
            }
        }
    }
}

/// Makes the changes of a key until there are no more. In a task of its own: a caller may put its future aside, and the others wait.
async fn lead(common: Arc<Common>, place: Place, mut turn: CounterTurn) {
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

/// Looks, checks, and changes what was seen if it is still that. Removes the changes whose callers are gone, and returns the answers
/// of the others; none once all callers are gone.
///
/// The server's own command stops at zero, wraps, adds to what only begins like a number, and leaves spaces behind a number that
/// became shorter. So it is used only where all that cannot happen. Elsewhere the entry is written anew, with the same end.
async fn apply_batch(
    common: &Common,
    place: &Place,
    changes: &mut Vec<CounterChange>,
) -> Result<Vec<Result<Option<i64>>>> {
    let mut tries = Tries::new(common);
    while CounterChange::keep_wanted(changes) {
        let look = look::at_entry(common, place);
        let Some(found) = while_wanted(changes, look).await.transpose()? else { break };
        let old = found.as_ref().map(|it| integer::parse(&it.entry.value)).transpose()?;
        if !CounterChange::keep_wanted(changes) {
            break;
        }
        let sum = CounterSum::new(old, changes);
        let write = write(common, place, found.as_ref(), old, &sum);
        match while_wanted(changes, write).await.transpose()? {
            Some(true) => return Ok(sum.answers),
            // Another process was faster.
            Some(false) => tries.again().await?,
            None => break,
        }
    }
    Ok(Vec::new())
}

/// Runs a step until all callers are gone. The step is dropped then, which resets its connection, so that the server does not do
/// it later.
async fn while_wanted<T>(
    changes: &mut [CounterChange],
    step: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(step), pin!(CounterChange::all_left(changes))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// Writes what the changes make of the counter; false if another process has changed it since, or the clock had to be started.
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
            // With its lifetime, in one step; nothing if another process has made it.
            let write = |key| command::set(key, text.as_bytes(), seconds).flag("ME");
            location.is_done(write).await
        }
    }
}

async fn replace(place: &Place, found: &Found, old: Option<i64>, new: i64) -> Result<bool> {
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
