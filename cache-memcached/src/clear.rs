//! Operations on all servers. A server that is down does not stop the operation on the others.

use cache_core::{Result, store::Namespace};
use cache_net::first_error;
use futures_util::future::join_all;

use crate::store::Memcached;

impl Memcached {
    /// Gives the prefix a new generation on every server.
    pub(crate) async fn renew_generations(&self, namespace: &Namespace) -> Result<()> {
        let pool = self.pool()?;
        let renewed = pool.members.iter().map(|it| async move {
            it.server.generations.renew(namespace, &**it, it.address()).await
        });
        first_error(join_all(renewed).await)
    }

    /// Removes all entries of all servers.
    pub(crate) async fn flush(&self) -> Result<()> {
        let pool = self.pool()?;
        let flushed = pool.members.iter().map(|it| async move {
            let res = it.flush_all().await;
            it.server.generations.invalidate();
            res
        });
        first_error(join_all(flushed).await)
    }

    pub(crate) async fn check_all(&self) -> Result<()> {
        let pool = self.pool()?;
        let max = self.common.plan.max_value_len;
        first_error(join_all(pool.members.iter().map(|it| it.check(max))).await)
    }
}
