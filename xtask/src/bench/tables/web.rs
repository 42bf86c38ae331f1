use super::parts::{MULTI, Row, Table, own, peer};

/// A hit of a function that an attribute keeps.
pub(super) const ATTRIBUTE: Table = Table {
    region: "attribute",
    title: "`#[cached]`",
    peers: &[
        peer("`cached`, by key", &["cached_by_key"]),
        peer("`cached`", &["cached"]),
        peer("moka by hand", &["moka_by_hand"]),
        own("`get` by hand", &["get"]),
        own("arguments in a digest", &["digest"]),
    ],
    rows: &[Row::new("a hit", "web", "attribute_hit", 1, 100)],
};

/// A page that takes 1 ms to make.
pub(super) const PAGES: Table = Table {
    region: "pages",
    title: "HTTP cache",
    peers: &[
        peer("axum-response-cache", &["axum-response-cache"]),
        peer("tower-http-cache", &["tower-http-cache"]),
        peer("http-cache-tower-server", &["http-cache-tower-server"]),
        peer("moka by hand", &["moka_by_hand"]),
        own("no cache", &["no_cache"]),
    ],
    rows: &[
        of_page("requests", "page"),
        of_page("50 % of the requests", "page_p50"),
        of_page("99 % of the requests", "page_p99"),
    ],
};

/// The other layers, beside the service without them.
pub(super) const LAYERS: Table = Table {
    region: "web-layers",
    title: "Layers of web services",
    peers: &[own("no layer", &["no_layer"])],
    rows: &[
        of_greeting("rate limit, fixed window", "rate_limit_fixed_window"),
        of_greeting("rate limit, GCRA", "rate_limit_gcra"),
        of_greeting("request memo", "request_memo"),
        of_greeting("idempotency, a replay", "idempotent_replay"),
        of_greeting("session, one read", "session_read"),
    ],
};

const fn of_page(call: &'static str, case: &'static str) -> Row {
    Row::new(call, "web", case, 16, 11_200).on(MULTI)
}

const fn of_greeting(call: &'static str, case: &'static str) -> Row {
    Row::new(call, "web", case, 16, 5).on(MULTI)
}
