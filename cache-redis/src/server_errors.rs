//! The error replies of the servers, collected from the sources of Redis 7 to 8 and Valkey 7.2 to
//! 9.

use cache_core::ErrorKind;

/// The code of an error reply, a part of its details, and the kind and message for the caller. The
/// first matching row applies.
type Row = (&'static str, &'static str, ErrorKind, &'static str);

/// `maxmemory` is reached. Inside a transaction, the server then rejects reads as well.
pub(crate) const OUT_OF_MEMORY: &str = "out of memory (OOM): the server has reached maxmemory, and its maxmemory-policy does not let it evict keys";
/// The server rejected a command of the transaction.
pub(crate) const DISCARDED: &str =
    "the server rejected one of the commands of a transaction (EXECABORT)";

/// The server does not support RESP3.
pub(crate) const NO_RESP3: &str =
    "the server does not support this protocol version; set options.resp = 2";
/// The server does not know a command.
pub(crate) const UNKNOWN_COMMAND: &str = "unknown command: the server does not know one of the commands; Redis 7.0 or Valkey 7.2 is required";
pub(crate) const NO_PASSWORD: &str = "authentication required (NOAUTH): write the password into options.password, or into the location: \
                                      redis://:password@host";
const NO_DATABASE: &str =
    "the server has no database with this number; see the end of the URL in location";
pub(crate) const NO_LOGIN: &str =
    "authentication failed (WRONGPASS): the user does not exist, or the password is wrong";
const TOO_LARGE: &str = "the value is larger than the server accepts; raise its proto-max-bulk-len, or lower options.max_value_bytes";
const NO_COMMAND: &str =
    "permission denied (NOPERM): the user may not run this command; see ACL LOG on the server";
const ANY_CODE: &str = "";
const ANYTHING: &str = "";

const TABLE: &[Row] = {
    use ErrorKind::{Backend, NotAnInteger, Overflow, TooLarge, Unavailable, WrongType};
    &[
        // Errors that pass without a change of the configuration.
        (
            "ERR",
            "max number of clients",
            Unavailable,
            "too many clients: the server has reached its maxclients; raise it, or lower options.connections",
        ),
        ("LOADING", ANYTHING, Unavailable, "the server is still loading its data"),
        ("MASTERDOWN", ANYTHING, Unavailable, "the replica has lost its leader (MASTERDOWN)"),
        ("BUSY", "module command", Unavailable, "the server is busy with the command of a module"),
        (
            "BUSY",
            ANYTHING,
            Unavailable,
            "the server is busy with a script; SCRIPT KILL or FUNCTION KILL on the server ends it",
        ),
        (
            "CLUSTERDOWN",
            "Hash slot not served",
            Unavailable,
            "the cluster is down: no server has the slot of this key",
        ),
        (
            "CLUSTERDOWN",
            "only accepts read",
            Unavailable,
            "the cluster is down for writes: some of its slots have no server",
        ),
        (
            "CLUSTERDOWN",
            ANYTHING,
            Unavailable,
            "the cluster is down: some of its slots have no server",
        ),
        (
            "TRYAGAIN",
            ANYTHING,
            Unavailable,
            "the keys are migrating to another server of the cluster (TRYAGAIN)",
        ),
        ("REDIRECT", ANYTHING, Unavailable, "the server hands over to another server"),
        // Errors that do not.
        ("WRONGTYPE", ANYTHING, WrongType, "the value is not a string (WRONGTYPE)"),
        ("OOM", ANYTHING, Backend, OUT_OF_MEMORY),
        (
            "READONLY",
            ANYTHING,
            Backend,
            "the server does not accept writes, because it is a replica (READONLY); \
             set options.topology to replicas, sentinel or cluster, and list the leader first",
        ),
        (
            "MISCONF",
            "AOF",
            Backend,
            "the server does not accept writes, because it cannot write its append-only file; see its log",
        ),
        (
            "MISCONF",
            ANYTHING,
            Backend,
            "the server does not accept writes, because it cannot save to its disk; see its log",
        ),
        (
            "NOREPLICAS",
            ANYTHING,
            Backend,
            "the server does not accept writes, because it has too few replicas; see its min-replicas-to-write",
        ),
        (
            "MOVED",
            ANYTHING,
            Backend,
            "the server is part of a Cluster and does not hold this key; set options.topology = \"cluster\"",
        ),
        (
            "ASK",
            ANYTHING,
            Backend,
            "the server is part of a Cluster and does not hold this key; set options.topology = \"cluster\"",
        ),
        ("CROSSSLOT", ANYTHING, Backend, "the keys are in different slots of a Cluster"),
        ("NOAUTH", ANYTHING, Backend, NO_PASSWORD),
        ("WRONGPASS", ANYTHING, Backend, NO_LOGIN),
        (
            "DENIED",
            ANYTHING,
            Backend,
            "the server is in protected mode and serves only its own machine; give it a password (requirepass)",
        ),
        (
            "NOPERM",
            "permissions to access",
            Backend,
            "permission denied (NOPERM): the user may not access this key; see ACL LOG on the server, and key_prefix",
        ),
        ("NOPERM", ANYTHING, Backend, NO_COMMAND),
        // In a script, before Redis 7.2.
        ("ERR", "executing the script can't run this command", Backend, NO_COMMAND),
        (
            "ERR",
            "executing the script can't publish",
            Backend,
            "permission denied (NOPERM): the user may not publish to this channel; see ACL LOG on the server",
        ),
        ("NOPROTO", ANYTHING, Backend, NO_RESP3),
        ("EXECABORT", ANYTHING, Backend, DISCARDED),
        ("NOSCRIPT", ANYTHING, Backend, "the server has lost a script between two commands"),
        // Errors without a code of their own.
        ("ERR", "unknown command", Backend, UNKNOWN_COMMAND),
        ("ERR", "unknown subcommand", Backend, UNKNOWN_COMMAND),
        ("ERR", "wrong number of arguments", Backend, UNKNOWN_COMMAND),
        ("ERR", "syntax error", Backend, UNKNOWN_COMMAND),
        (
            ANY_CODE,
            "not an integer or out of range",
            NotAnInteger,
            "the stored value is not a decimal integer within i64",
        ),
        (ANY_CODE, "would overflow", Overflow, "the result is outside i64"),
        ("ERR", "invalid bulk length", TooLarge, TOO_LARGE),
        ("ERR", "exceeds maximum allowed size", TooLarge, TOO_LARGE),
        ("ERR", "unauthenticated", Backend, NO_PASSWORD),
        ("ERR", "operation not permitted", Backend, NO_PASSWORD),
        (
            "ERR",
            "without any password configured",
            Backend,
            "the server has no password; remove it from location or options.password, or set options.username",
        ),
        ("ERR", "DB index is out of range", Backend, NO_DATABASE),
        ("ERR", "invalid DB index", Backend, NO_DATABASE),
        (
            "ERR",
            "SELECT is not allowed in cluster mode",
            Backend,
            "a Cluster has only database 0; remove the number at the end of the URL in location",
        ),
        (
            "ERR",
            "cluster support disabled",
            Backend,
            "the server is not part of a Cluster; set options.topology = \"single\"",
        ),
    ]
};

/// Returns the kind and the message for a known error reply.
pub(crate) fn find(code: &str, details: &str) -> Option<(ErrorKind, &'static str)> {
    let fits = |it: &&Row| (it.0 == ANY_CODE || it.0 == code) && details.contains(it.1);
    TABLE.iter().find(fits).map(|it| (it.2, it.3))
}

#[cfg(test)]
mod tests {
    use cache_core::ErrorKind::{
        Backend, NotAnInteger, Overflow, TooLarge, Unavailable, WrongType,
    };

    use super::*;

    /// Error replies from the sources (`server.c`, `networking.c`, `acl.c`, `cluster.c`,
    /// `script.c`, `db.c`, `multi.c`, `t_string.c`), with the expected kind and a part of the
    /// message.
    const EXAMPLES: &[(&str, ErrorKind, &str)] = &[
        ("ERR max number of clients reached", Unavailable, "maxclients"),
        ("ERR max number of clients + cluster connections reached", Unavailable, "maxclients"),
        ("LOADING Redis is loading the dataset in memory", Unavailable, "loading"),
        ("LOADING Valkey is loading the dataset in memory", Unavailable, "loading"),
        (
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            Unavailable,
            "leader",
        ),
        (
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            Unavailable,
            "script",
        ),
        (
            "BUSY Valkey is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
            Unavailable,
            "script",
        ),
        ("BUSY Redis is busy running a module command.", Unavailable, "module"),
        ("CLUSTERDOWN The cluster is down", Unavailable, "cluster"),
        (
            "CLUSTERDOWN The cluster is down and only accepts read commands",
            Unavailable,
            "for writes",
        ),
        ("CLUSTERDOWN Hash slot not served", Unavailable, "slot of this key"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Unavailable, "migrating"),
        ("REDIRECT 10.0.0.1:6379", Unavailable, "hands over"),
        (
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            WrongType,
            "not a string",
        ),
        ("OOM command not allowed when used memory > 'maxmemory'.", Backend, "out of memory"),
        (
            "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
            Backend,
            "out of memory",
        ),
        ("READONLY You can't write against a read only replica.", Backend, "is a replica"),
        (
            "READONLY Can not run script with write flag on readonly replica",
            Backend,
            "is a replica",
        ),
        (
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            Backend,
            "save to its disk",
        ),
        (
            "MISCONF Errors writing to the AOF file: No space left on device",
            Backend,
            "append-only file",
        ),
        (
            "MISCONF Redis is configured to persist data to AOF, but it's currently unable to persist to disk.",
            Backend,
            "append-only file",
        ),
        ("NOREPLICAS Not enough good replicas to write.", Backend, "too few replicas"),
        ("MOVED 866 10.0.0.1:7000", Backend, "topology = \"cluster\""),
        ("ASK 866 10.0.0.1:7000", Backend, "topology = \"cluster\""),
        ("CROSSSLOT Keys in request don't hash to the same slot", Backend, "different slots"),
        ("NOAUTH Authentication required.", Backend, "authentication required"),
        (
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used",
            Backend,
            "authentication required",
        ),
        (
            "WRONGPASS invalid username-password pair or user is disabled.",
            Backend,
            "password is wrong",
        ),
        (
            "DENIED Redis is running in protected mode because protected mode is enabled and no password is set",
            Backend,
            "protected mode",
        ),
        (
            "DENIED Running in protected mode because protected mode is enabled and no password is set",
            Backend,
            "protected mode",
        ),
        (
            "NOPERM User shop has no permissions to run the 'flushdb' command",
            Backend,
            "permission denied",
        ),
        (
            "ERR The user executing the script can't run this command or subcommand script: 09",
            Backend,
            "may not run this command",
        ),
        (
            "ERR The user executing the script can't publish to the channel mentioned in the command",
            Backend,
            "may not publish",
        ),
        ("NOPERM No permissions to access a key", Backend, "key_prefix"),
        ("NOPERM User shop has no permissions to access the 'k' key", Backend, "key_prefix"),
        ("NOPROTO unsupported protocol version", Backend, "resp = 2"),
        (
            "EXECABORT Transaction discarded because of previous errors.",
            Backend,
            "one of the commands",
        ),
        ("NOSCRIPT No matching script. Please use EVAL.", Backend, "script"),
        ("ERR unknown command 'GETDEL', with args beginning with: 'k' ", Backend, "Redis 7.0"),
        ("ERR unknown subcommand 'INFO'. Try CLIENT HELP.", Backend, "Redis 7.0"),
        ("ERR wrong number of arguments for 'pexpire' command", Backend, "Redis 7.0"),
        ("ERR syntax error", Backend, "Redis 7.0"),
        ("ERR value is not an integer or out of range", NotAnInteger, "decimal integer"),
        ("ERR increment or decrement would overflow", Overflow, "i64"),
        ("ERR Protocol error: invalid bulk length", TooLarge, "proto-max-bulk-len"),
        (
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            TooLarge,
            "proto-max-bulk-len",
        ),
        ("ERR Protocol error: unauthenticated bulk length", Backend, "authentication required"),
        (
            "ERR Protocol error: unauthenticated multibulk length",
            Backend,
            "authentication required",
        ),
        ("ERR operation not permitted", Backend, "authentication required"),
        (
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
            Backend,
            "has no password",
        ),
        ("ERR DB index is out of range", Backend, "no database"),
        ("ERR invalid DB index", Backend, "no database"),
        ("ERR SELECT is not allowed in cluster mode", Backend, "only database 0"),
        ("ERR This instance has cluster support disabled", Backend, "topology = \"single\""),
    ];

    #[test]
    fn each_error_reply_has_its_kind_and_message() {
        for (said, kind, what) in EXAMPLES {
            let (code, details) = said.split_once(' ').unwrap();
            let found = find(code, details).unwrap_or_else(|| panic!("unknown: {said}"));
            assert_eq!(found.0, *kind, "{said}");
            assert!(found.1.contains(what), "{said}: {}", found.1);
        }
    }

    #[test]
    fn each_row_matches_an_error_reply() {
        for row in TABLE {
            let is_said = EXAMPLES.iter().any(|(said, ..)| {
                let (code, details) = said.split_once(' ').unwrap();
                find(code, details) == Some((row.2, row.3))
                    && (row.0 == ANY_CODE || row.0 == code)
                    && details.contains(row.1)
            });
            assert!(is_said, "{row:?}");
        }
    }

    #[test]
    fn unknown_error_reply_is_not_found() {
        assert_eq!(find("ERR", "something else"), None);
        assert_eq!(find("SECRET", "marked"), None);
    }
}
