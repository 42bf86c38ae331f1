//! A dashboard of a folder. Its parts are cached, each with its own lifetime.
//!
//! ```text
//! cargo run -p examples --example dashboard -- [--settings FILE] [FOLDER]
//! ```
//!
//! The program visits the same dashboard several times. For each visit, it prints the parts that
//! were in the cache, the parts that were loaded, and how long that took.
//!
//! Three files show how a program uses the cache: this file opens the cache from settings,
//! `stores.rs` links the stores that settings may name, and `page.rs` gets each part through the
//! cache. The other files do not use caches.

mod args;
mod census;
mod disk;
mod page;
mod report;
mod stores;
mod walk;

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use cache_core::{Caches, cache, install};
use tokio::task::JoinSet;

use crate::{
    args::Args,
    page::{Page, key, visit},
};

const VISITORS_AT_ONCE: usize = 8;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::parse(env::args_os().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("dashboard: {wrong}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("dashboard: {err:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    install(open(args.settings.as_deref())?)?;
    // The canonical path makes one key for one folder.
    let folder = fs::canonicalize(&args.folder)
        .with_context(|| format!("cannot open {}", args.folder.display()))?;
    ensure!(folder.is_dir(), "{} is not a folder", folder.display());
    ensure!(
        folder.to_str().is_some(),
        "the path {} is not UTF-8, but a key must be",
        folder.display()
    );

    // Not `println!`, which panics when the reader closes the pipe.
    let mut out = io::stdout();
    writeln!(out, "1. A visit to {}", folder.display())?;
    let page = visit(&folder).await?;
    writeln!(out, "{}\n{}\n{}", page.sources(), page.census.value, page.disk.value)?;

    writeln!(out, "2. A second visit")?;
    writeln!(out, "{}", visit(&folder).await?.sources())?;

    writeln!(out, "3. A visit after the disk part was deleted")?;
    cache().delete(&key("disk", &folder)).await?;
    writeln!(out, "{}", visit(&folder).await?.sources())?;

    writeln!(out, "4. {VISITORS_AT_ONCE} visits at once, after both parts were deleted")?;
    cache().delete_many([key("census", &folder), key("disk", &folder)]).await?;
    writeln!(out, "{}", report::crowd(&visit_at_once(&folder).await?))?;

    writeln!(out, "{}", report::totals(&cache().stats()))?;
    cache().close().await?;
    Ok(())
}

async fn visit_at_once(folder: &Path) -> Result<Vec<Page>> {
    let mut visitors = JoinSet::new();
    for _ in 0..VISITORS_AT_ONCE {
        let folder = folder.to_owned();
        visitors.spawn(async move { visit(&folder).await });
    }
    visitors.join_all().await.into_iter().collect()
}

/// Opens the caches of a settings file, or in memory without one. Another store needs another file
/// and no change of code.
fn open(settings: Option<&Path>) -> cache_core::Result<Caches> {
    let caches = stores::with_hints(Caches::builder());
    match settings {
        Some(file) => caches.file(file)?.build(),
        None => caches.toml(include_str!("../settings/memory.toml"))?.build(),
    }
}
