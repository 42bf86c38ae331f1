use std::path::Path;

use cache_file as _;

/// The name of the contender.
pub(super) const OURS: &str = "cache-file";

/// Returns the settings of `cache-file` in a directory, with these options in TOML.
pub(super) fn settings(directory: &Path, options: &str) -> String {
    let directory = directory.display();
    format!(
        "backend = \"file\"\nlocation = \"{directory}\"\noptions = {{ max_bytes = \"20GiB\", {options} }}"
    )
}
