//! Batches: chunks of keys, each in one transaction.

use bytes::Bytes;
use cache_core::{
    Result,
    store::{Expiry, SetMode},
};

use super::{entry::value_too_large, store::SqliteStore, value::Found};

/// Entries of a batch in one transaction. Other writes run between the transactions.
const CHUNK: usize = 500;

/// Bytes of values in one transaction, unless one value alone is larger.
const CHUNK_BYTES: usize = 4 << 20;

impl SqliteStore {
    /// Reads many entries in one snapshot.
    pub(super) async fn read_many<T: Send + 'static>(
        &self,
        keys: &[&str],
        what: fn(Found, i64) -> Result<T>,
    ) -> Vec<Result<Option<T>>> {
        let keys: Vec<String> = keys.iter().map(|&it| it.to_owned()).collect();
        let len = keys.len();
        let res = self.read(move |session| {
            let found = session.in_snapshot(|| session.get_many(&keys))?;
            let one = |it: Option<Found>| it.map(|it| what(it, session.now)).transpose();
            Ok(found.into_iter().map(one).collect::<Vec<_>>())
        });
        per_key(len, res.await)
    }

    pub(super) async fn write_many(
        &self,
        items: &[(&str, Bytes)],
        expiry: Expiry,
    ) -> Vec<Result<()>> {
        let max = self.max_value_len();
        // The WAL holds a whole transaction.
        let most =
            CHUNK_BYTES.min(usize::try_from(self.database().wal_limit()).unwrap_or(CHUNK_BYTES));
        let mut res = Vec::with_capacity(items.len());
        let mut rest = items;
        while !rest.is_empty() {
            let mut bytes = 0;
            let mut fits = |(_, value): &(&str, Bytes)| {
                bytes += value.len();
                bytes <= most
            };
            let count = rest.iter().take(CHUNK).take_while(|it| fits(it)).count().max(1);
            let (some, others) = rest.split_at(count);
            rest = others;
            let some: Vec<(String, Bytes)> =
                some.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            let written = self.writer().write(bytes, move |session| {
                let one = |(key, value): &(String, Bytes)| match value_too_large(value, max) {
                    Some(error) => session.delete(key).map(|_| Err(error)),
                    None => session.set(key, value, expiry, SetMode::Always).map(|_| Ok(())),
                };
                session.in_savepoint(|| some.iter().map(one).collect())
            });
            res.extend(per_key(count, written.await));
            self.writer().count_written(count, bytes);
        }
        res
    }

    pub(super) async fn remove_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let mut res = Vec::with_capacity(keys.len());
        for some in keys.chunks(CHUNK) {
            let count = some.len();
            let some: Vec<String> = some.iter().map(|&it| it.to_owned()).collect();
            let removed = self.write(move |session| {
                let one = |key: &String| session.delete(key).map(Ok);
                session.in_savepoint(|| some.iter().map(one).collect())
            });
            res.extend(per_key(count, removed.await));
        }
        res
    }
}

/// Returns one result per key. If the transaction failed, each key gets its error.
fn per_key<T>(len: usize, res: Result<Vec<Result<T>>>) -> Vec<Result<T>> {
    match res {
        Ok(all) => all,
        Err(error) => (0..len).map(|_| Err(error.clone())).collect(),
    }
}
