use std::path::Path;

use cache_file as _;

/// `cache-file` in that directory, with these options as they stand in a file of settings.
pub(super) fn settings(directory: &Path, options: &str) -> String {
    let directory = directory.display();
    format!(
        "backend = \"file\"\nlocation = \"{directory}\"\noptions = {{ max_bytes = \"20GiB\", {options} }}"
    )
}
