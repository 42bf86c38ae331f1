//! A process of the service: it loads roles through the cache, and revokes them.

use std::{
    fs,
    io::{self, BufRead as _, Write as _},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use cache_core::{Cache, Caches, secs};
#[cfg(feature = "db")]
use cache_db as _;
use cache_file as _;
#[cfg(feature = "memcached")]
use cache_memcached as _;
use cache_memory as _;
#[cfg(feature = "redis")]
use cache_redis as _;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::watch::{Watch, now};

/// The service, with the database that is the source of all roles: a file.
struct Service {
    caches: Caches,
    source: PathBuf,
    paused: Option<Paused>,
    watch: Option<Watch>,
}

/// A load whose loader has read the source and waits.
struct Paused {
    go_on: Sender<()>,
    caller: JoinHandle<cache_core::Result<String>>,
    cache: Cache,
    refused_before: u64,
}

/// Executes the commands of stdin, one a line, and replies to each by a line on stdout.
pub(crate) fn run(settings: &Path, source: PathBuf) -> Result<()> {
    let caches = Caches::builder().file(settings)?.build()?;
    let is_shared = caches.iter().all(|it| it.backend().capabilities().shared);
    ensure!(is_shared, "the store of {} is not shared by processes", settings.display());
    let mut service = Service { caches, source, paused: None, watch: None };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        runtime.block_on(service.execute(&words))?;
    }
    Ok(())
}

impl Service {
    async fn execute(&mut self, words: &[&str]) -> Result<()> {
        let cache = |alias| Ok::<_, anyhow::Error>(self.caches.get(alias)?.clone());
        match *words {
            ["begin", alias, key] => {
                self.begin(cache(alias)?, key);
                Ok(())
            }
            ["go-on"] => self.go_on().await,
            ["get", alias, key] => {
                let cache = cache(alias)?;
                let loads = cache.stats().loads;
                let role = role(&cache, key, self.source.clone(), None).await?;
                let how = if cache.stats().loads == loads { "cached" } else { "loaded" };
                reply(&format!("{role} {how}"))
            }
            ["revoke", alias, key] => {
                let cache = cache(alias)?;
                match revoke(&cache, key, &self.source).await {
                    Ok(()) => reply("deleted"),
                    Err(error) => reply(&format!("{:?}", error.kind())),
                }
            }
            ["watch", alias, key] => {
                let cache = cache(alias)?;
                role(&cache, key, self.source.clone(), None).await?;
                self.watch = Some(Watch::start(cache, key.to_owned()).await?);
                reply("the role is near")
            }
            ["delete", alias, key] => {
                cache(alias)?.strict().delete(key).await?;
                reply(&now()?.to_string())
            }
            ["last"] => {
                let watch = self.watch.take().context("no role is watched")?;
                reply(&watch.last().await?.to_string())
            }
            ["wait", alias] => wait_for_pending_deletes(&cache(alias)?),
            _ => bail!("unknown command: {}", words.join(" ")),
        }
    }

    /// Begins a load, whose loader replies with what it has read, and pauses.
    fn begin(&mut self, cache: Cache, key: &str) {
        let (go_on, wait) = channel();
        let refused_before = cache.stats().load_writes_refused;
        let (own, key, source) = (cache.clone(), key.to_owned(), self.source.clone());
        let caller = tokio::spawn(async move { role(&own, &key, source, Some(wait)).await });
        self.paused = Some(Paused { go_on, caller, cache, refused_before });
    }

    /// Ends the paused load. Replies with the value that its caller got, and whether it was stored.
    async fn go_on(&mut self) -> Result<()> {
        let paused = self.paused.take().context("no load is paused")?;
        paused.go_on.send(())?;
        let role = paused.caller.await??;
        let is_refused = paused.cache.stats().load_writes_refused > paused.refused_before;
        reply(&format!("{role} {}", if is_refused { "refused" } else { "stored" }))
    }
}

// ANCHOR: service
/// Returns the role of a user. Callers that miss load it from the source.
async fn role(
    cache: &Cache,
    key: &str,
    source: PathBuf,
    pause: Option<Receiver<()>>,
) -> cache_core::Result<String> {
    cache.get_or_set(key, secs(60), || load(source, pause)).await
}

/// Changes the source first, and then deletes what is cached. The error says that the delete has
/// not reached the store: it is sent again in the background.
async fn revoke(cache: &Cache, key: &str, source: &Path) -> cache_core::Result<()> {
    fs::write(source, "guest").expect("the source can be written");
    cache.strict().delete(key).await?;
    Ok(())
}
// ANCHOR_END: service

/// Reads the source. With `pause`, a slow query: it waits after it has read.
async fn load(source: PathBuf, pause: Option<Receiver<()>>) -> String {
    let query = move || {
        let role = fs::read_to_string(source).expect("the source can be read");
        if let Some(pause) = pause {
            reply(&role).expect("the program reads the replies");
            pause.recv().expect("the program lets the load go on");
        }
        role
    };
    spawn_blocking(query).await.expect("the query does not panic")
}

fn wait_for_pending_deletes(cache: &Cache) -> Result<()> {
    while cache.stats().tombstones > 0 {
        // sleeps: the task that sends deletes again has no event
        thread::sleep(Duration::from_millis(5));
    }
    reply("no delete is pending")
}

/// Not `println!`, which panics when the reader closes the pipe.
fn reply(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
