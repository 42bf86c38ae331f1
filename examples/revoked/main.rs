//! A role that was revoked, and a cache that several processes share: which of them still serve the
//! role?
//!
//! ```text
//! cargo run -p examples --example revoked --features file
//! cargo run -p examples --example revoked --features file,redis -- --redis
//! cargo run -p examples --example revoked --features file,redis -- --replicas
//! ```
//!
//! This program starts itself three times as a process of a service, tells each process by a line
//! what to do, and waits for its reply. So the order of all steps is fixed, without a sleep. It
//! prints what was served and what was refused, once on an alias without fences and once on one
//! with `fenced = true`. It fails if the alias with fences serves the role after its delete.
//!
//! With `--replicas`, the processes have memory in front of a Redis server, and the program prints
//! for how long each still served the role after one of them had revoked it.
//!
//! `service.rs` is the service: how it loads a role, and how it revokes one. `scenes.rs` has the
//! scenes, and `replicas.rs` those with memory in front.

mod args;
mod process;
mod replicas;
mod scenes;
mod server;
mod service;
mod table;
#[cfg(test)]
mod test;
mod watch;

use std::{env, fs, io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};

use crate::{
    args::{Args, Role, Store},
    process::Process,
    scenes::World,
    server::Server,
    table::Table,
};

fn main() -> ExitCode {
    match Args::parse(env::args_os().skip(1)) {
        Ok(Role::Process { settings, source }) => exit(service::run(&settings, source)),
        #[cfg(test)]
        _ => exit(test::run_all()),
        #[cfg(not(test))]
        Ok(Role::Help) => {
            println!("{}", args::USAGE);
            ExitCode::SUCCESS
        }
        #[cfg(not(test))]
        Ok(Role::Scenes(args)) => exit(run(&args, &mut std::io::stdout())),
        #[cfg(not(test))]
        Ok(Role::Replicas) => exit(run_replicas(&mut std::io::stdout())),
        #[cfg(not(test))]
        Err(wrong) => {
            eprintln!("revoked: {wrong}\n\n{}", args::USAGE);
            ExitCode::from(2)
        }
    }
}

fn exit(res: Result<()>) -> ExitCode {
    match res {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("revoked: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Plays all scenes on the alias `default`, and then on the alias `fenced`.
///
/// # Errors
/// If the alias `fenced` served a role after its delete.
fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = match args.store {
        Store::Redis => Some(Server::start(folder.path())?),
        Store::Directory | Store::Settings(_) => None,
    };
    let (settings, location) = match (&args.store, &server) {
        (Store::Settings(file), _) => (fs::canonicalize(file)?, None),
        (_, Some(server)) => (example("redis.toml"), Some(server.url())),
        (_, None) => {
            (example("file.toml"), Some(folder.path().join("cache").display().to_string()))
        }
    };
    let source = folder.path().join("source");
    let start = |name| Process::start(name, &settings, &source, location.as_deref());
    let mut world = World {
        a: start("A")?,
        b: start("B")?,
        c: start("C")?,
        source: source.clone(),
        server,
        out,
    };
    let mut table = Table::default();
    for alias in ["default", "fenced"] {
        for (scene, served) in world.play(alias)? {
            table.add(scene, alias, served);
        }
    }
    writeln!(world.out, "{table}")?;
    if table.is_broken("fenced") {
        bail!("a role was served after it was revoked, although the load was fenced");
    }
    Ok(())
}

/// Revokes a role that several processes have in memory.
#[cfg_attr(
    all(test, not(all(target_os = "linux", feature = "servers"))),
    expect(dead_code, reason = "its test needs a server")
)]
fn run_replicas(out: &mut dyn Write) -> Result<()> {
    let folder = tempfile::tempdir()?;
    replicas::run(folder.path(), &example("replicas.toml"), out)
}

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("revoked").join(name)
}
