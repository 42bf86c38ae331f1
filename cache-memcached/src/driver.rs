//! `backend = "memcached"` in the settings.

use std::sync::Arc;

use cache_core::{
    Driver, Result,
    store::{Backend, BuildContext, SharedDeadline},
};
use cache_net::Encryption;

use crate::{
    address::Address, generation::Generations, options::Plan, pool::Common, ring::Ring,
    server::Server, store::Memcached,
};

/// The driver of `backend = "memcached"`. A program that contains `use cache_memcached as _;`
/// finds it without registration.
///
/// ```
/// assert_eq!(cache_memcached::DRIVER.name(), "memcached");
/// ```
pub const DRIVER: Driver = Driver::new("memcached", build).with_schemes(&["memcached", "memcache"]);

cache_core::register_driver!(DRIVER);

fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let plan = Plan::read(context)?;
    let encryption = encryption(context, &plan)?;
    let is_group = plan.addresses.len() > 1;
    let servers: Result<Vec<_>> =
        plan.addresses.iter().map(|it| server(context, it, is_group)).collect();
    let names: Vec<_> =
        plan.addresses.iter().map(ToString::to_string).zip(plan.weights.iter().copied()).collect();
    let clock = context.clock().clone();
    let common = Common {
        ring: Ring::new(&names),
        servers: servers?,
        deadline: SharedDeadline::new(plan.deadline, clock.clone()),
        connect: SharedDeadline::new(plan.connect_deadline, clock.clone()),
        clock,
        encryption,
        plan,
    };
    Ok(Arc::new(Memcached::new(common)))
}

/// Creates a server. A single server has the breaker of its cache.
fn server(context: &BuildContext<'_>, address: &Address, is_group: bool) -> Result<Arc<Server>> {
    let (address, generations) = (address.clone(), Generations::of(address));
    let name = address.to_string();
    let breaker = if is_group {
        context.breaker(&name)?
    } else {
        context.one_server(&name)?;
        None
    };
    Ok(Arc::new(Server { address, generations, breaker }))
}

fn encryption(context: &BuildContext<'_>, plan: &Plan) -> Result<Encryption> {
    let (package, feature) = (env!("CARGO_PKG_NAME"), cfg!(feature = "tls"));
    Encryption::new(context, plan.tls.as_ref(), "options.tls", package, feature)
}
