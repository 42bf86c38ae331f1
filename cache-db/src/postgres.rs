//! A table in PostgreSQL.

mod address;
mod clear;
mod connect;
mod counter;
mod error;
mod line;
mod many;
mod pool;
mod schema;
mod sql;
mod store;
#[cfg(feature = "postgres-tls")]
mod tls;
mod transport;
mod trim;
mod wait;

use std::sync::Arc;

use cache_core::{Backend, BuildContext, Result};

use self::{connect::Connector, pool::Common, store::Postgres, transport::Transport};
use crate::options::{Options, PostgresPlan};

#[expect(unused_imports, reason = "for `create_tables` and `create_tables_sql`")]
pub(crate) use self::schema::create_sql;

/// Checks the settings; connects nowhere.
pub(crate) fn open(
    context: &BuildContext<'_>,
    options: Options,
    url: &str,
) -> Result<Arc<dyn Backend>> {
    let plan = options.postgres(context)?;
    let connector = connector(context, plan.clone(), url)?;
    Ok(Arc::new(Postgres::new(Common { plan, connector: Arc::new(connector) })))
}

/// Makes the table, or brings it up to date, with a connection that serves nothing else. It needs a tokio runtime.
#[expect(dead_code, reason = "for `create_tables`")]
pub(crate) async fn create_table(connector: &Connector) -> Result<()> {
    connector.make_table().await
}

/// How to connect, by the settings.
pub(crate) fn connector(
    context: &BuildContext<'_>,
    plan: PostgresPlan,
    url: &str,
) -> Result<Connector> {
    let (config, address) = address::parse(url).map_err(|it| context.error("location", it))?;
    let (config, transport) = Transport::new(context, config, plan.tls.as_ref())?;
    Ok(Connector { config, address, transport, plan, clock: context.clock().clone() })
}
