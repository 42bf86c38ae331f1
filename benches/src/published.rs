//! The cases of the tables in `docs/performance.md`: few enough to be measured several times.

#[cfg(target_os = "linux")]
use crate::suites::{consistency, db, file, memcached, near, redis};
use crate::{
    harness::Published,
    suites::{Suite, facade, load, memory, web},
};

/// The published cases of each suite.
const PUBLISHED: &[(&str, &[Published])] = &[
    (facade::NAME, &[all(&["get_bytes", "get", "fetch", "set_bytes", "set", "incr"])]),
    (memory::NAME, &[all(&["get_1k", "set_1k", "get", "set", "get_1m", "set_1m"])]),
    (
        load::NAME,
        &[all(&[
            "cold_1000_loads",
            "fetch",
            "fetch_with_grace",
            "stale_p99",
            "get_or_set_many_100",
            "get_or_set_many_hits",
            "frozen_p99",
        ])],
    ),
    #[cfg(target_os = "linux")]
    (file::NAME, &[all(&["get", "set"])]),
    #[cfg(target_os = "linux")]
    (
        redis::NAME,
        &[
            with_tasks(&["get", "set"], &[1, 8, 64]),
            with_tasks(&["incr", "get_many_100", "set_many_100"], &[1, 64]),
        ],
    ),
    #[cfg(target_os = "linux")]
    (
        memcached::NAME,
        &[
            with_tasks(&["get", "set"], &[1, 8, 64]),
            with_tasks(&["incr", "get_many_100", "set_many_100"], &[1, 64]),
            with_tasks(&["incr_one_key"], &[64]),
        ],
    ),
    #[cfg(target_os = "linux")]
    (
        db::NAME,
        &[
            small(&["get_1k", "get_direct_1k", "set_1k", "get", "get_direct"]),
            small(&["pg_get_1k", "pg_set_1k", "pg_get_many_100_1k"]),
        ],
    ),
    #[cfg(target_os = "linux")]
    (consistency::NAME, &[all(&["*"])]),
    (web::NAME, &[all(&["*"])]),
    #[cfg(target_os = "linux")]
    (near::NAME, &[all(&["hit", "miss", "heard_p50", "heard_p99", "server_set"])]),
];

const fn all(names: &'static [&'static str]) -> Published {
    with_tasks(names, &[])
}

const fn with_tasks(names: &'static [&'static str], tasks: &'static [usize]) -> Published {
    Published { names, tasks, value_bytes: &[] }
}

/// Without large values, whose tables take long to fill.
const fn small(names: &'static [&'static str]) -> Published {
    Published { names, tasks: &[1, 64], value_bytes: &[100] }
}

/// Returns the published cases of a suite.
pub fn of(suite: &Suite) -> &'static [Published] {
    PUBLISHED.iter().find(|it| it.0 == suite.name).map_or(&[], |it| it.1)
}
