//! Counters: one statement, as long as the entry is an integer. Changes of one key that this
//! process makes at the same time are added up: the server commits them one by one otherwise,
//! because they lock one row.

use std::{pin::pin, sync::Arc, time::Duration};

use cache_core::{
    Error, ErrorKind, Result,
    store::{CounterInit, integer},
};
use cache_net::{CounterChange, CounterSum, CounterTurn};
use futures_util::future::{Either, select};

use super::{
    detached::{self, Caller},
    error,
    param::Param,
    pool::Pool,
    row::{bytes, column, first},
    statements::Statement,
    store::{PostgresStore, entry_size, micros},
};

/// The outcome of a group of changes.
enum Outcome {
    Answers(Vec<Result<Option<i64>>>),
    /// Nothing was done, and the group may have changed.
    Again,
    /// Nothing was done: the sum of all would be outside `i64`.
    OneByOne,
}

impl PostgresStore {
    /// See [`Backend::incr`](cache_core::store::Backend::incr).
    pub(crate) async fn count(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let pool = self.pool()?;
        let (change, mut receiver) = CounterChange::new(delta, create);
        let answer = match pool.counters.join(key, change) {
            // The statement has a deadline of its own.
            Some(turn) => {
                let lead = lead(Arc::clone(&pool), key.to_owned(), turn);
                let _ = detached::begin(&pool.runtime, lead).await;
                Some(receiver.await)
            }
            None => match pool.queue_limit.run(&mut receiver).await {
                None if !pool.is_connected(key) => {
                    let limit = pool.shared.connector.plan.connect_deadline;
                    let clock = &pool.shared.connector.clock;
                    cache_net::within(clock, limit, receiver).await
                }
                answer => answer,
            },
        };
        match answer {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => Err(cache_net::runtime_closed()),
            None => Err(late(&pool)),
        }
    }
}

/// Makes the changes of a key until there are no more. Runs in a task of its own, because the
/// caller may stop polling its future while others wait.
async fn lead(pool: Arc<Pool>, key: String, mut turn: CounterTurn) {
    while let Some(mut changes) = turn.next() {
        let (mut until, mut one_by_one) = (None, 0_usize);
        while CounterChange::keep_wanted(&mut changes) {
            let mut group = take_group(&mut changes, one_by_one > 0);
            let answers = match make(&pool, &key, &mut group, &mut until).await {
                Ok(Outcome::Answers(answers)) => answers,
                Ok(outcome) => {
                    if matches!(outcome, Outcome::OneByOne) {
                        one_by_one = group.len();
                    }
                    group.append(&mut changes);
                    changes = group;
                    continue;
                }
                Err(error) => group.iter().map(|_| Err(error.clone())).collect(),
            };
            (until, one_by_one) = (None, one_by_one.saturating_sub(1));
            group.into_iter().zip(answers).for_each(|(change, answer)| change.answer(answer));
        }
    }
}

/// Takes the first change, and all changes that a single statement can make together with it. They
/// came at the same time, so any order is right.
///
/// All have the same sign: if the counter is within `i64` after all of them, it was after each. And
/// if the first one creates no counter, none of the others does.
fn take_group(changes: &mut Vec<CounterChange>, one_by_one: bool) -> Vec<CounterChange> {
    let mut group: Vec<CounterChange> = Vec::new();
    let mut sum = 0_i64;
    let mut rest = Vec::new();
    for change in changes.drain(..) {
        let total = match group.first() {
            None => Some(change.delta),
            Some(_) if one_by_one => None,
            Some(first) => sum.checked_add(change.delta).filter(|total| {
                (change.delta < 0) == (first.delta < 0)
                    && (first.create.is_some() || change.create.is_none())
                    && first.create.is_none_or(|it| it.initial.checked_add(*total).is_some())
            }),
        };
        match total {
            Some(total) => {
                sum = total;
                group.push(change);
            }
            None => rest.push(change),
        }
    }
    *changes = rest;
    group
}

/// Makes the changes of a group in one statement.
async fn make(
    pool: &Arc<Pool>,
    key: &str,
    group: &mut [CounterChange],
    until: &mut Option<Duration>,
) -> Result<Outcome> {
    let total = group.iter().map(|it| it.delta).sum();
    let create = group.first().and_then(|it| it.create);
    let caller = Arc::<Caller>::default();
    let counted = {
        let step = pin!(count_once(pool, key, total, create, &caller));
        match select(step, pin!(CounterChange::any_left(group))).await {
            Either::Left((counted, _)) => counted,
            // Nothing is sent for a caller who has left, so that the change is not made after what
            // that caller does next.
            Either::Right(((), step)) => {
                caller.cancel_unless_sent();
                step.await
            }
        }
    };
    if counted.is_err() && caller.is_cancelled_unsent() {
        return Ok(Outcome::Again);
    }
    if let Some(sum) = counted? {
        let old = sum.checked_sub(total);
        return Ok(Outcome::Answers(CounterSum::new(old, group).answers));
    }
    if !pool.pause_before_retry(until).await {
        return Err(busy());
    }
    // The statement did nothing. The entry tells why; if it is an integer now, it came meanwhile.
    let reply = pool.execute(key, Statement::Get, vec![Param::key(key)]).await?;
    let found = first(&reply, |row| bytes(row, 0))?;
    let old = match (found, create) {
        (Some(value), _) => integer::parse(&value)?,
        (None, None) => return Ok(Outcome::Answers(CounterSum::new(None, group).answers)),
        (None, Some(it)) => it.initial,
    };
    match integer::add(old, total) {
        Ok(_) => Ok(Outcome::Again),
        Err(_) if group.len() > 1 => Ok(Outcome::OneByOne),
        Err(error) => Err(error),
    }
}

async fn count_once(
    pool: &Arc<Pool>,
    key: &str,
    delta: i64,
    create: Option<CounterInit>,
    caller: &Arc<Caller>,
) -> Result<Option<i64>> {
    let created = create.and_then(|it| Some((integer::add(it.initial, delta).ok()?, it.expiry)));
    let text = created.map(|(sum, _)| sum.to_string()).unwrap_or_default();
    let (statement, params) = match created {
        None => (Statement::Incr, vec![Param::key(key), delta.into()]),
        Some((_, expiry)) => {
            let value = Param::from(text.as_bytes());
            let params = vec![Param::key(key), value, micros(expiry).into(), delta.into()];
            (Statement::IncrOr, params)
        }
    };
    let reply = pool.execute_in_task(key, statement, &params, caller).await?;
    let sum = reply.rows.first().map(|row| column(row, 0)).transpose()?;
    // The entry may be new.
    if sum.is_some() && sum == created.map(|it| it.0) {
        pool.writes.add(1, entry_size(key, text.len()));
    }
    Ok(sum)
}

#[cold]
fn busy() -> Error {
    let what = "other sessions changed the counter each time until the deadline; nothing was done";
    Error::new(ErrorKind::TimedOut, what).ignored_by_breaker()
}

#[cold]
fn late(pool: &Pool) -> Error {
    let time = pool.queue_limit.time();
    let what = format!(
        "timed out after {time:?} behind earlier changes of the counter; this change may have had its effect"
    );
    let error = error::at(Error::new(ErrorKind::TimedOut, what), pool.address());
    // A server that answers other statements is not at fault.
    if pool.health.is_silent(time) { error } else { error.ignored_by_breaker() }
}
