//! The server's error codes (SQLSTATE): the kind of error and the advice for each.

use cache_core::ErrorKind::{self, Backend, TimedOut, Unavailable};

/// Codes, or the two characters of a class; the first that fits counts.
pub(crate) const SQLSTATES: &[(&str, ErrorKind, &str)] = &[
    // The connection.
    (
        "08P01",
        Unavailable,
        "the connection failed: the server or a pooler in between refuses what was sent, or takes no more clients",
    ),
    ("08", Unavailable, "the connection failed"),
    // Statements that a session does not know.
    (
        "26000",
        Backend,
        "the server has forgotten a prepared statement; a pooler in between must keep a session for each client",
    ),
    (
        "0A000",
        Backend,
        "the server has forgotten a prepared statement; a pooler in between must keep a session for each client",
    ),
    // Who may do what.
    (
        "25006",
        Backend,
        "the server takes no writes: it is a standby, or read-only; name the leader in location, or several hosts with \
         target_session_attrs=read-write",
    ),
    (
        "28P01",
        Backend,
        "the server knows no such user, or the password is wrong; see location, options.username and options.password",
    ),
    (
        "28",
        Backend,
        "the server refuses this user; check user and password, its pg_hba.conf, and sslmode=require in location if it \
         wants TLS",
    ),
    (
        "3D000",
        Backend,
        "the server has no database of that name; see the end of the URL in location",
    ),
    ("3F000", Backend, "there is no schema to make the table in; see the user's search_path"),
    (
        "42501",
        Backend,
        "this user may not do that; GRANT SELECT, INSERT, UPDATE, DELETE on the table and its _meta to it, and have the \
         table made beforehand or GRANT CREATE on the schema",
    ),
    ("42P01", Backend, "the table is gone; the next call makes it again"),
    // Others were in the way.
    ("40", Unavailable, "others were in the way each time; nothing was done"),
    (
        "55P03",
        TimedOut,
        "another session holds the row or the table locked for longer than the deadline; end its transaction",
    ),
    ("55006", Unavailable, "what the statement needs is in use; the next call may find it free"),
    // What the server lacks.
    ("53100", Backend, "the server's disk is full; make room on it, and lower options.max_bytes"),
    (
        "53200",
        Backend,
        "the server is out of memory; see its shared_buffers, work_mem and max_locks_per_transaction",
    ),
    (
        "53300",
        Unavailable,
        "the server has too many connections; raise its max_connections or the limit of the user or database, or lower \
         options.connections",
    ),
    (
        "53400",
        Backend,
        "a limit in the server's settings was reached; see temp_file_limit and the server's log",
    ),
    ("53", Backend, "the server lacks resources; see its log"),
    // Somebody's hand.
    (
        "57014",
        TimedOut,
        "the server ended the statement, by its statement_timeout or by an administrator; raise statement_timeout for \
         this user",
    ),
    (
        "57P01",
        Unavailable,
        "the server ended the connection: it is being stopped, or an administrator ended the session",
    ),
    ("57P02", Unavailable, "the server ended the connection: it crashed"),
    ("57P03", Unavailable, "the server is just starting or stopping"),
    ("57P04", Backend, "the database was dropped; see the end of the URL in location"),
    (
        "57P05",
        Unavailable,
        "the server ended the connection, as it was idle for longer than its idle_session_timeout",
    ),
    ("57", Unavailable, "an administrator or the server itself ended what was under way"),
    // What is broken there.
    ("58", Backend, "the server's disk or system failed; see its log"),
    (
        "XX001",
        Backend,
        "the table is damaged; drop it and its _meta table, and the next call makes them again",
    ),
    ("XX002", Backend, "the table's index is damaged; REINDEX the table"),
];

/// The kind of an error with this code, and what is said of it.
pub(crate) fn describe(code: &str) -> (ErrorKind, String) {
    match SQLSTATES.iter().find(|(it, _, _)| code.starts_with(it)) {
        Some((_, kind, what)) => (*kind, (*what).to_owned()),
        None => (Backend, format!("the server answered with the error {code} (SQLSTATE)")),
    }
}

/// Whether it is about one statement, and says nothing about the server's health: a lock, a deadlock, a statement that took too long.
pub(crate) fn is_of_the_statement(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "55P03" | "57014")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes of the classes 08, 28, 53, 57 and 58, by the server's `errcodes.txt`, and those of others that a cache meets.
    #[test]
    fn every_code_has_its_kind_and_its_advice() {
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
            ("28P01", Backend, "password is wrong"),
            ("3D000", Backend, "no database of that name"),
            ("3F000", Backend, "search_path"),
            ("42501", Backend, "GRANT"),
            ("42P01", Backend, "makes it again"),
            ("40001", Unavailable, "others"),
            ("40P01", Unavailable, "others"),
            ("55P03", TimedOut, "locked"),
            ("55006", Unavailable, "in use"),
            ("53000", Backend, "lacks resources"),
            ("53100", Backend, "disk is full"),
            ("53200", Backend, "out of memory"),
            ("53300", Unavailable, "too many connections"),
            ("53400", Backend, "temp_file_limit"),
            ("57000", Unavailable, "administrator"),
            ("57014", TimedOut, "statement_timeout"),
            ("57P01", Unavailable, "being stopped"),
            ("57P02", Unavailable, "crashed"),
            ("57P03", Unavailable, "starting or stopping"),
            ("57P04", Backend, "dropped"),
            ("57P05", Unavailable, "idle_session_timeout"),
            ("58000", Backend, "disk or system"),
            ("58030", Backend, "disk or system"),
            ("58P01", Backend, "disk or system"),
            ("XX001", Backend, "damaged"),
            ("XX002", Backend, "REINDEX"),
            ("23514", Backend, "23514"),
        ] {
            let (found, text) = describe(code);
            assert_eq!(found, kind, "{code}");
            assert!(text.contains(what), "{code}: {text}");
        }
    }

    #[test]
    fn no_row_is_hidden_by_one_before_it() {
        for (i, (code, _, _)) in SQLSTATES.iter().enumerate() {
            let first = SQLSTATES.iter().position(|(it, _, _)| code.starts_with(it));
            assert_eq!(first, Some(i), "{code}");
        }
    }
}
