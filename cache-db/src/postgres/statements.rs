//! The SQL statements: one per operation, so that each is one atomic step and one round trip.

use super::notification::{notify, notify_all, notify_each};
use crate::table::Table;

/// A statement. Each connection prepares it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    Get,
    GetEntry,
    GetMany,
    GetEntries,
    Set,
    Add,
    Replace,
    SetMany,
    Has,
    Ttl,
    Touch,
    Delete,
    DeleteMany,
    Take,
    Incr,
    IncrOr,
    CompareAndDelete,
    CompareAndSet,
    Rename,
    KeysFrom,
    Newest,
    DeleteUpTo,
    TakeTrimLease,
    ReleaseTrimLease,
    Sample,
    Sweep,
    Evict,
    Publish,
    Ping,
}

/// The number of statements.
pub(crate) const COUNT: usize = Statement::Ping as usize + 1;

/// The server's clock in milliseconds, rounded down. Not `now()`, because a statement may have
/// waited for another one. A double is exact enough for a clock of microseconds, and much faster
/// than the `numeric` of `extract`.
const NOW: &str = "floor(date_part('epoch', clock_timestamp()) * 1000)::bigint";

/// Matches canonical decimal text. The bytes are not cast to text: the server would refuse invalid
/// UTF-8.
const IS_INTEGER: &str =
    "octet_length(t.value) <= 20 AND encode(t.value, 'escape') ~ '^(0|-?[1-9][0-9]*)$'";
const NUMBER: &str = "encode(t.value, 'escape')::numeric";
/// The advisory lock of the trim lease is this number and the OID of the table: the bytes `cach`.
const TRIMMING: i32 = 0x6361_6368;
/// The longest text of a notification, in the format `escape`: the server accepts less than 8,000
/// bytes, and a number is before it.
const LONGEST_MESSAGE: usize = 7900;
const I64: &str = "-9223372036854775808 AND 9223372036854775807";

impl Statement {
    /// Whether it locks rows.
    pub(crate) fn writes(self) -> bool {
        !matches!(
            self,
            Self::Get
                | Self::GetEntry
                | Self::GetMany
                | Self::GetEntries
                | Self::Has
                | Self::Ttl
                | Self::KeysFrom
                | Self::Newest
                | Self::Sample
                | Self::Ping
        )
    }

