//! Counters: one statement, as long as the entry is an integer.

use cache_core::{
    Error, ErrorKind, Result,
    store::{Backend as _, CounterInit, integer},
};

use super::{
    connection::Reply,
    param::Param,
    row::column,
    statements::Statement,
    store::{PostgresStore, entry_size, micros},
};

impl PostgresStore {
    /// See [`Backend::incr`](cache_core::store::Backend::incr).
    pub(crate) async fn count(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let pool = self.pool()?;
        let mut until = None;
        loop {
            if let Some(sum) = self.count_once(key, delta, create).await? {
                return Ok(Some(sum));
            }
            if !pool.pause_before_retry(&mut until).await {
                return Err(busy());
            }
            // The statement did nothing. The entry tells why; if it is an integer now, it came
            // meanwhile.
            match (self.get(key).await?, create) {
                (Some(value), _) => integer::add(integer::parse(&value)?, delta).map(drop)?,
                (None, None) => return Ok(None),
                // The initial value overflows, so no entry can be created; an existing entry would
                // have been counted.
                (None, Some(it)) => integer::add(it.initial, delta).map(drop)?,
            }
        }
    }

    async fn count_once(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let pool = self.pool()?;
        let made = create.and_then(|it| Some((integer::add(it.initial, delta).ok()?, it.expiry)));
        let Some((first, expiry)) = made else {
            return sum(&pool
                .execute(key, Statement::Incr, vec![Param::key(key), delta.into()])
                .await?);
        };
        let text = first.to_string();
        let value = Param::from(text.as_bytes());
        let params = vec![Param::key(key), value, micros(expiry).into(), delta.into()];
        let sum = sum(&pool.execute(key, Statement::IncrOr, params).await?)?;
        // The entry may be new.
        if sum == Some(first) {
            pool.writes.add(1, entry_size(key, text.len()));
        }
        Ok(sum)
    }
}

#[cold]
fn busy() -> Error {
    let what = "other sessions changed the counter each time until the deadline; nothing was done";
    Error::new(ErrorKind::TimedOut, what).ignored_by_breaker()
}

fn sum(answer: &Reply) -> Result<Option<i64>> {
    answer.rows.first().map(|row| column(row, 0)).transpose()
}
