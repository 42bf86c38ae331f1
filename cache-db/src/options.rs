//! The settings and their checks.

use std::time::Duration;

#[cfg(feature = "postgres")]
use cache_core::NearInvalidation;
use cache_core::{Result, config::ByteSize, store::BuildContext};
use cache_net::TlsFiles;
use serde::Deserialize;

use crate::{
    location::{EXPECTED, Location},
    table::Table,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    table: Option<String>,
    max_entries: Option<u64>,
    max_bytes: Option<ByteSize>,
    max_value_bytes: Option<ByteSize>,
    synchronous: Option<Synchronous>,
    readers: Option<usize>,
    direct_reads: Option<bool>,
    direct_writes: Option<bool>,
    connections: Option<usize>,
    unlogged: Option<bool>,
    notify_triggers: Option<bool>,
    tls: Option<TlsFiles>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

/// SQLite's `synchronous`: what a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Synchronous {
    /// Nothing. A crash of the machine may corrupt the file.
    Off,
    /// Nothing, but the order of writes is kept. A crash of the machine may lose the last writes; a
    /// crash of the process loses none.
    #[default]
    Normal,
    /// The disk.
    Full,
}

/// Settings of a table in any database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) table: Table,
    pub(crate) max_entries: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_value_len: usize,
    pub(crate) deadline: Duration,
}

/// Settings of a SQLite database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SqlitePlan {
    pub(crate) plan: Plan,
    pub(crate) synchronous: Synchronous,
    pub(crate) readers: usize,
    pub(crate) direct_reads: bool,
    pub(crate) direct_writes: bool,
}

/// The bounds of [`SqlitePlan::wal_limit`].
const WAL_LIMIT: (u64, u64) = (1 << 20, 64 << 20);

impl SqlitePlan {
    /// Returns the length at which the WAL is checkpointed: in proportion to the table, because
    /// both are on the same disk.
    pub(crate) fn wal_limit(&self) -> u64 {
        self.plan.max_bytes.unwrap_or(u64::MAX).clamp(WAL_LIMIT.0, WAL_LIMIT.1)
    }

    /// Returns the name of the first setting in which two plans differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let (ours, theirs) = (&self.plan, &other.plan);
        let settings = [
            ("options.table", ours.table == theirs.table),
            ("options.max_entries", ours.max_entries == theirs.max_entries),
            ("options.max_bytes", ours.max_bytes == theirs.max_bytes),
            ("options.max_value_bytes", ours.max_value_len == theirs.max_value_len),
            ("options.synchronous", self.synchronous == other.synchronous),
            ("options.readers", self.readers == other.readers),
            ("options.direct_reads", self.direct_reads == other.direct_reads),
            ("options.direct_writes", self.direct_writes == other.direct_writes),
            ("deadline", ours.deadline == theirs.deadline),
        ];
        settings.iter().find(|(_, is_same)| !is_same).map(|(name, _)| *name)
    }
}

/// Settings of a table in PostgreSQL.
#[cfg(feature = "postgres")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostgresPlan {
    pub(crate) plan: Plan,
    pub(crate) connections: usize,
    pub(crate) unlogged: bool,
    pub(crate) notify: Notify,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) connect_deadline: Duration,
}

/// How writes tell the near tiers of other processes that a key has changed.
#[cfg(feature = "postgres")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notify {
    /// Not at all: the alias has no near tier.
    No,
    /// Each statement notifies.
    ByStatements,
    /// Triggers of the table notify, whichever program writes.
    ByTriggers,
}

const TABLE: &str = "cache";
/// A size that a cache may use on a disk without being asked.
const MAX_BYTES: u64 = 1 << 30;
const MAX_VALUE_LEN: u64 = 64 << 20;
/// Values that the default deadline has time for, with reserve for a busy machine: 60 MB take the
/// whole deadline.
#[cfg(feature = "postgres")]
const MAX_VALUE_LEN_POSTGRES: u64 = 8 << 20;
/// The largest value that both databases accept.
const LARGEST: u64 = 512 << 20;
const READERS: usize = 2;
const MAX_READERS: usize = 64;
/// Measured with 64 tasks (docs/performance.md): one, two and four connections differ little more
/// than two runs with two; only large writes are a fifth faster with four. One is too few, because
/// a slow statement delays all those behind it. More than two are not the default, because each is
/// a process on the server.
#[cfg(feature = "postgres")]
const CONNECTIONS: usize = 2;
#[cfg(feature = "postgres")]
const MAX_CONNECTIONS: usize = 64;

