use super::parts::{
    CURRENT,
    Goal::{None, Ratio},
    MULTI, Row, Table, in_runtime, peer,
};

/// The store in a directory.
pub(super) const FILE: Table = Table {
    region: "file",
    title: "Directory",
    peers: &[
        peer("`fs::read`", &["fs_read"]),
        peer("in `spawn_blocking`", &["fs_read_blocking", "temp_rename"]),
        peer("Django", &["django"]),
        peer("diskcache", &["diskcache"]),
    ],
    rows: &[
        get(1, 100).plotted(),
        get(1, 10_000),
        get(1, 100_000),
        file("`get`", "get", 64, 100),
        file("`get`", "get", 64, 10_000),
        file("`get`", "get", 64, 100_000),
        set(1, 100).plotted(),
        set(1, 10_000),
        set(1, 100_000).hidden(),
        set(64, 100),
        set(64, 10_000),
        set(64, 100_000).hidden(),
    ],
};

const fn get(tasks: usize, value_bytes: usize) -> Row {
    let goals = &[Ratio(0.67), None, Ratio(1.0), Ratio(1.0)];
    file("`get`", "get", tasks, value_bytes).goals(goals)
}

const fn set(tasks: usize, value_bytes: usize) -> Row {
    file("`set`", "set", tasks, value_bytes).goals(&[None, Ratio(10.0)])
}

const fn file(call: &'static str, case: &'static str, tasks: usize, value_bytes: usize) -> Row {
    Row::new(call, "file", case, tasks, value_bytes).on(MULTI)
}

/// `cache-db` on SQLite.
pub(super) const SQLITE: Table = Table {
    region: "sqlite",
    title: "SQLite",
    peers: &[peer("rusqlite", &["rusqlite"]), peer("in `spawn_blocking`", &["rusqlite_blocking"])],
    rows: &[
        sqlite("`get`, 1 k rows", "get_1k", 1),
        sqlite("`get`, 1 k rows", "get_1k", 64).goals(&[None, Ratio(1.2)]).plotted(),
        sqlite("`get`, 100 k rows", "get", 1).hidden(),
        sqlite("`get`, 100 k rows", "get", 64).goals(&[None, Ratio(1.2)]),
        sqlite("`get`, 1 k rows, `direct_reads`", "get_direct_1k", 1),
        sqlite("`get`, 1 k rows, `direct_reads`", "get_direct_1k", 64)
            .goals(&[Ratio(0.7)])
            .plotted(),
        sqlite("`get`, 100 k rows, `direct_reads`", "get_direct", 1).hidden(),
        sqlite("`get`, 100 k rows, `direct_reads`", "get_direct", 64).goals(&[Ratio(0.7)]),
        sqlite("`set`, 1 k rows", "set_1k", 1),
        sqlite("`set`, 1 k rows", "set_1k", 64).goals(&[Ratio(1.7)]).plotted(),
        sqlite("`get`, 1 k rows", "get_1k", 1).on(CURRENT).hidden(),
        sqlite("`get`, 1 k rows", "get_1k", 64).on(CURRENT).hidden(),
        sqlite("`set`, 1 k rows", "set_1k", 1).on(CURRENT).hidden(),
        sqlite("`set`, 1 k rows", "set_1k", 64).on(CURRENT).hidden(),
    ],
};

const fn sqlite(call: &'static str, case: &'static str, tasks: usize) -> Row {
    Row::new(call, "db", case, tasks, 100).on(MULTI)
}

/// `cache-db` on PostgreSQL.
pub(super) const POSTGRES: Table = Table {
    region: "postgresql",
    title: "PostgreSQL",
    peers: &[
        in_runtime(CURRENT, "one client", &["tokio-postgres"]),
        in_runtime(CURRENT, "two clients", &["tokio-postgres_x2"]),
        in_runtime(MULTI, "one client", &["tokio-postgres"]),
        in_runtime(MULTI, "two clients", &["tokio-postgres_x2"]),
    ],
    rows: &[
        postgres("`get`", "pg_get_1k", 1),
        postgres("`get`", "pg_get_1k", 64).goals(&[Ratio(0.85), None, Ratio(0.85), None]).plotted(),
        postgres("`get_many` of 100", "pg_get_many_100_1k", 1).hidden(),
        postgres("`get_many` of 100", "pg_get_many_100_1k", 64),
        postgres("`set`", "pg_set_1k", 1),
        postgres("`set`", "pg_set_1k", 64),
    ],
};

const fn postgres(call: &'static str, case: &'static str, tasks: usize) -> Row {
    Row::new(call, "db", case, tasks, 100)
}
