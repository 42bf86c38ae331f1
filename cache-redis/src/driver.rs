//! `backend = "redis"` in the settings.

use std::sync::Arc;

use cache_core::{
    Driver, NearInvalidation, Result,
    store::{Backend, BuildContext, Capabilities},
};
use cache_net::Encryption;
use tokio::sync::watch;

use crate::{
    connector::Connector,
    discovery::{Discovery, Sentinels},
    limit::Limit,
    nodes::NodeSettings,
    options::{Plan, ReadFrom, TopologyKind},
    pool::Common,
    publishing::Channels,
    store::Redis,
    tracking,
};

/// The driver of `backend = "redis"` and `"valkey"`. A program that contains `use cache_redis as
/// _;` finds it without registration.
///
/// ```
/// assert_eq!(cache_redis::DRIVER.name(), "redis");
/// ```
pub const DRIVER: Driver = Driver::new("redis", build)
    .with_other_names(&["valkey"])
    .with_schemes(&["redis", "rediss", "redis+unix", "valkey", "valkeys", "valkey+unix"]);

cache_core::register_driver!(DRIVER);

fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let plan = Plan::read(context)?;
    let mut capabilities =
        Capabilities::new().shared().persistent().connects().max_value_len(plan.max_value_len);
    let is_group = plan.topology != TopologyKind::Single;
    if is_group {
        capabilities = capabilities.breaks_per_server();
    } else if let [address] = &plan.addresses[..] {
        context.one_server(&address.to_string())?;
    }
    Ok(Arc::new(Redis::new(common(context, plan, is_group)?, capabilities)))
}

fn common(context: &BuildContext<'_>, plan: Plan, is_group: bool) -> Result<Common> {
    let encryption = encryption(context, &plan)?;
    let is_cluster = plan.topology == TopologyKind::Cluster;
    let limit = Arc::new(Limit::new(plan.max_value_len, context.clock().clone()));
    let channels = Channels::of(context.settings(), plan.login.database).map(Arc::new);
    let connector = |login, read_only, leader_only, limit: Option<Arc<Limit>>| {
        // The connections for writes know the limit of values as well.
        let channels = limit.as_ref().and(channels.clone());
        Arc::new(Connector {
            login,
            encryption: encryption.clone(),
            resp: plan.resp,
            client_name: plan.client_name.clone(),
            read_only,
            leader_only,
            limit,
            time: plan.connect_deadline,
            clock: context.clock().clone(),
            channels,
            tracked: tracking::prefix(&context.settings().key_prefix),
            pushes: None,
        })
    };
    let sentinel = plan.sentinel.as_ref();
    let nodes = NodeSettings {
        // Without `READONLY`: a leader that becomes a replica must reject reads, so that they are
        // redirected.
        connector: connector(
            plan.login.clone(),
            false,
            sentinel.is_some(),
            Some(Arc::clone(&limit)),
        ),
        replica_connector: connector(plan.login.clone(), is_cluster, false, None),
        sentinel_connector: sentinel.map(|it| connector(it.login.clone(), false, false, None)),
        asks_role: sentinel.is_none() && !is_cluster,
        connections: plan.connections,
        deadline: plan.deadline,
        breakers: if is_group { context.breakers()? } else { None },
    };
    Ok(Common {
        nodes: Arc::new(nodes),
        discovery: match (plan.topology, plan.sentinel) {
            (TopologyKind::Cluster, _) => Discovery::Cluster(plan.addresses),
            (_, Some(it)) => Discovery::Sentinels(Sentinels {
                addresses: plan.addresses,
                service_name: it.service_name,
                reads_replicas: plan.read_from == ReadFrom::Replica,
            }),
            (_, None) => Discovery::Fixed(plan.addresses),
        },
        read_from: plan.read_from,
        limit,
        ways: ways(context.settings().near.as_ref().map(|it| it.invalidation), plan.resp),
        channels,
        leaders: watch::Sender::default(),
    })
}

/// Returns how a near tier may learn of changes with these settings.
fn ways(wanted: Option<NearInvalidation>, resp: Option<u8>) -> &'static [NearInvalidation] {
    use NearInvalidation::{Auto, PubSub, Tracking};
    match (wanted, resp) {
        (Some(PubSub), _) | (Some(Auto) | None, Some(2)) => &[PubSub],
        (Some(Auto) | None, _) => &[Tracking, PubSub],
        (Some(_), Some(2)) => &[],
        (Some(_), _) => &[Tracking],
    }
}

/// TLS is enabled by `rediss://`.
fn encryption(context: &BuildContext<'_>, plan: &Plan) -> Result<Encryption> {
    let files = plan.login.tls.then(|| plan.tls.clone().unwrap_or_default());
    let (package, feature) = (env!("CARGO_PKG_NAME"), cfg!(feature = "tls"));
    Encryption::new(context, files.as_ref(), "location", package, feature)
}

#[cfg(test)]
mod tests {
    use cache_core::{
        CacheSettings,
        config::Location,
        store::{CounterInit, Expected, Expiry, SetMode, TtlUpdate},
    };

    use super::*;

    /// The size of the largest block that malloc of glibc keeps in the cache of the thread.
    const CACHED_BY_MALLOC: usize = 1032;

    #[test]
    fn futures_of_single_calls_fit_in_the_cache_of_malloc() {
        let mut settings = CacheSettings::new("redis");
        settings.location = Location::one("redis://127.0.0.1:1");
        let store = BuildContext::with("default", &settings, build).unwrap();
        let value = || bytes::Bytes::from_static(b"1");
        let expiry = Expiry::Never;
        let create = Some(CounterInit::new(0, expiry));
        let (seen, ttl) = (Expected::value(b"1"), TtlUpdate::New(expiry));
        let sizes = [
            ("get", size_of_val(&*store.get("k"))),
            ("get_entry", size_of_val(&*store.get_entry("k"))),
            ("has", size_of_val(&*store.has("k"))),
            ("ttl", size_of_val(&*store.ttl("k"))),
            ("touch", size_of_val(&*store.touch("k", expiry))),
            ("set", size_of_val(&*store.set("k", value(), expiry, SetMode::Always))),
            ("delete", size_of_val(&*store.delete("k"))),
            ("take", size_of_val(&*store.take("k"))),
            ("incr", size_of_val(&*store.incr("k", 1, create))),
            ("compare_and_delete", size_of_val(&*store.compare_and_delete("k", seen))),
            ("compare_and_set", size_of_val(&*store.compare_and_set("k", seen, value(), ttl))),
        ];
        for (call, size) in sizes {
            assert!(size <= CACHED_BY_MALLOC, "{call}: {size} bytes; {sizes:?}");
        }
    }
}
