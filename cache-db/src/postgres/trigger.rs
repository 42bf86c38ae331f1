//! Triggers that notify of each change of the table, whichever program makes it.
//!
//! Each is for a whole statement, so that the keys of a batch share payloads. The names have the
//! version of the payloads: programs of two versions may need triggers of both.

use cache_core::{Error, ErrorKind, Result};
use tokio_postgres::{Client, Error as PgError, error::SqlState};

use super::{
    address::Address,
    error,
    notification::{channel, notify_part, parts},
};
use crate::table::Table;

/// The events, with the transition tables of each.
const EVENTS: [(&str, &str); 4] = [
    ("insert", " REFERENCING NEW TABLE AS changed"),
    ("update", " REFERENCING OLD TABLE AS replaced NEW TABLE AS changed"),
    ("delete", " REFERENCING OLD TABLE AS changed"),
    ("truncate", ""),
];
const NAME: &str = "notify1";
/// If a statement changes more keys, it notifies of all keys instead.
const MOST_KEYS: usize = 1000;
const PRESENT: &str =
    "SELECT tgname::text FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal";
/// Other writes of the table wait behind the creation of a trigger.
const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '2s'";

/// Returns the SQL that tells whether all triggers of the table `$1`, whose [`names`] are in `$2`,
/// exist and are enabled.
pub(crate) fn are_complete() -> String {
    format!(
        "(SELECT count(*) = {} FROM pg_trigger WHERE tgrelid = to_regclass($1::text) \
         AND tgname::text = ANY($2::text[]) AND tgenabled IN ('O', 'A'))",
        EVENTS.len()
    )
}

/// Returns the names of the triggers.
pub(crate) fn names(table: &Table) -> Vec<String> {
    EVENTS.iter().map(|(event, _)| format!("{}_{}", table.name(), suffix(event))).collect()
}

/// Returns the SQL that creates the function and all triggers.
pub(crate) fn create_sql(table: &Table) -> String {
    format!("BEGIN;\n{}COMMIT;\n", statements(table, &names(table)))
}

/// Whether all triggers exist and are enabled.
pub(crate) async fn exist(client: &Client, table: &Table) -> Result<bool, PgError> {
    let sql = format!("SELECT {}", are_complete());
    client.query_one(&sql, &[&table.quoted(), &names(table)]).await?.try_get(0)
}

/// Creates the triggers that are missing.
pub(crate) async fn make(client: &Client, table: &Table, address: &Address) -> Result<()> {
    let wrong = |it: PgError| {
        if it.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            return refused(table, address);
        }
        error::of(&it, address)
    };
    let mut missing = names(table);
    for row in client.query(PRESENT, &[&table.quoted()]).await.map_err(wrong)? {
        let name: String = row.try_get(0).map_err(wrong)?;
        missing.retain(|it| *it != name);
    }
    if !missing.is_empty() {
        let sql = format!("BEGIN;\n{LOCK_WAIT};\n{}COMMIT;\n", statements(table, &missing));
        client.batch_execute(&sql).await.map_err(wrong)?;
    }
    if exist(client, table).await.map_err(wrong)? {
        return Ok(());
    }
    let what = format!(
        "a trigger of options.notify_triggers is disabled; ALTER TABLE {table:?} ENABLE TRIGGER ALL, or drop \
         the trigger, then it is created again"
    );
    Err(error::at(Error::new(ErrorKind::Backend, what), address))
}

/// Returns the SQL that creates the function and these triggers.
fn statements(table: &Table, names: &[String]) -> String {
    let function = table.quoted_with(NAME);
    let part = notify_part("channel");
    let mut sql = format!(
        "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $notify$\n\
         DECLARE\n    \
         channel text := {};\n    \
         changes bytea[];\n\
         BEGIN\n    \
         IF TG_OP = 'INSERT' THEN\n        \
         changes := ARRAY(SELECT key FROM changed LIMIT {MOST_KEYS} + 1);\n    \
         ELSIF TG_OP = 'UPDATE' THEN\n        \
         changes := ARRAY(SELECT key FROM changed UNION SELECT key FROM replaced LIMIT {MOST_KEYS} + 1);\n    \
         ELSIF TG_OP = 'DELETE' THEN -- an expired entry is in no near tier\n        \
         changes := ARRAY(SELECT key FROM changed WHERE expires IS NULL\n            \
         OR expires > date_part('epoch', clock_timestamp()) * 1000 LIMIT {MOST_KEYS} + 1);\n    \
         END IF;\n    \
         IF TG_OP = 'TRUNCATE' OR cardinality(changes) > {MOST_KEYS} THEN\n        \
         PERFORM pg_notify(channel, ''); -- all keys\n    \
         ELSIF cardinality(changes) > 0 THEN\n        \
         PERFORM {part} FROM {};\n    \
         END IF;\n    \
         RETURN NULL;\n\
         END $notify$;\n",
        channel("TG_RELID"),
        parts("(SELECT unnest(changes) AS key)"),
    );
    let triggers = EVENTS.iter().filter_map(|(event, tables)| {
        let suffix = suffix(event);
        names.contains(&format!("{}_{suffix}", table.name())).then(|| {
            format!(
                "CREATE TRIGGER {} AFTER {} ON {}{tables} FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n",
                table.quoted_with(&suffix),
                event.to_uppercase(),
                table.quoted(),
            )
        })
    });
    sql.extend(triggers);
    sql
}

fn suffix(event: &str) -> String {
    format!("{NAME}_{event}")
}

#[cold]
fn refused(table: &Table, address: &Address) -> Error {
    let what = format!(
        "permission denied: this user may not create the triggers of options.notify_triggers; let the owner of the \
         table {table:?} run their SQL, which create_tables_sql returns, or remove the setting"
    );
    error::at(Error::new(ErrorKind::Backend, what), address)
}
