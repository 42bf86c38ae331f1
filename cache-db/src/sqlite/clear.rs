//! Clearing in steps, so that other writes run in between.

use cache_core::{Result, store::Namespace};
use rusqlite::named_params;

use super::{error::Failure, session::Session, store::SqliteStore};

/// Entries read or removed in one transaction.
const CLEAR_STEP: u32 = 500;

impl SqliteStore {
    pub(super) async fn clear_namespace(&self, namespace: &Namespace) -> Result<()> {
        let mut after = format!("{}:", namespace.prefix());
        loop {
            let namespace = namespace.clone();
            let work = move |session: &Session<'_>| {
                session.in_savepoint(|| session.clear(&namespace, &after, CLEAR_STEP))
            };
            match self.writer().write_without_deadline(work).await? {
                None => return Ok(()),
                Some(last) => after = last,
            }
        }
    }

    pub(super) async fn clear_table(&self) -> Result<()> {
        while self
            .writer()
            .write_without_deadline(|session| session.clear_store(CLEAR_STEP))
            .await?
        {}
        Ok(())
    }
}

impl Session<'_> {
    /// Removes entries of the namespace among the next `limit` keys after `after`. Returns the last
    /// key that was read, if there may be more.
    pub(super) fn clear(
        &self,
        namespace: &Namespace,
        after: &str,
        limit: u32,
    ) -> std::result::Result<Option<String>, Failure> {
        let end = format!("{};", namespace.prefix()); // the next character after the colon
        let keys: Vec<String> = self
            .db
            .prepare_cached(&self.sql.keys_after)?
            .query_map(named_params! {":after": after, ":end": end, ":limit": limit}, |row| {
                row.get(0)
            })?
            .collect::<rusqlite::Result<_>>()?;
        for key in keys.iter().filter(|it| namespace.contains(it)) {
            self.change(&self.sql.remove, named_params! {":key": key})?;
        }
        Ok(if keys.len() < limit as usize { None } else { keys.into_iter().last() })
    }

    /// Removes some entries of any alias. Returns whether there may be more.
    pub(super) fn clear_store(&self, limit: u32) -> std::result::Result<bool, Failure> {
        self.change(&self.sql.clear_store, named_params! {":limit": limit})
    }
}
