//! Batches: one statement per chunk of keys.

use std::{collections::HashMap, ops::Range};

use bytes::Bytes;
use cache_core::{
    Error, ErrorKind, Result,
    store::{Backend as _, Expiry, SetMode},
};
use tokio_postgres::Row;

use super::{
    param::Param,
    row::column,
    statements::Statement,
    store::{PostgresStore, entry_size, micros},
};

/// Keys of one statement: a few milliseconds of work.
const KEYS: usize = 1000;
/// Bytes of one statement or answer. Calls behind it on the same connection wait for all of them.
const BYTES: usize = 4 << 20;

impl PostgresStore {
    /// Reads entries. `key` and `value` are the columns of key and value.
    pub(crate) async fn read_many<T: Clone>(
        &self,
        keys: &[&str],
        statement: Statement,
        (key, value): (usize, usize),
        read: impl Fn(&Row) -> Result<Option<T>>,
    ) -> Vec<Result<Option<T>>> {
        let mut res = Vec::with_capacity(keys.len());
        let mut down = None;
        for chunk in keys.chunks(KEYS) {
            let rows = match &down {
                None => self.read_in_parts(statement, chunk, (key, value)).await,
                Some(error) => Err(Error::clone(error)),
            };
            res.extend(match rows {
                Err(error) => {
                    down = is_down(&error).then(|| error.clone());
                    vec![Err(error); chunk.len()]
                }
                Ok(rows) => {
                    let found = places(&rows, key);
                    let answer = |it: &&str| match found.get(it.as_bytes()) {
                        None => Ok(None),
                        Some(row) => read(row),
                    };
                    chunk.iter().map(answer).collect()
                }
            });
        }
        res
    }

    /// Reads a chunk. Values that did not fit into one answer are read again.
    async fn read_in_parts(
        &self,
        statement: Statement,
        chunk: &[&str],
        (key, value): (usize, usize),
    ) -> Result<Vec<Row>> {
        let max = Param::from(i64::try_from(BYTES).unwrap_or(i64::MAX));
        let mut rows: Vec<Row> = Vec::new();
        let mut params = vec![Param::keys(chunk.iter().copied()), max.clone()];
        loop {
            let first = chunk.first().copied().unwrap_or_default();
            let answer = self.pool()?.execute(first, statement, params).await?.rows;
            let is_there = |row: &Row| Ok(column::<Option<&[u8]>>(row, value)?.is_some());
            let mut left = Vec::new();
            for row in answer {
                if is_there(&row)? {
                    rows.push(row);
                } else {
                    left.push(Bytes::copy_from_slice(column(&row, key)?));
                }
            }
            if left.is_empty() {
                return Ok(rows);
            }
            params = vec![Param::List(left), max.clone()];
        }
    }

    pub(crate) async fn remove_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let mut res = Vec::with_capacity(keys.len());
        let mut down = None;
        for chunk in keys.chunks(KEYS) {
            let rows = match &down {
                None => self.delete_chunk(chunk).await,
                Some(error) => Err(Error::clone(error)),
            };
            res.extend(match rows {
                Err(error) => {
                    down = is_down(&error).then(|| error.clone());
                    vec![Err(error); chunk.len()]
                }
                Ok(rows) => {
                    let found = places(&rows, 0);
                    let answer = |it: &&str| match found.get(it.as_bytes()) {
                        None => Ok(false),
                        Some(row) => column(row, 1),
                    };
                    chunk.iter().map(answer).collect()
                }
            });
        }
        res
    }

    pub(crate) async fn write_many(
        &self,
        items: &[(&str, Bytes)],
        expiry: Expiry,
    ) -> Vec<Result<()>> {
        let mut res = vec![Ok(()); items.len()];
        // All batches write in the same order of keys, so that two of them cannot deadlock.
        let mut order: Vec<usize> = Vec::with_capacity(items.len());
        for (i, (key, value)) in items.iter().enumerate() {
            if self.too_large(value).is_some() {
                let refused = self.set(key, value.clone(), expiry, SetMode::Always).await;
                res[i] = refused.map(drop);
            } else {
                order.push(i);
            }
        }
        order.sort_unstable_by_key(|i| items[*i].0);
        let mut down = None;
        for range in chunks(&order, items) {
            let chunk = &order[range];
            let written = match &down {
                None => self.write_chunk(chunk, items, expiry).await,
                Some(error) => Err(Error::clone(error)),
            };
            if let Err(error) = written {
                down = is_down(&error).then(|| error.clone());
                for i in chunk {
                    res[*i] = Err(error.clone());
                }
            }
        }
        res
    }

    async fn write_chunk(
        &self,
        chunk: &[usize],
        items: &[(&str, Bytes)],
        expiry: Expiry,
    ) -> Result<()> {
        let keys = Param::keys(chunk.iter().map(|i| items[*i].0));
        let values = Param::List(chunk.iter().map(|i| items[*i].1.clone()).collect());
        let params = vec![keys, values, micros(expiry).into()];
        let pool = self.pool()?;
        let all = pool.keys(chunk.iter().map(|i| items[*i].0));
        pool.execute_many(all, Statement::SetMany, params).await?;
        let bytes = chunk.iter().map(|i| entry_size(items[*i].0, items[*i].1.len())).sum();
        pool.writes.add(chunk.len(), bytes);
        Ok(())
    }

    async fn delete_chunk(&self, chunk: &[&str]) -> Result<Vec<Row>> {
        let params = vec![Param::keys(chunk.iter().copied())];
        let pool = self.pool()?;
        let all = pool.keys(chunk.iter().copied());
        Ok(pool.execute_many(all, Statement::DeleteMany, params).await?.rows)
    }
}

/// Whether to skip the rest of a batch: each chunk would wait as long again.
fn is_down(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Unavailable)
}

/// Returns the rows by key.
fn places(rows: &[Row], key: usize) -> HashMap<&[u8], &Row> {
    rows.iter().filter_map(|row| Some((column(row, key).ok()?, row))).collect()
}

/// Cuts the order into pieces that fit into one statement.
fn chunks(order: &[usize], items: &[(&str, Bytes)]) -> Vec<Range<usize>> {
    let mut res = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (at, i) in order.iter().enumerate() {
        let len = items[*i].1.len();
        if at > begin && (at - begin == KEYS || bytes + len > BYTES) {
            res.push(begin..at);
            (begin, bytes) = (at, 0);
        }
        bytes += len;
    }
    if begin < order.len() {
        res.push(begin..order.len());
    }
    res
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_bounded_by_keys_and_bytes() {
        let items = |count: usize, len: usize| vec![("k", Bytes::from(vec![0; len])); count];
        let cut = |items: &[(&str, Bytes)]| {
            let order: Vec<usize> = (0..items.len()).collect();
            chunks(&order, items).iter().map(Range::len).collect::<Vec<_>>()
        };
        assert!(cut(&[]).is_empty());
        assert_eq!(cut(&items(2500, 1)), [1000, 1000, 500]);
        assert_eq!(cut(&items(5, 3 << 20)), [1, 1, 1, 1, 1]);
        assert_eq!(cut(&items(5, 2 << 20)), [2, 2, 1]);
    }
}
