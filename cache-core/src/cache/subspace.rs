use std::sync::Arc;

use crate::{consistency::markers::Marker, key::marker::NamespacePath};

/// A namespace within the keys of an alias.
pub(super) struct Subspace {
    pub(super) path: NamespacePath,
    /// The markers of the namespaces around it, outermost first, and its own.
    pub(super) markers: Box<[Arc<Marker>]>,
}

impl Subspace {
    pub(super) fn path(&self) -> &str {
        self.path.as_str()
    }
}