    /// Returns the SQL. Only the quoted table name is inserted. If the statement `notifies`, it has
    /// further columns for that, behind all others.
    #[expect(clippy::too_many_lines, reason = "a list")]
    pub(crate) fn sql(self, table: &Table, notifies: bool) -> String {
        let (name, meta) = (table.quoted(), table.quoted_with("meta"));
        let notification = |begin: &str, key: &str| {
            if notifies { format!("{begin}{}", notify(table, key)) } else { String::new() }
        };
        let returning_notification = || notification(" RETURNING ", "t.key");
        let and_notification = || notification(", ", "t.key");
        let live = format!("(t.expires IS NULL OR t.expires > {NOW})");
        // Rounded up. A NULL lifetime means no expiry.
        let after = |parameter: &str| {
            format!(
                "ceil(date_part('epoch', clock_timestamp()) * 1000 + {parameter}::bigint / 1000::float8)::bigint"
            )
        };
        // Beyond this many bytes the value is NULL, and is read again.
        let before = "sum(t.size) OVER (ROWS UNBOUNDED PRECEDING) - t.size AS before";
        // Overwriting an expired entry gives it a new id. The row for the insert was computed
        // before the wait for a locked row, so the time is read again.
        let overwrite = |expires: &str| {
            format!(
                "value = excluded.value, expires = {expires}, \
                 id = CASE WHEN t.expires <= {NOW} THEN excluded.id ELSE t.id END"
            )
        };
        // A plain `UPDATE` would compute the time and the test for expiry before it waits.
        let held = format!(
            "(SELECT l.key, l.value, l.expires FROM {name} l WHERE l.key = $1 OFFSET 0 FOR UPDATE) n \
             WHERE t.key = n.key AND (n.expires IS NULL OR n.expires > {NOW})"
        );
        // The server may evaluate conditions in any order. `CASE` makes sure that only integers are
        // cast.
        let counts = |delta: &str| {
            format!(
                "(CASE WHEN {IS_INTEGER} THEN {NUMBER} BETWEEN {I64} AND {NUMBER} + {delta}::bigint BETWEEN {I64} \
                 ELSE false END)"
            )
        };
        let sum = |delta: &str| format!("decode(({NUMBER} + {delta}::bigint)::text, 'escape')");
        let is_seen = |row: &str| {
            format!("{row}.value = $2 AND ($3::bigint IS NULL OR coalesce({row}.expires, 0) = $3)")
        };
        match self {
            Self::Get => format!("SELECT t.value FROM {name} t WHERE t.key = $1 AND {live}"),
            Self::GetEntry => format!(
                "SELECT t.value, t.expires, {NOW} FROM {name} t WHERE t.key = $1 AND {live}"
            ),
            Self::GetMany => {
                format!(
                    "SELECT m.key, CASE WHEN m.before < $2 THEN m.value END FROM (\
                     SELECT t.key, t.value, {before} FROM {name} t WHERE t.key = ANY($1) AND {live}) m"
                )
            }
            Self::GetEntries => format!(
                "SELECT CASE WHEN m.before < $2 THEN m.value END, m.expires, {NOW}, m.key FROM (\
                 SELECT t.key, t.value, t.expires, {before} FROM {name} t WHERE t.key = ANY($1) AND {live}) m"
            ),
            Self::Set => format!(
                "INSERT INTO {name} AS t (key, value, expires) VALUES ($1, $2, {}) \
                 ON CONFLICT (key) DO UPDATE SET {}{}",
                after("$3"),
                overwrite(&after("$3")),
                returning_notification()
            ),
            Self::Add => format!(
                "INSERT INTO {name} AS t (key, value, expires) VALUES ($1, $2, {}) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = {}, id = excluded.id \
                 WHERE t.expires <= {NOW}{}",
                after("$3"),
                after("$3"),
                returning_notification()
            ),
            Self::Replace => {
                let notification = returning_notification();
                format!(
                    "UPDATE {name} t SET value = $2, expires = {} FROM {held}{notification}",
                    after("$3")
                )
            }
            Self::SetMany => {
                let sql = format!(
                    "INSERT INTO {name} AS t (key, value, expires) \
                     SELECT n.key, n.value, {} FROM unnest($1::bytea[], $2::bytea[]) AS n (key, value) \
                     ON CONFLICT (key) DO UPDATE SET {}",
                    after("$3"),
                    overwrite(&after("$3"))
                );
                if !notifies {
                    return sql;
                }
                let notification = notify_each(table, "written");
                format!("WITH written AS ({sql} RETURNING t.key) SELECT {notification}")
            }
            Self::Has => format!("SELECT 1 FROM {name} t WHERE t.key = $1 AND {live}"),
            Self::Ttl => {
                format!("SELECT t.expires, {NOW} FROM {name} t WHERE t.key = $1 AND {live}")
            }
            Self::Touch => {
                let notification = returning_notification();
                format!("UPDATE {name} t SET expires = {} FROM {held}{notification}", after("$2"))
            }
            Self::Delete => {
                format!(
                    "DELETE FROM {name} t WHERE t.key = $1 RETURNING {live}{}",
                    and_notification()
                )
            }
            // In the order of keys, like `SetMany`, so that two batches cannot deadlock.
            Self::DeleteMany => {
                let sql = format!(
                    "DELETE FROM {name} t WHERE t.key = ANY(ARRAY(\
                     SELECT d.key FROM {name} d WHERE d.key = ANY($1) ORDER BY d.key FOR UPDATE)) \
                     RETURNING t.key, {live} AS was_live"
                );
                if !notifies {
                    return sql;
                }
                let notification = notify_each(table, "gone");
                format!("WITH gone AS ({sql}) SELECT g.key, g.was_live, {notification} FROM gone g")
            }
            Self::Take => format!(
                "DELETE FROM {name} t WHERE t.key = $1 RETURNING CASE WHEN {live} THEN t.value END{}",
                and_notification()
            ),
            Self::Incr => format!(
                "UPDATE {name} t SET value = {} WHERE t.key = $1 AND {live} AND {} \
                 RETURNING encode(t.value, 'escape')::bigint{}",
                sum("$2"),
                counts("$2"),
                and_notification()
            ),
            // Reads the time once for all three, or a counter could get the sum of one entry and
            // the lifetime of another.
            Self::IncrOr => format!(
                "INSERT INTO {name} AS t (key, value, expires) VALUES ($1, $2, {after}) \
                 ON CONFLICT (key) DO UPDATE SET (value, expires, id) = (SELECT \
                 CASE WHEN t.expires <= c.now THEN excluded.value ELSE {sum} END, \
                 CASE WHEN t.expires <= c.now THEN {after} ELSE t.expires END, \
                 CASE WHEN t.expires <= c.now THEN excluded.id ELSE t.id END \
                 FROM (SELECT {NOW} AS now OFFSET 0) c) \
                 WHERE t.expires <= {NOW} OR {counts} \
                 RETURNING encode(t.value, 'escape')::bigint{notification}",
                notification = and_notification(),
                after = after("$3"),
                sum = sum("$4"),
                counts = counts("$4")
            ),
            Self::CompareAndDelete => format!(
                "DELETE FROM {name} t WHERE t.key = $1 AND {live} AND {}{}",
                is_seen("t"),
                returning_notification()
            ),
            Self::CompareAndSet => format!(
                "UPDATE {name} t SET value = $4, expires = CASE WHEN $5::boolean THEN n.expires ELSE {} END \
                 FROM {held} AND {}{}",
                after("$6"),
                is_seen("n"),
                returning_notification()
            ),
            Self::Rename => format!(
                "WITH moved AS (DELETE FROM {name} t WHERE t.key = $1 RETURNING t.value, t.expires) \
                 INSERT INTO {name} AS t (key, value, expires) \
                 SELECT $2, m.value, m.expires FROM moved m WHERE m.expires IS NULL OR m.expires > {NOW} \
                 ON CONFLICT (key) DO UPDATE SET {}{}{}",
                overwrite("excluded.expires"),
                returning_notification(),
                notification(", ", "$1")
            ),
            Self::KeysFrom => format!(
                "SELECT t.key FROM {name} t WHERE t.key > $1 AND t.key < $2 ORDER BY t.key LIMIT $3"
            ),
            Self::Newest => format!("SELECT coalesce(max(id), 0) FROM {name}"),
            Self::DeleteUpTo => format!(
                "DELETE FROM {name} WHERE id = ANY(ARRAY(\
                 SELECT id FROM {name} WHERE id <= $1 ORDER BY id LIMIT $2 FOR UPDATE)){}",
                // The server sends equal notifications of one transaction once.
                if notifies { format!(" RETURNING {}", notify_all(table)) } else { String::new() }
            ),
            // A lease ends with its connection, or after a while if the connection stays open. An
            // end in the far future comes from a clock that was set back, and does not count.
            Self::TakeTrimLease => format!(
                "UPDATE {meta} m SET value = {NOW} + $1 WHERE m.name = 'trimming' \
                 AND (pg_try_advisory_lock({TRIMMING}, m.tableoid::integer) OR m.value NOT BETWEEN {NOW} AND {NOW} + $1)"
            ),
            // The lock may be held twice, if the answer that granted it was lost.
            Self::ReleaseTrimLease => format!(
                "UPDATE {meta} SET value = 0 WHERE name = 'trimming' RETURNING pg_advisory_unlock_all()::text"
            ),
            Self::Sample => {
                let share = "least(100, 100 * $1::float8 / greatest(1, pg_relation_size(to_regclass($2::text)) \
                             / current_setting('block_size')::bigint))";
                format!(
                    "SELECT count(*), coalesce(sum(size), 0)::bigint, \
                     count(*) FILTER (WHERE expires <= (SELECT {NOW})), {share}::float8 \
                     FROM {name} TABLESAMPLE SYSTEM ({share})"
                )
            }
            // Locked rows are left for the next time: trimming waits for no other session and
            // delays none.
            Self::Sweep => format!(
                "WITH seen AS MATERIALIZED (SELECT id, expires FROM {name} WHERE id > $1 ORDER BY id LIMIT $2), \
                 gone AS (DELETE FROM {name} WHERE id = ANY(ARRAY(\
                 SELECT t.id FROM {name} t WHERE t.id = ANY(ARRAY(SELECT s.id FROM seen s WHERE s.expires <= {NOW})) \
                 AND t.expires <= {NOW} ORDER BY t.id FOR UPDATE SKIP LOCKED)) RETURNING size) \
                 SELECT (SELECT max(id) FROM seen), (SELECT count(*) FROM gone), \
                 (SELECT coalesce(sum(size), 0)::bigint FROM gone)"
            ),
            // Removes no more entries than the excess of entries or bytes requires: the oldest may
            // be larger than others.
            Self::Evict => format!(
                "WITH old AS MATERIALIZED (\
                 SELECT id, size FROM {name} WHERE id > $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED), \
                 gone AS (DELETE FROM {name} WHERE id = ANY(ARRAY(SELECT o.id FROM (\
                 SELECT id, row_number() OVER w AS number, sum(size) OVER w - size AS before FROM old WINDOW w AS (ORDER BY id)\
                 ) o WHERE o.number <= $3::bigint OR o.before < $4::bigint)) RETURNING id, size, key) \
                 SELECT max(id), count(*), coalesce(sum(size), 0)::bigint{} FROM gone",
                if notifies { format!(", {}", notify_each(table, "gone")) } else { String::new() }
            ),
            // The number keeps the server from taking equal messages for one.
            Self::Publish => format!(
                "SELECT count(pg_notify($1::text, CASE WHEN length(m.text) <= {LONGEST_MESSAGE} \
                 THEN m.number || ':' || m.text ELSE m.number || '!' END)::text) FROM (\
                 SELECT number, encode(message, 'escape') AS text \
                 FROM unnest($2::bytea[]) WITH ORDINALITY AS u (message, number)) m"
            ),
            // Checks that the server answers and the table exists.
            Self::Ping => format!("SELECT 1 FROM {name} WHERE key = ''"),
        }
    }
}
