use cache_memcached as _;

/// `cache-memcached` with so many connections, or as many as it makes by itself.
pub(super) fn settings(address: &str, connections: Option<usize>) -> String {
    let connections = connections.map(|it| format!("options.connections = {it}"));
    format!(
        "backend = \"memcached\"\nlocation = \"{address}\"\n{}",
        connections.unwrap_or_default()
    )
}
