use super::parts::{Goal::Ratio, Row, Table, peer};

/// `cache-memory` with several threads.
pub(super) const TABLE: Table = Table {
    region: "memory",
    title: "Memory",
    peers: &[peer("moka", &["moka"]), peer("quick_cache", &["quick_cache"])],
    rows: &[
        row("`get`, 1 k keys", "get_1k", 1),
        row("`get`, 1 k keys", "get_1k", 2).hidden(),
        row("`get`, 1 k keys", "get_1k", 4),
        row("`get`, 100 k keys", "get", 1).plotted(),
        row("`get`, 100 k keys", "get", 2).hidden(),
        row("`get`, 100 k keys", "get", 4).plotted(),
        row("`get`, 1 M keys", "get_1m", 1),
        row("`get`, 1 M keys", "get_1m", 2).hidden(),
        row("`get`, 1 M keys", "get_1m", 4),
        row("`set`, 1 k keys", "set_1k", 1),
        row("`set`, 1 k keys", "set_1k", 2).hidden(),
        row("`set`, 1 k keys", "set_1k", 4),
        row("`set`, 100 k keys", "set", 1).plotted(),
        row("`set`, 100 k keys", "set", 2).hidden(),
        row("`set`, 100 k keys", "set", 4).plotted(),
        row("`set`, 1 M keys", "set_1m", 1),
        row("`set`, 1 M keys", "set_1m", 2).hidden(),
        row("`set`, 1 M keys", "set_1m", 4),
    ],
};

const fn row(call: &'static str, case: &'static str, threads: usize) -> Row {
    Row::new(call, "memory", case, threads, 100).on("threads").goals(&[Ratio(3.0)])
}
