//! Signed counters over a server that knows only numbers of 64 bits without a sign.

use std::{pin::pin, sync::Arc};

use cache_core::{
    Error, ErrorKind, Result,
    store::{CounterInit, Expiry, integer},
};
use futures_util::future::{Either, join_all, select};
use tokio::sync::oneshot;

use crate::{
    command,
    counter_queue::{Change, Turn},
    error, lifetime,
    pool::{Common, KeyLocation},
    snapshot::{self, Snapshot},
    store::Memcached,
    tries::Tries,
};

/// The result of several changes of a counter, one after the other.
struct Sum {
    /// Nothing if there is no counter, before or after.
    value: Option<i64>,
    /// The lifetime of a counter that is made.
    expiry: Option<Expiry>,
    /// For each change.
    answers: Vec<Result<Option<i64>>>,
}

impl Memcached {
    /// Changes a counter. The changes that this process makes to one key wait for each other, and those that wait are made together.
    pub(crate) async fn count(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let (location, common) = (self.locate(key)?, &self.common);
        let member = Arc::clone(&location.member);
        let (answer, mut receive) = oneshot::channel();
        if let Some(turn) = member.queue.join(key, Change { delta, create, answer }) {
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
async fn apply_changes(common: Arc<Common>, location: KeyLocation, mut turn: Turn) {
    while let Some(mut changes) = turn.next() {
        match apply_batch(&common, &location, &mut changes).await {
            Ok(answers) => {
                for (change, answer) in changes.into_iter().zip(answers) {
                    let _ = change.answer.send(answer);
                }
            }
            Err(error) => {
                for change in changes {
                    let _ = change.answer.send(Err(error.clone()));
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
    location: &KeyLocation,
    changes: &mut Vec<Change>,
) -> Result<Vec<Result<Option<i64>>>> {
    let mut tries = Tries::new(common);
    while drop_abandoned(changes) {
        let read = snapshot::read(common, location);
        let Some(snapshot) = unless_abandoned(changes, read).await.transpose()? else { break };
        let old = snapshot.as_ref().map(|it| integer::parse(&it.entry.value)).transpose()?;
        if !drop_abandoned(changes) {
            break;
        }
        let sum = sum(old, changes);
        let write = write(common, location, snapshot.as_ref(), old, &sum);
        match unless_abandoned(changes, write).await.transpose()? {
            Some(true) => return Ok(sum.answers),
            // Another process was faster.
            Some(false) => tries.again().await?,
            None => break,
        }
    }
    Ok(Vec::new())
}

/// Removes the changes whose callers are gone: a caller that was told `TimedOut` may have deleted the key since. Returns whether any
/// change is left.
fn drop_abandoned(changes: &mut Vec<Change>) -> bool {
    changes.retain(|it| !it.answer.is_closed());
    !changes.is_empty()
}

/// Runs a step until all callers are gone. The step is dropped then, which resets its connection, so that the server does not do
/// it later.
async fn unless_abandoned<T>(changes: &mut [Change], step: impl Future<Output = T>) -> Option<T> {
    let abandoned = join_all(changes.iter_mut().map(|it| it.answer.closed()));
    match select(pin!(step), abandoned).await {
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
    sum: &Sum,
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

/// Each change has the answer that it would have had alone, behind those before it.
fn sum(old: Option<i64>, changes: &[Change]) -> Sum {
    let mut res = Sum { value: old, expiry: None, answers: Vec::with_capacity(changes.len()) };
    for change in changes {
        let answer = match (res.value, change.create) {
            (None, None) => Ok(None),
            (Some(value), _) => integer::add(value, change.delta).map(Some),
            (None, Some(create)) => {
                let first = integer::add(create.initial, change.delta);
                if first.is_ok() {
                    res.expiry = Some(create.expiry);
                }
                first.map(Some)
            }
        };
        if let Ok(Some(value)) = answer {
            res.value = Some(value);
        }
        res.answers.push(answer);
    }
    res
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
