//! The SQL statements of one table.

use crate::table::Table;

/// One statement for each operation. `:now` and `:expires` are in milliseconds; NULL means never.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) get: String,
    pub(super) has: String,
    pub(super) set: String,
    pub(super) add: String,
    pub(super) replace: String,
    pub(super) touch: String,
    pub(super) delete: String,
    pub(super) take: String,
    pub(super) incr: String,
    pub(super) incr_or: String,
    pub(super) compare_and_delete: String,
    pub(super) compare_and_set: String,
    pub(super) make_room: String,
    pub(super) rename: String,
    pub(super) keys_after: String,
    pub(super) remove: String,
    pub(super) remove_expired: String,
    pub(super) oldest: String,
    pub(super) remove_up_to: String,
    pub(super) expired_after: String,
    pub(super) counters: String,
    pub(super) recount: String,
    pub(super) clear_store: String,
}

const LIVE: &str = "(expires IS NULL OR expires > :now)";
/// Matches canonical integers: converting the number back gives the same bytes. CAST alone would
/// read 12 from `12abc`.
const INTEGER: &str = "length(value) <= 20 AND value = CAST(CAST(CAST(CAST(value AS TEXT) AS INTEGER) AS TEXT) AS BLOB)";
/// Outside i64 SQLite computes with floats.
const SUM: &str = "CAST(CAST(value AS TEXT) AS INTEGER) + :delta";

impl Statements {
    pub(super) fn new(table: &Table) -> Self {
        let (t, meta) = (table.quoted(), table.quoted_with("meta"));
        let countable = format!("{INTEGER} AND typeof({SUM}) = 'integer'");
        let seen = format!(
            "key = :key AND {LIVE} AND value = :seen AND (:stamp IS NULL OR ifnull(expires, 0) = :stamp)"
        );
        let upsert = format!(
            "INSERT INTO {t} (key, expires, size, value) VALUES (:key, :expires, :size, :value) \
             ON CONFLICT (key) DO UPDATE SET expires = excluded.expires, size = excluded.size, value = excluded.value"
        );
        Self {
            get: format!("SELECT value, expires FROM {t} WHERE key = :key AND {LIVE}"),
            has: format!("SELECT expires FROM {t} WHERE key = :key AND {LIVE}"),
            add: format!("{upsert} WHERE expires <= :now"),
            set: upsert,
            replace: format!(
                "UPDATE {t} SET expires = :expires, size = :size, value = :value WHERE key = :key AND {LIVE}"
            ),
            touch: format!("UPDATE {t} SET expires = :expires WHERE key = :key AND {LIVE}"),
            delete: format!("DELETE FROM {t} WHERE key = :key RETURNING {LIVE}"),
            take: format!("DELETE FROM {t} WHERE key = :key RETURNING {LIVE}, value"),
            incr: format!(
                "UPDATE {t} SET value = {} WHERE key = :key AND {LIVE} AND {countable} RETURNING value",
                blob(SUM)
            ),
            incr_or: format!(
                "INSERT INTO {t} (key, expires, size, value) VALUES (:key, :expires, :size, :value) \
                 ON CONFLICT (key) DO UPDATE SET \
                 value = CASE WHEN {LIVE} THEN {} ELSE excluded.value END, \
                 expires = CASE WHEN {LIVE} THEN expires ELSE excluded.expires END, \
                 size = CASE WHEN {LIVE} THEN size ELSE excluded.size END \
                 WHERE NOT {LIVE} OR {countable} RETURNING value",
                blob(SUM)
            ),
            compare_and_delete: format!("DELETE FROM {t} WHERE {seen}"),
            compare_and_set: format!(
                "UPDATE {t} SET expires = CASE WHEN :keep THEN expires ELSE :expires END, size = :size, value = :value WHERE {seen}"
            ),
            make_room: format!(
                "DELETE FROM {t} WHERE key = :to AND EXISTS (SELECT 1 FROM {t} WHERE key = :key AND {LIVE})"
            ),
            rename: format!("UPDATE {t} SET key = :to WHERE key = :key AND {LIVE}"),
            keys_after: format!(
                "SELECT key FROM {t} WHERE key > :after AND key < :end ORDER BY key LIMIT :limit"
            ),
            remove: format!("DELETE FROM {t} WHERE key = :key"),
            remove_expired: format!("DELETE FROM {t} WHERE id = :id AND expires <= :now"),
            oldest: format!("SELECT id, CAST(size AS INTEGER) FROM {t} ORDER BY id LIMIT :limit"),
            remove_up_to: format!("DELETE FROM {t} WHERE id <= :id"),
            expired_after: format!(
                "SELECT id, expires <= :now FROM {t} WHERE id > :after ORDER BY id LIMIT :limit"
            ),
            counters: format!(
                "SELECT CAST(entries AS INTEGER), CAST(bytes AS INTEGER) FROM {meta}"
            ),
            recount: format!(
                "UPDATE {meta} SET (entries, bytes) = (SELECT count(*), coalesce(sum(size), 0) FROM {t})"
            ),
            clear_store: format!("DELETE FROM {t} WHERE id IN (SELECT id FROM {t} LIMIT :limit)"),
        }
    }
}

/// Converts a number to the stored form.
fn blob(number: &str) -> String {
    format!("CAST(CAST({number} AS TEXT) AS BLOB)")
}
