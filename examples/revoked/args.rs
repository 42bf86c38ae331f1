//! The command line.

use std::{ffi::OsString, path::PathBuf};

#[cfg_attr(test, expect(dead_code, reason = "the test is not asked for help"))]
pub(crate) const USAGE: &str = "\
Usage: cargo run -p examples --example revoked --features file[,STORE] -- [--redis | --settings FILE | --replicas]

Revokes a role while other processes load it, without and with `fenced = true`, and prints what each
process served. The processes share a directory, or the store of FILE: see examples/revoked. STORE
links the store that FILE names: redis, memcached or db. With --redis (and the feature redis), the
program starts a redis-server, which it kills and restarts. With --replicas, the processes have
memory in front of a redis-server, and it prints for how long each still serves a revoked role.";

/// The part that this process plays.
#[derive(Debug, PartialEq)]
pub(crate) enum Role {
    Scenes(Args),
    /// The processes have memory in front of the store.
    Replicas,
    Help,
    /// A process of the service, with its settings and its source.
    Process {
        settings: PathBuf,
        source: PathBuf,
    },
}

/// The arguments of the program.
#[derive(Debug, PartialEq)]
pub(crate) struct Args {
    pub(crate) store: Store,
}

/// The store that the processes share.
#[derive(Debug, PartialEq)]
pub(crate) enum Store {
    Directory,
    Redis,
    Settings(PathBuf),
}

impl Args {
    /// Parses the arguments.
    ///
    /// # Errors
    /// A message that names the wrong argument.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Role, String> {
        let mut args = args.into_iter();
        let mut store = Store::Directory;
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("-h" | "--help") => return Ok(Role::Help),
                Some("--replicas") => return Ok(Role::Replicas),
                Some("--redis") => store = Store::Redis,
                Some("--settings") => {
                    let file = args.next().ok_or("`--settings` needs a file")?;
                    store = Store::Settings(file.into());
                }
                Some("--process") => {
                    let mut next = || args.next().map(PathBuf::from);
                    let (Some(settings), Some(source)) = (next(), next()) else {
                        return Err("`--process` is for the program itself".into());
                    };
                    return Ok(Role::Process { settings, source });
                }
                _ => return Err(format!("unknown argument `{}`", arg.display())),
            }
        }
        Ok(Role::Scenes(Self { store }))
    }
}
