use cache_memcached as _;

/// Returns the settings of `cache-memcached` with a number of connections, or with the default.
pub(super) fn settings(address: &str, connections: Option<usize>) -> String {
    let connections = connections.map(|it| format!("options.connections = {it}"));
    format!(
        "backend = \"memcached\"\nlocation = \"{address}\"\n{}",
        connections.unwrap_or_default()
    )
}
