//! Where the workspace is and what is in it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use toml::{Table, Value};

/// The workspace's root folder.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Where cargo builds, which is the only folder that we write to.
pub(crate) fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A member of the workspace.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) published: bool,
    pub(crate) features: Vec<String>,
}

/// All members, in the order of the root's `members`.
pub(crate) fn members() -> Result<Vec<Member>> {
    let manifest = read_manifest(&root().join("Cargo.toml"))?;
    let folders = manifest["workspace"]["members"].as_array().context("no list of members")?;
    folders
        .iter()
        .filter_map(Value::as_str)
        .map(|it| Ok(Member::new(&read_manifest(&root().join(it).join("Cargo.toml"))?)))
        .collect()
}

/// Returns the groups of libraries whose tests are built without features, with names. One build
/// takes several libraries, because the first half of each would build the same dependencies. The
/// facade is built alone: other libraries turn its features on.
pub(crate) fn without_features(members: &[Member]) -> [WithoutFeatures<'_>; 2] {
    let libraries = members.iter().filter(|it| it.published && !it.features.is_empty());
    let (facade, others) = libraries.partition(|it| it.name == "cache-core");
    [
        WithoutFeatures { name: "facade", crates: facade, conformance: "conformance_model" },
        WithoutFeatures { name: "the other libraries", crates: others, conformance: "it" },
    ]
}

/// Libraries that are built together, without features.
pub(crate) struct WithoutFeatures<'a> {
    pub(crate) name: &'static str,
    pub(crate) crates: Vec<&'a Member>,
    /// The test program that contains the conformance suite.
    pub(crate) conformance: &'static str,
}

impl WithoutFeatures<'_> {
    /// Returns the arguments of cargo.
    pub(crate) fn args(&self) -> String {
        let packages: Vec<String> =
            self.crates.iter().map(|it| format!("--package {}", it.name)).collect();
        packages.join(" ") + " --no-default-features"
    }
}

impl Member {
    fn new(manifest: &Table) -> Self {
        let package = &manifest["package"];
        let features = manifest.get("features").and_then(Value::as_table);
        Self {
            name: package["name"].as_str().unwrap_or_default().to_owned(),
            published: package.get("publish") != Some(&Value::Boolean(false)),
            features: features.into_iter().flat_map(Table::keys).cloned().collect(),
        }
    }
}

pub(crate) fn read_manifest(path: &Path) -> Result<Table> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.parse().with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_with_their_features() {
        let members = members().unwrap();
        let facade = members.iter().find(|it| it.name == "cache-core").unwrap();
        assert!(facade.published);
        assert!(facade.features.iter().any(|it| it == "testing"));
        assert!(!members.iter().find(|it| it.name == "xtask").unwrap().published);
    }
}
