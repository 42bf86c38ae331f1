use cache_redis as _;

/// `cache-redis` with so many connections, or as many as it makes by itself.
pub(super) fn settings(url: &str, connections: Option<usize>) -> String {
    let connections = connections.map(|it| format!("options.connections = {it}"));
    format!("backend = \"redis\"\nlocation = \"{url}\"\n{}", connections.unwrap_or_default())
}
