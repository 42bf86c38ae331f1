//! The server and the processes of a run.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use test_servers::{Proxy, wait_until};

use crate::{
    check::TAG_STALENESS,
    clock,
    history::History,
    near::DEADLINE,
    plan::Plan,
    planted::Bug,
    store::{Running, Store},
};

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program of the workers: this crate's own.
    pub program: PathBuf,
    /// The store.
    pub store: Store,
    /// The seed of all choices. The order in which processes run is not one of them.
    pub seed: u64,
    /// The time after which the run ends.
    pub time: Duration,
    /// The calls of each client after which it ends.
    pub calls: u64,
    /// Whether faults happen.
    pub faults: bool,
    /// The bug of the store.
    pub bug: Option<Bug>,
}

/// A server, its workers and their files.
pub(crate) struct Stage<'a> {
    options: &'a Options,
    pub(crate) store: Running,
    pub(crate) workers: Vec<Worker>,
    folder: TempDir,
    start: u64,
    pub(crate) until: u64,
    /// The number of processes so far.
    processes: u32,
}

/// A worker, and its way to the server.
pub(crate) struct Worker {
    pub(crate) process: u32,
    pub(crate) child: Child,
    pub(crate) proxy: Option<Proxy>,
}

impl<'a> Stage<'a> {
    /// Starts the server and the workers.
    pub(crate) fn start(options: &'a Options) -> Result<Self> {
        let store = options.store.start()?;
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("source"))?;
        let start = clock::now();
        let until = start + u64::try_from(options.time.as_nanos())?;
        let workers = Vec::new();
        let mut res = Self { options, store, workers, folder, start, until, processes: 0 };
        for _ in 0..if options.store.is_shared() { 3 } else { 1 } {
            let server = res.store.server();
            let proxy = server.map(|it| Proxy::to(it.address())).transpose()?;
            let worker = res.spawn(proxy, Vec::new())?;
            res.workers.push(worker);
        }
        Ok(res)
    }

    /// Starts a process. Without a proxy, it connects to the server itself.
    fn spawn(&mut self, proxy: Option<Proxy>, counters: Vec<String>) -> Result<Worker> {
        let process = self.processes;
        self.processes += 1;
        let direct = self.store.server().map(test_servers::Server::address);
        let store = self.store.settings(proxy.as_ref().map(Proxy::address).or(direct));
        let plan = Plan {
            settings: settings(&store, self.options.bug),
            history: self.file(process, "history"),
            source: self.folder.path().join("source"),
            seed: self.options.seed,
            process,
            clients: if self.options.store.is_shared() { 3 } else { 6 },
            start: self.start,
            until: self.until,
            calls: self.options.calls,
            bug: self.options.bug,
            has_near: self.options.store.near().is_some(),
            lifetime: if self.options.store == Store::Memcached { 1000 } else { 100 },
            counters,
        };
        let child = Command::new(&self.options.program)
            .arg("worker")
            .arg(serde_json::to_string(&plan)?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.file(process, "stderr"))?)
            .spawn()
            .context("a worker does not start")?;
        Ok(Worker { process, child, proxy })
    }

    fn file(&self, process: u32, kind: &str) -> PathBuf {
        self.folder.path().join(format!("{process}.{kind}"))
    }

    /// Kills a worker, and starts another one in its place.
    pub(crate) fn replace(&mut self, worker: usize) -> Result<()> {
        let mut killed = self.workers.remove(worker);
        killed.child.kill()?;
        killed.child.wait()?;
        let next = self.spawn(killed.proxy, Vec::new())?;
        self.workers.insert(worker, next);
        Ok(())
    }

    /// Waits for the end of all workers, which is due after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<()> {
        for at in 0..self.workers.len() {
            self.wait_for(at, limit)?;
        }
        Ok(())
    }

    /// Returns the calls of all processes so far.
    pub(crate) fn history(&self) -> Result<History> {
        let mut res = History::default();
        for process in 0..self.processes {
            res.add(process, &self.file(process, "history"))?;
        }
        Ok(res)
    }

    /// Reads counters in another process, and waits for its end.
    pub(crate) fn count(&mut self, counters: Vec<String>, limit: Duration) -> Result<()> {
        let reader = self.spawn(None, counters)?;
        self.workers.push(reader);
        self.wait_for(self.workers.len() - 1, limit)
    }

    fn wait_for(&mut self, worker: usize, time: Duration) -> Result<()> {
        let process = self.workers[worker].process;
        let child = &mut self.workers[worker].child;
        let mut status = None;
        let ended = wait_until("the worker has ended", time, || {
            status = child.try_wait().ok().flatten();
            status.is_some()
        });
        let errors = fs::read_to_string(self.file(process, "stderr"))?;
        if let Err(error) = ended {
            bail!("process {process}: {error}; its errors:\n{errors}");
        }
        let well = status.is_some_and(|it| it.success());
        ensure!(well, "process {process} failed ({status:?}):\n{errors}");
        Ok(())
    }
}

/// Ends the workers of a run that failed.
impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for it in &mut self.workers {
            // Fails if the worker has ended.
            let _ = it.child.kill();
            let _ = it.child.wait();
        }
    }
}

/// Returns the settings of a worker.
fn settings(store: &str, bug: Option<Bug>) -> String {
    let times = format!(
        "deadline = '{DEADLINE}ms'\nconnect_deadline = '500ms'\nload_deadline = '2s'\n\
         breaker = {{ open_for = '200ms' }}\n"
    );
    let fenced = bug != Some(Bug::LoadsAreNotFenced);
    let (outer, inner) = match bug {
        None => (store.to_owned(), String::new()),
        Some(bug) => (
            format!("backend = 'planted'\noptions = {{ bug = '{bug:?}' }}"),
            format!("[caches.inner]\n{store}\n{times}"),
        ),
    };
    format!(
        "[caches.default]\n{outer}\nkey_prefix = 'plain'\n{times}\
         tag_staleness = 0\n\
         [caches.fenced]\n{outer}\nkey_prefix = 'fenced'\n{times}\
         fetch = {{ fenced = {fenced} }}\n\
         [caches.grouped]\n{outer}\nkey_prefix = 'grouped'\n{times}\
         tags = true\ntag_staleness = '{TAG_STALENESS}ms'\n\
         fetch = {{ fenced = {fenced}, grace = '1h' }}\n\
         [caches.revised]\n{outer}\nkey_prefix = 'revised'\n{times}\
         revisions = true\nfetch = {{ fenced = {fenced} }}\n{inner}"
    )
}
