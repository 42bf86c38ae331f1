use std::path::Path;

use cache_file as _;

/// Returns the settings of `cache-file` in a directory, with these options in TOML.
pub(super) fn settings(directory: &Path, options: &str) -> String {
    let directory = directory.display();
    format!(
        "backend = \"file\"\nlocation = \"{directory}\"\noptions = {{ max_bytes = \"20GiB\", {options} }}"
    )
}
