//! Clearing, in steps: nobody waits for the whole.

use cache_core::{Namespace, Result};

use super::{connect::Param, sql::Ask, store::Postgres, trim::column};

/// Keys of one step.
const KEYS: i64 = 1000;

impl Postgres {
    /// All that could belong to the namespace stands together in the order of the keys. Which keys do, only the namespace says:
    /// those of `shop:eu` stand among those of `shop`.
    pub(crate) async fn clear_namespace(&self, namespace: &Namespace) -> Result<()> {
        let pool = self.pool()?;
        let mut after = format!("{}:", namespace.prefix()).into_bytes();
        // The byte after the colon.
        let before = format!("{};", namespace.prefix()).into_bytes();
        loop {
            let params: [Param<'_>; 3] = [&after, &before, &KEYS];
            let rows = pool.ask_patiently(Ask::KeysFrom, &params).await?.rows;
            let keys = rows.iter().map(|row| column(row, 0)).collect::<Result<Vec<&[u8]>>>()?;
            let Some(last) = keys.last() else { return Ok(()) };
            let is_ours = |key: &&&[u8]| str::from_utf8(key).is_ok_and(|it| namespace.contains(it));
            let ours: Vec<&[u8]> = keys.iter().filter(is_ours).copied().collect();
            if !ours.is_empty() {
                pool.ask_patiently(Ask::DeleteMany, &[&ours]).await?;
            }
            after = last.to_vec();
        }
    }

    /// Not by `TRUNCATE`: that needs a right of its own, and while somebody reads the table, as a backup does for hours, it makes
    /// all others wait behind it.
    pub(crate) async fn clear_table(&self) -> Result<()> {
        let pool = self.pool()?;
        let newest = pool.ask_patiently(Ask::Newest, &[]).await?;
        let Some(row) = newest.rows.first() else { return Ok(()) };
        // What is written meanwhile may stay, or there would be no end.
        let newest: i64 = column(row, 0)?;
        while pool.ask_patiently(Ask::DeleteUpTo, &[&newest, &KEYS]).await?.count > 0 {}
        Ok(())
    }
}
