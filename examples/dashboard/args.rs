//! The command line: `[--settings FILE] [FOLDER]`.

use std::{ffi::OsString, path::PathBuf};

pub(crate) const USAGE: &str = "\
Usage: cargo run -p examples --example dashboard [--features STORE] -- [--settings FILE] [FOLDER]

Shows a dashboard of FOLDER (this one by default), several times, and says each time what was cached.
FILE says where the cache is; examples/settings has some. STORE links the store that FILE names, if it is
not `memory`: redis, memcached, db or file.";

/// What was asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Args {
    pub(crate) settings: Option<PathBuf>,
    pub(crate) folder: PathBuf,
}

impl Args {
    /// `Ok(None)` asks for help; the error says which argument was wrong.
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
    fn everything_is_optional() {
        assert_eq!(parse(""), Ok(Some(Args { settings: None, folder: ".".into() })));
        let all = Args { settings: Some("a.toml".into()), folder: "src".into() };
        assert_eq!(parse("src --settings a.toml"), Ok(Some(all)));
        assert_eq!(parse("src --help"), Ok(None));
    }

    #[test]
    fn a_wrong_argument_is_named() {
        assert_eq!(parse("--setings a").unwrap_err(), "unknown option `--setings`");
        assert_eq!(parse("--settings").unwrap_err(), "`--settings` needs a file");
        assert_eq!(parse("a b").unwrap_err(), "one folder at a time: `b` is too many");
    }
}
