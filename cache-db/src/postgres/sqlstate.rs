//! The server's error codes (SQLSTATE), with the kind of error and the advice for each.

use cache_core::ErrorKind::{self, Backend, TimedOut, Unavailable};

/// Codes, or the two characters of a class. The first match counts.
pub(crate) const SQLSTATES: &[(&str, ErrorKind, &str)] = &[
    // Connections.
    (
        "08P01",
        Unavailable,
        "connection failed: the server or a pooler in between refused the message, or accepts no more clients",
    ),
    ("08", Unavailable, "connection failed"),
    // Prepared statements.
    (
        "26000",
        Backend,
        "prepared statement not found; a pooler in between must keep one session for each client",
    ),
    (
        "0A000",
        Backend,
        "prepared statement not found; a pooler in between must keep one session for each client",
    ),
    // Permissions.
    (
        "25006",
        Backend,
        "the server is read-only, or a standby; set the leader in location, or several hosts with \
         target_session_attrs=read-write",
    ),
    (
        "28P01",
        Backend,
        "authentication failed: unknown user or wrong password; see location, options.username and options.password",
    ),
    (
        "28",
        Backend,
        "authentication failed; check user and password, the server's pg_hba.conf, and sslmode=require in location if \
         the server requires TLS",
    ),
    ("3D000", Backend, "the database does not exist; see the end of the URL in location"),
    ("3F000", Backend, "no schema to create the table in; see the user's search_path"),
    (
        "42501",
        Backend,
        "permission denied; GRANT SELECT, INSERT, UPDATE, DELETE on the table and its _meta table to this user, and \
         create the table beforehand or GRANT CREATE on the schema",
    ),
    ("42P01", Backend, "the table does not exist; the next call creates it again"),
    // Conflicts with other sessions.
    ("40", Unavailable, "conflict with other sessions at each attempt; nothing was done"),
    (
        "55P03",
        TimedOut,
        "lock timeout: another session has locked the row or the table for longer than the deadline; end its transaction",
    ),
    ("55006", Unavailable, "object in use; the next call may find it free"),
    // Resources of the server.
    (
        "53100",
        Backend,
        "the server's disk is full; free some space there, and lower options.max_bytes",
    ),
    (
        "53200",
        Backend,
        "the server is out of memory; see its shared_buffers, work_mem and max_locks_per_transaction",
    ),
    (
        "53300",
        Unavailable,
        "too many connections; raise max_connections of the server or the limit of the user or database, or lower \
         options.connections",
    ),
    (
        "53400",
        Backend,
        "a configured limit of the server was exceeded; see temp_file_limit and the server's log",
    ),
    ("53", Backend, "insufficient resources on the server; see its log"),
    (
        "54000",
        Backend,
        "a limit of the server was exceeded: probably its queue of notifications is full, because a session that has \
         executed LISTEN keeps a transaction open; end that session",
    ),
    // Interventions.
    (
        "57014",
        TimedOut,
        "statement canceled by the server's statement_timeout or by an administrator; raise statement_timeout for \
         this user",
    ),
    (
        "57P01",
        Unavailable,
        "the server terminated the connection: it is shutting down, or an administrator ended the session",
    ),
    ("57P02", Unavailable, "the server terminated the connection: it crashed"),
    ("57P03", Unavailable, "the server is starting up or shutting down"),
    ("57P04", Backend, "the database was dropped; see the end of the URL in location"),
    (
        "57P05",
        Unavailable,
        "the server closed a connection that was idle for longer than its idle_session_timeout",
    ),
    ("57", Unavailable, "the statement was ended by an administrator or the server"),
    // Damage.
    ("58", Backend, "system error on the server: its disk or operating system failed; see its log"),
    (
        "XX001",
        Backend,
        "the table is corrupt; drop it and its _meta table, and the next call creates them again",
    ),
    ("XX002", Backend, "the index is corrupt; REINDEX the table"),
];

/// Returns the kind and the text of an error with this code.
pub(crate) fn describe(code: &str) -> (ErrorKind, String) {
    match SQLSTATES.iter().find(|(it, _, _)| code.starts_with(it)) {
        Some((_, kind, what)) => (*kind, (*what).to_owned()),
        None => (Backend, format!("the server returned SQLSTATE {code}")),
    }
}

/// Whether the code is about one statement and says nothing about the server's health: a lock, a
/// deadlock, a slow statement.
pub(crate) fn is_of_the_statement(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "55P03" | "57014")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All codes of the classes 08, 28, 53, 57 and 58 in the server's `errcodes.txt`, and other
    /// codes that a cache meets.
    #[test]
    fn each_code_has_its_kind_and_advice() {
        for (code, kind, what) in [
            ("08000", Unavailable, "connection failed"),
            ("08001", Unavailable, "connection failed"),
            ("08003", Unavailable, "connection failed"),
            ("08004", Unavailable, "connection failed"),
            ("08006", Unavailable, "connection failed"),
            ("08007", Unavailable, "connection failed"),
            ("08P01", Unavailable, "pooler"),
            ("0A000", Backend, "prepared statement"),
            ("26000", Backend, "prepared statement"),
            ("25006", Backend, "target_session_attrs"),
            ("28000", Backend, "pg_hba.conf"),
            ("28P01", Backend, "wrong password"),
            ("3D000", Backend, "does not exist"),
            ("3F000", Backend, "search_path"),
            ("42501", Backend, "GRANT"),
            ("42P01", Backend, "creates it again"),
            ("40001", Unavailable, "conflict"),
            ("40P01", Unavailable, "conflict"),
            ("55P03", TimedOut, "locked"),
            ("55006", Unavailable, "in use"),
            ("53000", Backend, "insufficient resources"),
            ("53100", Backend, "disk is full"),
            ("53200", Backend, "out of memory"),
            ("53300", Unavailable, "too many connections"),
            ("53400", Backend, "temp_file_limit"),
            ("54000", Backend, "LISTEN"),
            ("57000", Unavailable, "administrator"),
            ("57014", TimedOut, "statement_timeout"),
            ("57P01", Unavailable, "shutting down"),
            ("57P02", Unavailable, "crashed"),
            ("57P03", Unavailable, "starting up"),
            ("57P04", Backend, "dropped"),
            ("57P05", Unavailable, "idle_session_timeout"),
            ("58000", Backend, "disk or operating system"),
            ("58030", Backend, "disk or operating system"),
            ("58P01", Backend, "disk or operating system"),
            ("XX001", Backend, "corrupt"),
            ("XX002", Backend, "REINDEX"),
            ("23514", Backend, "23514"),
        ] {
            let (found, text) = describe(code);
            assert_eq!(found, kind, "{code}");
            assert!(text.contains(what), "{code}: {text}");
        }
    }

    #[test]
    fn no_row_shadows_a_later_one() {
        for (i, (code, _, _)) in SQLSTATES.iter().enumerate() {
            let first = SQLSTATES.iter().position(|(it, _, _)| code.starts_with(it));
            assert_eq!(first, Some(i), "{code}");
        }
    }
}
