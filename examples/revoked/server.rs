//! A Redis server that keeps its data when it is killed.

use std::{
    hash::{BuildHasher as _, RandomState},
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};

/// A server on a free port. It ends with this value.
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
    running: Child,
}

impl Server {
    /// Starts a server that writes each change to a file in `folder` before it replies.
    ///
    /// # Errors
    /// If `redis-server` is not installed or does not start.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let port = free_port()?;
        let folder = folder.to_owned();
        let running = spawn(&folder, port)?;
        Ok(Self { folder, port, running })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server without a chance to say goodbye.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.running.kill()?;
        self.running.wait()?;
        Ok(())
    }

    /// Starts the server again, with its data.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.running = spawn(&self.folder, self.port)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Returns a free port below those of clients. While the server is down, a client could get its
/// port, and the server would not start again.
fn free_port() -> Result<u16> {
    let first = RandomState::new().hash_one(process::id());
    let ports = (0..3000).map(|it| 7000 + first.wrapping_add(it) % 3000);
    // The port is free again when the listener is dropped.
    let is_free = |it: &u16| TcpListener::bind(("127.0.0.1", *it)).is_ok();
    ports.filter_map(|it| u16::try_from(it).ok()).find(is_free).context("no port is free")
}

/// Returns when the server accepts connections.
fn spawn(folder: &Path, port: u16) -> Result<Child> {
    let mut child = ["redis-server", "valkey-server"]
        .iter()
        .find_map(|program| {
            let mut command = Command::new(program);
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
            command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(folder);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().ok()
        })
        .context("cannot start `redis-server`: it is not installed")?;
    let log = BufReader::new(child.stdout.take().context("the server has a log")?);
    let mut lines = log.lines().map_while(Result::ok);
    if !lines.any(|it| it.contains("Ready to accept connections")) {
        let _ = child.kill();
        bail!("`redis-server` did not start: {}", child.wait()?);
    }
    // The server would end at a full pipe.
    thread::spawn(move || lines.for_each(drop));
    Ok(child)
}
