use super::parts::{
    Goal::{Extra, None},
    MULTI, Row, Table, own, peer,
};

/// The facade over `cache-memory`.
pub(super) const TABLE: Table = Table {
    region: "facade",
    title: "Facade",
    peers: &[own("`Memory` by hand", &["cache-memory"]), peer("quick_cache", &["quick_cache"])],
    rows: &[
        row("`get` of bytes", "get_bytes").goals(&[None, Extra(70.0)]),
        row("`get`", "get").goals(&[None, Extra(150.0)]),
        row("`fetch`, a hit", "fetch"),
        row("`set` of bytes", "set_bytes").goals(&[Extra(100.0)]),
        row("`set`", "set"),
        Row::new("`incr`", "facade", "incr", 1, 8),
    ],
};

const fn row(call: &'static str, case: &'static str) -> Row {
    Row::new(call, "facade", case, 1, 89)
}

/// Reading through.
pub(super) const LOAD: Table = Table {
    region: "load",
    title: "Reading through",
    peers: &[
        peer("moka", &["moka"]),
        peer("cachet", &["cachet"]),
        peer("`cached`", &["cached_by_key"]),
        peer("by hand", &["by_hand", "redis"]),
        own("`get`", &["get", "fetch_fresh"]),
    ],
    rows: &[
        load("loads for 1,000 callers", "cold_1000_loads", 1000).on(MULTI),
        load("`fetch`, a hit", "fetch", 1).goals(&[None, None, None, None, Extra(30.0)]),
        load("`fetch` with a grace, a hit", "fetch_with_grace", 1),
        load("99 % of stale hits, while a load takes 100 ms", "stale_p99", 1).on(MULTI),
        load("round trips, 100 missing keys", "get_or_set_many_100", 1),
        load("round trips, 100 stored keys", "get_or_set_many_hits", 1),
        load("99 % of the calls, frozen server", "frozen_p99", 16).on(MULTI),
    ],
};

const fn load(call: &'static str, case: &'static str, tasks: usize) -> Row {
    Row::new(call, "load", case, tasks, 100)
}
