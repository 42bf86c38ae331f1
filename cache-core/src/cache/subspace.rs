use crate::{consistency::markers::MarkerPath, key::marker::NamespacePath};

/// A namespace within the keys of an alias.
pub(super) struct Subspace {
    pub(super) path: NamespacePath,
    pub(super) markers: MarkerPath,
}

impl Subspace {
    pub(super) fn path(&self) -> &str {
        self.path.as_str()
    }
}
