//! The store in a PostgreSQL table.

mod abandoned;
mod address;
mod batch;
mod bus;
mod clear;
mod connection;
mod connector;
mod counter;
mod detached;
mod elsewhere;
mod error;
mod health;
mod invalidations;
mod listener;
mod locked_keys;
mod notification;
mod param;
mod pool;
mod row;
mod schema;
mod slot;
mod sqlstate;
mod statements;
mod store;
#[cfg(feature = "postgres-tls")]
mod tls;
mod transport;
mod trigger;
mod trim;

use std::sync::Arc;

use cache_core::{
    Result,
    store::{Backend, BuildContext},
};

pub(crate) use self::connector::Connector;
use self::{pool::Shared, store::PostgresStore, transport::Transport};
use crate::options::Options;

/// Checks the settings and returns the store. Connects to nothing.
pub(crate) fn open(
    context: &BuildContext<'_>,
    options: Options,
    url: &str,
) -> Result<Arc<dyn Backend>> {
    let connector = connector(context, options, url)?;
    context.one_server(&connector.address.to_string())?;
    Ok(Arc::new(PostgresStore::new(Shared::new(connector))))
}

/// Returns the connector that the settings describe, also for creating the table beforehand.
pub(crate) fn connector(
    context: &BuildContext<'_>,
    options: Options,
    url: &str,
) -> Result<Connector> {
    let login = (options.username.clone(), options.password.clone());
    let plan = options.postgres(context)?;
    let (mut config, address) = address::parse(url).map_err(|it| context.error("location", it))?;
    let twice = |name: &str, what: &str| {
        let what = format!("is set, but location contains a {what}, too; remove one of them");
        context.error(&format!("options.{name}"), what)
    };
    if let Some(it) = login.0 {
        if config.get_user().is_some() {
            return Err(twice("username", "user"));
        }
        config.user(it);
    }
    if let Some(it) = login.1 {
        if config.get_password().is_some() {
            return Err(twice("password", "password"));
        }
        config.password(it);
    }
    let (config, transport) = Transport::new(context, config, plan.tls.as_ref())?;
    let clock = context.clock().clone();
    Ok(Connector::new(config, address, transport, plan, clock))
}
