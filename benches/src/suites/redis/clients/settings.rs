use cache_redis as _;

/// Returns the settings of `cache-redis` with a number of connections, or with the default.
pub(super) fn settings(url: &str, connections: Option<usize>) -> String {
    let connections = connections.map(|it| format!("options.connections = {it}"));
    format!("backend = \"redis\"\nlocation = \"{url}\"\n{}", connections.unwrap_or_default())
}
