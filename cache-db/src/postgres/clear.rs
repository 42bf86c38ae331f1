//! Clearing in steps, so that no call waits for the whole.

use bytes::Bytes;
use cache_core::{Result, store::Namespace};

use super::{param::Param, row::column, statements::Statement, store::PostgresStore};

/// Keys of one step.
const KEYS: i64 = 1000;

impl PostgresStore {
    /// Removes the keys of a namespace. Its keys are neighbours in the order of keys, but keys of
    /// `shop:eu` are among those of `shop`: the namespace decides for each key.
    pub(crate) async fn clear_namespace(&self, namespace: &Namespace) -> Result<()> {
        let pool = self.pool()?;
        let mut after = format!("{}:", namespace.prefix()).into_bytes();
        // The byte after the colon.
        let before: Vec<u8> = format!("{};", namespace.prefix()).into_bytes();
        loop {
            let params = vec![after[..].into(), before[..].into(), KEYS.into()];
            let rows = pool.execute_long(Statement::KeysFrom, params).await?.rows;
            let keys = rows.iter().map(|row| column(row, 0)).collect::<Result<Vec<&[u8]>>>()?;
            let Some(last) = keys.last() else { return Ok(()) };
            let is_ours = |key: &&&[u8]| str::from_utf8(key).is_ok_and(|it| namespace.contains(it));
            let ours: Vec<Bytes> =
                keys.iter().filter(is_ours).copied().map(Bytes::copy_from_slice).collect();
            if !ours.is_empty() {
                pool.execute_long(Statement::DeleteMany, vec![Param::List(ours)]).await?;
            }
            after = last.to_vec();
        }
    }

    /// Removes all rows. Not by `TRUNCATE`: it needs a privilege of its own, and it waits for every
    /// reader, such as a backup of hours, with all other calls behind it.
    pub(crate) async fn clear_table(&self) -> Result<()> {
        let pool = self.pool()?;
        let newest = pool.execute_long(Statement::Newest, vec![]).await?;
        let Some(row) = newest.rows.first() else { return Ok(()) };
        // Rows written from now on may stay, or clearing might never end.
        let newest: i64 = column(row, 0)?;
        loop {
            let params = vec![newest.into(), KEYS.into()];
            if pool.execute_long(Statement::DeleteUpTo, params).await?.count == 0 {
                return Ok(());
            }
        }
    }
}
