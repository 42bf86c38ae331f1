//! The command line: `[--settings FILE] [FOLDER]`.

use std::{ffi::OsString, path::PathBuf};

pub(crate) const USAGE: &str = "\
Usage: cargo run -p examples --example dashboard [--features STORE] -- [--settings FILE] [FOLDER]

Shows a dashboard of FOLDER (by default: the current folder) several times, and each time the parts
that were cached. FILE has the settings of the cache; see examples/settings. STORE links the store
that FILE names, unless the store is `memory`: redis, memcached, db or file.";

/// The arguments of the program.
#[derive(Debug, PartialEq)]
pub(crate) struct Args {
    pub(crate) settings: Option<PathBuf>,
    pub(crate) folder: PathBuf,
}

impl Args {
    /// Parses the arguments. `Ok(None)` is a request for help.
    ///
    /// # Errors
    /// A message that names the wrong argument.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut args = args.into_iter();
        let mut settings = None;
        let mut folder = None;
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("-h" | "--help") => return Ok(None),
                Some("--settings") => {
                    let file = args.next().ok_or("`--settings` needs a file")?;
                    settings = Some(PathBuf::from(file));
                }
                Some(it) if it.starts_with('-') => return Err(format!("unknown option `{it}`")),
                _ if folder.is_some() => {
                    return Err(format!("one folder at a time: `{}` is too many", arg.display()));
                }
                _ => folder = Some(PathBuf::from(arg)),
            }
        }
        Ok(Some(Self { settings, folder: folder.unwrap_or_else(|| ".".into()) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Args>, String> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn omitted_arguments_have_defaults() {
        assert_eq!(parse(""), Ok(Some(Args { settings: None, folder: ".".into() })));
        let all = Args { settings: Some("a.toml".into()), folder: "src".into() };
        assert_eq!(parse("src --settings a.toml"), Ok(Some(all)));
        assert_eq!(parse("src --help"), Ok(None));
    }

    #[test]
    fn error_names_the_wrong_argument() {
        assert_eq!(parse("--setings a").unwrap_err(), "unknown option `--setings`");
        assert_eq!(parse("--settings").unwrap_err(), "`--settings` needs a file");
        assert_eq!(parse("a b").unwrap_err(), "one folder at a time: `b` is too many");
    }
}
