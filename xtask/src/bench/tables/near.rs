use super::parts::{MULTI, Row, Table, own, peer};

/// The near tier in front of Redis.
pub(super) const TABLE: Table = Table {
    region: "near",
    title: "Near tier",
    peers: &[own("without a near tier", &["far"]), peer("moka by hand", &["moka"])],
    rows: &[
        row("`get`, near", "hit", 1),
        row("`get`, near", "hit", 64),
        row("`get`, not near", "miss", 1),
        row("`get`, not near", "miss", 64),
        row("a write of another process is found: half", "heard_p50", 1).on(MULTI),
        row("a write of another process is found: 99 %", "heard_p99", 1).on(MULTI),
    ],
};

/// The CPU time of the server for a write.
pub(super) const SERVER: Table = Table {
    region: "near-server",
    title: "Writes with near tiers",
    peers: &[own("10 tiers", &["10_clients"]), own("100 tiers", &["100_clients"])],
    rows: &[row("`set`: CPU time of the server", "server_set", 64)],
};

const fn row(call: &'static str, case: &'static str, tasks: usize) -> Row {
    Row::new(call, "near", case, tasks, 100)
}
