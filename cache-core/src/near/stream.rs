//! The stream of changes of the far store, as a tier uses it.

use std::sync::Arc;

use super::link::Link;
use crate::{
    key::Namespace,
    store::{Invalidations, NearInvalidation},
};

/// The stream of changes of the keys of a tier.
pub(super) struct Stream {
    pub(super) source: Arc<dyn Invalidations>,
    pub(super) namespace: Namespace,
    /// Whether a server that refuses leaves the tier without a stream.
    pub(super) may_be_refused: bool,
    pub(super) link: Link<NearInvalidation>,
}

impl Stream {
    pub(super) fn new(
        source: Arc<dyn Invalidations>,
        namespace: Namespace,
        may_be_refused: bool,
    ) -> Self {
        let first = source.ways().first().copied().unwrap_or(NearInvalidation::None);
        Self { source, namespace, may_be_refused, link: Link::new(first) }
    }
}
