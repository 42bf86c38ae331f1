//! One of several processes on a store: `worker SETTINGS TASK COUNT`. It prints one line per step,
//! so that a test that kills it knows how many steps were done.

use std::{
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use cache_core::{Cache, Caches, ErrorKind, secs};
use cache_tests as _;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, settings, task, count] = args.as_slice() else { bail!("worker SETTINGS TASK COUNT") };
    let caches = Caches::from_toml(settings)?;
    let cache = caches.get("default")?.clone().strict();
    let count: usize = count.parse().context("COUNT")?;
    for i in 0..count {
        step(&cache, task, i).await?;
    }
    Ok(())
}

async fn step(cache: &Cache, task: &str, i: usize) -> Result<()> {
    let done = match task {
        "incr" => cache.incr("counter", 1).await?,
        "incr_or" => cache.incr_or("limited", 1, 0, secs(600)).await?,
        "add" => i64::from(cache.add(&format!("add:{i}"), &std::process::id(), secs(600)).await?),
        "update" => cache.update("sum", secs(600), |it: i64| it + 1).await?.context("no sum")?,
        "revise" => revise(cache, i as u64).await?,
        "move" => move_between_versions(cache).await?,
        "keep" => keep(cache).await?,
        "serve" => serve(cache).await?,
        other => bail!("unknown task {other}"),
    };
    print(&done.to_string())
}

fn print(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// Keeps a value in the memory of this process, and waits until another process removes it.
async fn keep(cache: &Cache) -> Result<i64> {
    cache.check().await?;
    cache.with_tags(["kept"]).set("kept", &1, secs(600)).await?;
    if !cache.has_key("kept").await? {
        bail!("the value is not kept");
    }
    print("kept")?;
    for _ in 0..60_000 {
        if !cache.has_key("kept").await? {
            return Ok(1);
        }
        // sleeps: no event says that a key was removed
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("the removal did not arrive")
}

/// Waits for a line, then reads a value from the memory of this process until it is missing. Prints
/// when the last read that found it began, and the first that did not, in microseconds of the wall
/// clock.
async fn serve(cache: &Cache) -> Result<i64> {
    std::io::stdin().read_line(&mut String::new())?;
    let mut last;
    loop {
        cache.set("served", &1, secs(600)).await.ok();
        cache.get::<i32>("served").await.ok();
        let before = near_hits(cache);
        last = now()?;
        let found = cache.get::<i32>("served").await.unwrap_or_default();
        if found.is_some() && (cache.stats().bus.is_some() || near_hits(cache) > before) {
            break;
        }
        // sleeps: the memory is bypassed until messages arrive
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    print("served")?;
    loop {
        let began = now()?;
        match cache.get::<i32>("served").await {
            Ok(Some(_)) => last = began,
            Ok(None) => {
                print(&format!("{last} {began}"))?;
                return Ok(1);
            }
            // A call that was under way while the process stood still.
            Err(_) => {}
        }
    }
}

fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}

fn near_hits(cache: &Cache) -> u64 {
    cache.stats().near.map_or(0, |it| it.hits)
}

/// Makes the change of one of a hundred revisions, in an order of this process, and checks that no
/// older value is read afterwards.
async fn revise(cache: &Cache, i: u64) -> Result<i64> {
    static HIGHEST: AtomicU64 = AtomicU64::new(0);
    let revision = (i * 37 + u64::from(std::process::id())) % 100 + 1;
    let applied = if revision.is_multiple_of(3) {
        cache.delete_revision("revised", revision, secs(600)).await?
    } else {
        cache.set_revision("revised", &revision, revision, secs(600)).await?
    };
    let highest = HIGHEST.fetch_max(revision, SeqCst).max(revision);
    if let Some(found) = cache.get::<u64>("revised").await?
        && found < highest
    {
        bail!("{found} after {highest}");
    }
    Ok(i64::from(applied))
}

/// Moves the entry to version 2, or back. The mark of a killed process blocks the entry until the
/// mark expires. After a few calls that timed out on a slow machine, the circuit breaker opens.
async fn move_between_versions(cache: &Cache) -> Result<i64> {
    let began = Instant::now();
    loop {
        let forward = cache.incr_version("moving", 1).await;
        let moved = match forward {
            Err(error) if error.kind() == ErrorKind::KeyNotFound => {
                cache.at_version(2).decr_version("moving", 1).await
            }
            res => res,
        };
        match moved {
            Err(error)
                if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Unavailable)
                    && began.elapsed() < Duration::from_secs(60) => {}
            res => return Ok(res?),
        }
        // sleeps: the breaker stays open for a while
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
