use super::parts::{
    Goal::{None, Ratio},
    MULTI, Row, Table, peer,
};

/// The caches for Django, each on the same server or disk.
pub(super) const TABLE: Table = Table {
    region: "python",
    title: "Python",
    peers: &[
        peer("Django", &["django"]),
        peer("django-redis", &["django-redis"]),
        peer("diskcache", &["diskcache"]),
    ],
    rows: &[
        Row::new("Redis `get`", "redis", "get", 1, 100),
        Row::new("Redis `get`", "redis", "get", 8, 100).on(MULTI),
        Row::new("Redis `set`", "redis", "set", 1, 100),
        Row::new("Redis `incr`", "redis", "incr", 1, 8),
        Row::new("Redis `get_many` of 100", "redis", "get_many_100", 1, 100),
        Row::new("memcached `get`", "memcached", "get", 1, 100),
        Row::new("memcached `get`", "memcached", "get", 8, 100).on(MULTI),
        Row::new("memcached `set`", "memcached", "set", 1, 100),
        Row::new("memcached `incr`", "memcached", "incr", 1, 8).goals(&[Ratio(1.0)]),
        Row::new("SQLite `get`", "db", "get_1k", 1, 100).goals(&[Ratio(1.0), None, Ratio(1.0)]),
        Row::new("SQLite `set`", "db", "set_1k", 1, 100),
        Row::new("PostgreSQL `get`", "db", "pg_get_1k", 1, 100),
        Row::new("PostgreSQL `set`", "db", "pg_set_1k", 1, 100).hidden(),
    ],
};
