use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::{Heartbeat, NearInvalidation};
use crate::{error::Error, key::Namespace};

/// The changes of a store, whichever program makes them: for a near tier, which keeps copies of
/// entries in the memory of the process. See [`Views::invalidations`](super::Views::invalidations).
#[async_trait]
pub trait Invalidations: fmt::Debug + Send + Sync + 'static {
    /// Returns how the stream may learn of changes. A driver reads from
    /// [`CacheSettings::near`](crate::CacheSettings::near) which way the user wants.
    fn ways(&self) -> &[NearInvalidation];

    /// Reports the changes of the keys of a namespace until the stream ends. Returns the reason.
    ///
    /// A change whose key was read after [`Ready`](Invalidation::Ready) is reported as a
    /// [`Key`](Invalidation::Key) or as [`All`](Invalidation::All). Keys of other namespaces may be
    /// reported as well. If the stream falls silent, the store notices it within seconds and ends
    /// the stream. The call is made in the library's own runtime.
    ///
    /// An error of kind `Unsupported` says that the server does not offer the stream; all other
    /// errors may pass.
    ///
    /// # Cancel safety
    /// The stream ends.
    async fn listen(&self, namespace: &Namespace, receiver: InvalidationReceiver) -> Error;
}

/// Receives the messages of [`Invalidations::listen`], in order. It does not block.
pub type InvalidationReceiver = Arc<dyn Fn(Invalidation<'_>) + Send + Sync>;

/// A message of [`Invalidations::listen`].
///
/// ```
/// use cache_core::store::Invalidation;
///
/// let message = Invalidation::Key("shop:1:user");
/// assert_ne!(message, Invalidation::All);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation<'a> {
    /// The stream is open: all changes from now on are reported, in this way.
    Ready(NearInvalidation),
    /// This stored key was written, deleted or evicted, or has expired.
    Key(&'a str),
    /// Any key may have changed.
    All,
    /// All changes until this heartbeat was sent have been reported.
    Heartbeat(Heartbeat),
}
