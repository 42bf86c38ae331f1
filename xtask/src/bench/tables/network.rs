use super::parts::{
    CURRENT,
    Goal::{self, Ratio},
    MULTI, Row, Table, in_runtime,
};

/// The size of a counter.
const COUNTER: usize = 8;
const LARGE: usize = 10_000;
const ONE: &[Goal] = &[Ratio(1.0), Ratio(1.0)];
const ALONE: &[Goal] = &[Ratio(1.1), Ratio(1.1)];
const BUSY: &[Goal] = &[Ratio(1.4), Ratio(1.0)];
const FOUR: &[Goal] = &[Ratio(4.0), Ratio(4.0)];

/// The Redis store.
pub(super) const REDIS: Table = Table {
    region: "redis",
    title: "Redis",
    peers: &[in_runtime(CURRENT, "`redis`", &["redis"]), in_runtime(MULTI, "`redis`", &["redis"])],
    rows: &[
        redis("`get`", "get", 1, 100).goals(ALONE).plotted(),
        redis("`get`", "get", 8, 100).goals(ONE),
        redis("`get`", "get", 64, 100).goals(BUSY).plotted(),
        redis("`get`", "get", 1, LARGE).goals(ALONE),
        redis("`get`", "get", 8, LARGE).goals(ONE).hidden(),
        redis("`get`", "get", 64, LARGE).goals(ONE),
        redis("`set`", "set", 1, 100).goals(ALONE).plotted(),
        redis("`set`", "set", 8, 100).goals(ONE),
        redis("`set`", "set", 64, 100).goals(BUSY).plotted(),
        redis("`set`", "set", 1, LARGE).goals(ALONE),
        redis("`set`", "set", 8, LARGE).goals(ONE).hidden(),
        redis("`set`", "set", 64, LARGE).goals(ONE),
        redis("`incr`", "incr", 1, COUNTER).goals(ONE).hidden(),
        redis("`incr`", "incr", 64, COUNTER).goals(ONE).plotted(),
        redis("`get_many` of 100", "get_many_100", 1, 100).goals(ONE).hidden(),
        redis("`get_many` of 100", "get_many_100", 64, 100).goals(ONE).plotted(),
        redis("`get_many` of 100", "get_many_100", 1, LARGE).goals(ONE).hidden(),
        redis("`get_many` of 100", "get_many_100", 64, LARGE).goals(ONE).hidden(),
        redis("`set_many` of 100", "set_many_100", 1, 100).goals(ONE).hidden(),
        redis("`set_many` of 100", "set_many_100", 64, 100).goals(ONE),
        redis("`set_many` of 100", "set_many_100", 1, LARGE).goals(ONE).hidden(),
        redis("`set_many` of 100", "set_many_100", 64, LARGE).goals(ONE).hidden(),
    ],
};

const fn redis(call: &'static str, case: &'static str, tasks: usize, value_bytes: usize) -> Row {
    Row::new(call, "redis", case, tasks, value_bytes)
}

/// The memcached store.
pub(super) const MEMCACHED: Table = Table {
    region: "memcached",
    title: "memcached",
    peers: &[
        in_runtime(CURRENT, "`memcache`", &["memcache"]),
        in_runtime(MULTI, "`memcache`", &["memcache"]),
    ],
    rows: &[
        memcached("`get`", "get", 1, 100).goals(ALONE).plotted(),
        memcached("`get`", "get", 8, 100),
        memcached("`get`", "get", 64, 100).goals(FOUR).plotted(),
        memcached("`get`", "get", 1, LARGE).goals(ALONE).hidden(),
        memcached("`get`", "get", 8, LARGE).hidden(),
        memcached("`get`", "get", 64, LARGE).goals(FOUR),
        memcached("`set`", "set", 1, 100).goals(ALONE).plotted(),
        memcached("`set`", "set", 8, 100),
        memcached("`set`", "set", 64, 100).goals(FOUR).plotted(),
        memcached("`set`", "set", 1, LARGE).goals(ALONE).hidden(),
        memcached("`set`", "set", 8, LARGE).hidden(),
        memcached("`set`", "set", 64, LARGE).goals(FOUR),
        memcached("`incr`", "incr", 1, COUNTER).hidden(),
        memcached("`incr`", "incr", 64, COUNTER),
        memcached("`incr` of one key", "incr_one_key", 64, COUNTER),
        memcached("`get_many` of 100", "get_many_100", 1, 100).hidden(),
        memcached("`get_many` of 100", "get_many_100", 64, 100),
        memcached("`get_many` of 100", "get_many_100", 64, LARGE).hidden(),
        memcached("`set_many` of 100", "set_many_100", 1, 100).hidden(),
        memcached("`set_many` of 100", "set_many_100", 64, 100),
        memcached("`set_many` of 100", "set_many_100", 64, LARGE).hidden(),
    ],
};

const fn memcached(
    call: &'static str,
    case: &'static str,
    tasks: usize,
    value_bytes: usize,
) -> Row {
    Row::new(call, "memcached", case, tasks, value_bytes)
}
