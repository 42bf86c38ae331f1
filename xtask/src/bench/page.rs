//! The regions of a page between `<!-- bench: NAME -->` and `<!-- bench: end -->`.

use anyhow::{Context, Result, ensure};

const START: &str = "<!-- bench: ";
const END: &str = "<!-- bench: end -->\n";

/// Returns the page with these texts in its regions. All other text stays.
///
/// # Errors
/// The page lacks one of these regions, or has another one.
pub(super) fn replaced(page: &str, regions: &[(&str, String)]) -> Result<String> {
    let (mut res, mut rest) = (String::new(), page);
    let mut missing: Vec<&str> = regions.iter().map(|it| it.0).collect();
    while let Some((before, after)) = rest.split_once(START) {
        let (name, after) = after.split_once(" -->\n").context("a region without a name")?;
        let region = regions.iter().find(|it| it.0 == name);
        let (_, text) = region.with_context(|| format!("unknown or open region `{name}`"))?;
        let (_, after) = after.split_once(END).with_context(|| format!("`{name}` has no end"))?;
        missing.retain(|it| *it != name);
        res.extend([before, START, name, " -->\n\n", text, "\n", END]);
        rest = after;
    }
    ensure!(missing.is_empty(), "the page has no region `{}`", missing.join("`, `"));
    Ok(res + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Title\n\n<!-- bench: a -->\nold\n<!-- bench: end -->\n\nProse.\n<!-- bench: b -->\n<!-- bench: end -->\nEnd.\n";

    fn regions() -> [(&'static str, String); 2] {
        [("a", "new a\n".into()), ("b", "new b\n".into())]
    }

    #[test]
    fn regions_are_replaced_and_prose_stays() {
        let page = replaced(PAGE, &regions()).unwrap();
        assert_eq!(
            page,
            "# Title\n\n<!-- bench: a -->\n\nnew a\n\n<!-- bench: end -->\n\nProse.\n<!-- bench: b -->\n\nnew b\n\n<!-- bench: end -->\nEnd.\n"
        );
        assert_eq!(replaced(&page, &regions()).unwrap(), page, "a second time changes nothing");
    }

    #[test]
    fn missing_unknown_and_open_regions_are_errors() {
        let error = |page: &str| replaced(page, &regions()).unwrap_err().to_string();
        assert_eq!(error("# Title\n"), "the page has no region `a`, `b`");
        assert_eq!(error("<!-- bench: c -->\n"), "unknown or open region `c`");
        assert_eq!(error("<!-- bench: a -->\n"), "`a` has no end");
    }
}
