use super::parts::{Peer, Row, Table, own, peer};

const PEERS: &[Peer] = &[
    own("unfenced", &["unfenced"]),
    peer("Laravel's commands", &["laravel"]),
    peer("Django's commands", &["django_get_or_set"]),
    peer("raw client", &["redis", "memcache"]),
    peer("django-redis", &["django-redis"]),
];

/// The time of fenced loads.
pub(super) const LOADS: Table = Table {
    region: "fences",
    title: "Fenced loads",
    peers: PEERS,
    rows: &[
        row("memory: miss", "miss_memory"),
        row("memory: refresh", "refresh_memory"),
        row("directory: miss", "miss_file"),
        row("directory: refresh", "refresh_file"),
        row("SQLite: miss", "miss_sqlite"),
        row("SQLite: refresh", "refresh_sqlite"),
        row("Redis: miss", "miss_redis"),
        row("Redis: refresh", "refresh_redis"),
        row("memcached: miss", "miss_memcached"),
        row("memcached: refresh", "refresh_memcached"),
        row("PostgreSQL: miss", "miss_postgres"),
        row("PostgreSQL: refresh", "refresh_postgres"),
    ],
};

/// The time of a lock that is acquired and released.
pub(super) const LOCKS: Table = Table {
    region: "locks",
    title: "Locks",
    peers: &[
        own("`add` and `delete`", &["add_delete"]),
        peer("Laravel's commands", &["laravel"]),
        peer("django-redis's commands", &["django-redis_lock"]),
        peer("django-redis", &["django-redis"]),
    ],
    rows: &[
        row("memory", "lock_memory"),
        row("directory", "lock_file"),
        row("SQLite", "lock_sqlite"),
        row("Redis", "lock_redis"),
        row("memcached", "lock_memcached"),
        row("PostgreSQL", "lock_postgres"),
    ],
};

/// The time of a hit whose tag is compared.
pub(super) const TAG_CHECKS: Table = Table {
    region: "tag-checks",
    title: "Tag checks",
    peers: &[own("without a tag", &["untagged"])],
    rows: &[
        row("memory", "tag_check_memory"),
        row("directory", "tag_check_file"),
        row("SQLite", "tag_check_sqlite"),
        row("Redis", "tag_check_redis"),
        row("memcached", "tag_check_memcached"),
        row("PostgreSQL", "tag_check_postgres"),
    ],
};

/// The time of an invalidation of a tag, by the number of entries that have the tag.
pub(super) const INVALIDATIONS: Table = Table {
    region: "invalidations",
    title: "Invalidations",
    peers: &[
        own("of 1,000 entries", &["of_1000"]),
        own("of 100,000 entries", &["of_100000"]),
        own("of 1,000,000 entries", &["of_1000000"]),
    ],
    rows: &[
        row("memory", "invalidate_memory"),
        row("directory", "invalidate_file"),
        row("SQLite", "invalidate_sqlite"),
        row("Redis", "invalidate_redis"),
        row("memcached", "invalidate_memcached"),
        row("PostgreSQL", "invalidate_postgres"),
    ],
};

/// Round trips, counted in front of the server.
pub(super) const TRIPS: Table = Table {
    region: "round-trips",
    title: "Round trips",
    peers: &[
        own("unfenced", &["unfenced", "add_delete", "untagged"]),
        peer("Laravel's commands", &["laravel"]),
        peer("Django's commands", &["django_get_or_set", "django-redis_lock"]),
        peer("raw client", &["redis", "memcache"]),
    ],
    rows: &[
        row("Redis: hit", "hit_redis_trips"),
        row("Redis: miss", "miss_redis_trips"),
        row("Redis: refresh", "refresh_redis_trips"),
        row("Redis: lock", "lock_redis_trips"),
        row("Redis: tag check", "tag_check_redis_trips"),
        row("memcached: hit", "hit_memcached_trips"),
        row("memcached: miss", "miss_memcached_trips"),
        row("memcached: refresh", "refresh_memcached_trips"),
        row("memcached: lock", "lock_memcached_trips"),
        row("PostgreSQL: hit", "hit_postgres_trips"),
        row("PostgreSQL: miss", "miss_postgres_trips"),
        row("PostgreSQL: refresh", "refresh_postgres_trips"),
        row("PostgreSQL: lock", "lock_postgres_trips"),
    ],
};

const fn row(call: &'static str, case: &'static str) -> Row {
    Row::new(call, "consistency", case, 1, 100)
}