/// Reads the setting `location`.
pub(crate) fn location(context: &BuildContext<'_>) -> Result<Location> {
    match context.location()? {
        None => Err(context.error("location", format!("is missing; {EXPECTED}"))),
        Some(text) => Location::parse(text).map_err(|it| context.error("location", it)),
    }
}

impl Options {
    pub(crate) fn read(context: &BuildContext<'_>) -> Result<Self> {
        context.options()
    }

    fn plan(&self, context: &BuildContext<'_>, max_value_len: u64) -> Result<Plan> {
        let wrong = |name: &str, what: String| context.error(&format!("options.{name}"), what);
        let name = self.table.as_deref().unwrap_or(TABLE);
        let table = Table::new(name).map_err(|it| wrong("table", it))?;
        let max_bytes = self.max_bytes.map(ByteSize::bytes);
        for (name, bound) in [("max_entries", self.max_entries), ("max_bytes", max_bytes)] {
            if bound == Some(0) {
                let what = format!(
                    "{name} is 0, so the cache could store nothing; remove it or increase it"
                );
                return Err(wrong(name, what));
            }
        }
        let largest = self.max_value_bytes.map_or(max_value_len, ByteSize::bytes);
        if !(1..=LARGEST).contains(&largest) {
            return Err(wrong("max_value_bytes", "expected 1 to 512 MiB".into()));
        }
        // A value as large as the table would evict all other entries, and then itself.
        let bound = max_bytes.unwrap_or(MAX_BYTES);
        let largest = match self.max_value_bytes {
            Some(_) if largest > bound => {
                return Err(wrong("max_value_bytes", "is larger than max_bytes".into()));
            }
            _ => largest.min(bound),
        };
        Ok(Plan {
            table,
            max_entries: self.max_entries,
            max_bytes: Some(bound),
            max_value_len: usize::try_from(largest).unwrap_or(usize::MAX),
            deadline: context.deadline(),
        })
    }

    pub(crate) fn sqlite(&self, context: &BuildContext<'_>) -> Result<SqlitePlan> {
        let plan = self.plan(context, MAX_VALUE_LEN)?;
        let others = [
            ("connections", self.connections.is_some()),
            ("unlogged", self.unlogged.is_some()),
            ("notify_triggers", self.notify_triggers.is_some()),
            ("tls", self.tls.is_some()),
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
        ];
        none_of(context, others, "PostgreSQL, and the location is a SQLite database")?;
        let readers = self.readers.unwrap_or(READERS);
        if !(1..=MAX_READERS).contains(&readers) {
            let what = format!("expected 1 to {MAX_READERS}");
            return Err(context.error("options.readers", what));
        }
        Ok(SqlitePlan {
            plan,
            synchronous: self.synchronous.unwrap_or_default(),
            readers,
            direct_reads: self.direct_reads.unwrap_or(false),
            direct_writes: self.direct_writes.unwrap_or(false),
        })
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn postgres(self, context: &BuildContext<'_>) -> Result<PostgresPlan> {
        let plan = self.plan(context, MAX_VALUE_LEN_POSTGRES)?;
        let others = [
            ("synchronous", self.synchronous.is_some()),
            ("readers", self.readers.is_some()),
            ("direct_reads", self.direct_reads.is_some()),
            ("direct_writes", self.direct_writes.is_some()),
        ];
        none_of(context, others, "SQLite, and the location is a PostgreSQL server")?;
        let connections = self.connections.unwrap_or(CONNECTIONS);
        if !(1..=MAX_CONNECTIONS).contains(&connections) {
            let what = format!("expected 1 to {MAX_CONNECTIONS}");
            return Err(context.error("options.connections", what));
        }
        let ways = [NearInvalidation::Auto, NearInvalidation::Postgres];
        let near = context.settings().near.filter(|it| ways.contains(&it.invalidation));
        let notify = match (self.notify_triggers, near) {
            (Some(true), _) => Notify::ByTriggers,
            (_, Some(_)) => Notify::ByStatements,
            (_, None) => Notify::No,
        };
        Ok(PostgresPlan {
            plan,
            connections,
            unlogged: self.unlogged.unwrap_or(false),
            notify,
            tls: self.tls,
            connect_deadline: context.connect_deadline(),
        })
    }
}

/// Refuses options of the other database, which would have no effect.
fn none_of<const N: usize>(
    context: &BuildContext<'_>,
    others: [(&str, bool); N],
    whose: &str,
) -> Result<()> {
    match others.into_iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((name, _)) => {
            let what = format!("options.{name} is for {whose}; remove it");
            Err(context.error(&format!("options.{name}"), what))
        }
    }
}
