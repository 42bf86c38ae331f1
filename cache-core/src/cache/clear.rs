use super::{Cache, call};
use crate::{error::Result, layer::Operation, runtime::all, value::Form};

/// Removes many entries at once.
impl<V: Form> Cache<V> {
    /// Removes every entry of this alias in all versions, and everything that the library stored
    /// for this alias. All other entries of the store stay. This call has no deadline.
    ///
    /// On a handle of a [namespace](Self::namespace) it makes the entries of the namespace
    /// unusable, with one write, however many there are. In this process the call takes effect at
    /// once, and for loads that are under way: they store nothing that is read afterwards. In
    /// another process it takes effect within
    /// [`tag_staleness`](crate::CacheSettings::tag_staleness). The old entries stay in the store
    /// until their lifetime ends or the store evicts them, so those with `Timeout::Never` may stay
    /// for good; `clear` of the alias removes them.
    ///
    /// # Errors
    /// Never fails open. After an error, entries may be left. After an error in a namespace, this
    /// process reads none of its entries until the clear has succeeded, which is tried again in the
    /// background; other processes may read the old entries until then.
    ///
    /// # Cancel safety
    /// If the future is dropped, some entries may be left. In a namespace, the clear is completed
    /// in the background.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # let caches = cache_core::Caches::builder().driver(cache_memory::DRIVER).toml(r#"
    /// [caches.default]
    /// backend = "memory"
    /// location = "main"
    /// key_prefix = "shop"
    /// [caches.eu]
    /// backend = "memory"
    /// location = "main"
    /// key_prefix = "shop:eu"
    /// # "#)?.build()?;
    /// let (shop, eu) = (caches.get("default")?, caches.get("eu")?);
    /// shop.set("k", &1, cache_core::Timeout::Default).await?;
    /// eu.set("k", &2, cache_core::Timeout::Default).await?;
    /// shop.clear().await?;
    /// assert_eq!(shop.get::<i32>("k").await?, None);
    /// assert_eq!(eu.get::<i32>("k").await?, Some(2));
    /// # Ok(()) }
    /// ```
    pub async fn clear(&self) -> Result<()> {
        if let Some(subspace) = &self.subspace {
            return Box::pin(self.clear_subspace(subspace)).await;
        }
        self.shared.flights.detach_all(self.write_patience()).await;
        let moment = self.shared.tombstones.moment();
        let res = call!(self.clear(&self.shared.namespace));
        self.shared.flights.detach_all(self.write_patience()).await;
        if res.is_ok() {
            self.shared.tombstones.remove_all(moment);
            self.shared.markers.forget_all();
        }
        self.answer(Operation::Clear, None, res)
    }

    /// Removes everything in the store, including entries of other aliases and of other programs.
    /// The loads of this process that are under way, through any alias of the store in the same
    /// [`Caches`](crate::Caches), do not store their values. This call has no deadline.
    ///
    /// # Errors
    /// Never fails open. After an error, entries may be left.
    ///
    /// # Cancel safety
    /// If the future is dropped, some entries may be left.
    pub async fn clear_store(&self) -> Result<()> {
        let peers = self.shared.peers.all();
        let detach = || all(peers.iter().map(|it| it.flights.detach_all(self.write_patience())));
        detach().await;
        let moments: Vec<_> = peers.iter().map(|it| it.tombstones.moment()).collect();
        let res = call!(self.clear_store());
        detach().await;
        if res.is_ok() {
            for (peer, moment) in peers.iter().zip(moments) {
                peer.tombstones.remove_all(moment);
                peer.markers.forget_all();
            }
        }
        self.answer(Operation::ClearStore, None, res)
    }
}
