//! A running server: start, freeze, kill and restart, the same for all kinds of servers.

mod spawner;
mod tree;

use std::{
    ffi::OsString,
    fmt::Debug,
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;

use crate::{folder::Folder, port, wait};

/// How long a server may take to start. A busy machine is slow; a server that cannot start exits.
const START_LIMIT: Duration = Duration::from_secs(120);
const LOG: &str = "server.log";

/// The operations of all servers.
pub trait Server: Send + Sync {
    /// Returns the process.
    fn process(&self) -> &Process;

    /// Returns the address on which the server listens.
    fn address(&self) -> SocketAddr {
        port::address(self.port())
    }

    /// Returns the port on which the server listens. It does not change with a restart.
    fn port(&self) -> u16 {
        self.process().place.port
    }

    /// Returns the folder of the server's files, which is removed with the server.
    fn folder(&self) -> &Path {
        &self.process().place.folder
    }

    /// Returns the server's output since its last start.
    fn log(&self) -> String {
        self.process().read_log()
    }

    /// Returns whether the process exists. A frozen server is running.
    fn is_running(&self) -> bool {
        self.process().is_running()
    }

    /// Stops the server with `SIGSTOP`. Its connections stay open and the kernel accepts new ones,
    /// but no client gets a reply.
    ///
    /// # Panics
    /// If the server is not running: the test would prove nothing.
    fn freeze(&self) {
        self.process().freeze();
    }

    /// Continues the server after [`freeze`](Self::freeze).
    ///
    /// # Panics
    /// If the server is not running.
    fn thaw(&self) {
        self.process().thaw();
    }

    /// Kills the server like a crash: it saves nothing and does not shut down. Returns after the
    /// process has ended.
    fn kill(&self) {
        self.process().kill();
    }

    /// Starts the server again on its port and in its folder, and waits until it replies. A running
    /// server is killed first.
    ///
    /// # Errors
    /// If the server does not start.
    fn restart(&self) -> Result<()> {
        self.process().restart()
    }
}

/// A kind of server: how to start it, and how to tell that it serves.
pub(crate) trait Kind: Debug + Send + Sync {
    fn name(&self) -> &'static str;

    /// Returns the program and its arguments.
    fn command(&self, place: &Place) -> Result<Vec<OsString>>;

    /// Prepares the folder, once, before the first start.
    fn prepare(&self, _folder: &Path) -> Result<()> {
        Ok(())
    }

    /// Returns the arguments of `setpriv` that select another user.
    fn user(&self) -> Vec<OsString> {
        Vec::new()
    }

    /// Returns whether the process `pid` itself replies. Another server may have taken the port
    /// before, so a reply alone does not suffice.
    fn replies(&self, place: &Place, pid: u32) -> Result<bool>;
}

/// The port and the folder of a server.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
}

/// The process of a server. See [`Server`] for its operations.
#[derive(Debug)]
pub struct Process {
    kind: Arc<dyn Kind>,
    place: Place,
    child: Mutex<Option<Child>>,
    is_frozen: AtomicBool,
    _folder: Folder,
}

impl Process {
    pub(crate) fn start(kind: Arc<dyn Kind>) -> Result<Self> {
        let folder = Folder::new(kind.name())?;
        kind.prepare(folder.path())?;
        let mut place = Place { port: port::free()?, folder: folder.path().to_owned() };
        let mut tries = 5;
        let child = loop {
            match launch(&*kind, &place) {
                Err(Failed::PortTaken(_)) if tries > 0 => {
                    tries -= 1;
                    place.port = port::free()?;
                }
                res => break res.map_err(Failed::into_error)?,
            }
        };
        let (child, is_frozen) = (Mutex::new(Some(child)), AtomicBool::new(false));
        Ok(Self { kind, place, child, is_frozen, _folder: folder })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    fn read_log(&self) -> String {
        read_log(&self.place)
    }

    fn is_running(&self) -> bool {
        self.child().as_mut().is_some_and(|it| matches!(it.try_wait(), Ok(None)))
    }

    /// Returns whether the process exists and is not frozen.
    pub(crate) fn is_active(&self) -> bool {
        self.is_running() && !self.is_frozen.load(SeqCst)
    }

    fn freeze(&self) {
        let all_stopped = || {
            // Repeated, because a process may have started another one meanwhile.
            self.signal(Signal::STOP);
            // Twice: a process that was about to start another one, which the first list does not
            // have, is stopped after that. Then nothing starts a process, and the second list has
            // all of them.
            for _ in 0..2 {
                let workers = tree::working_in(&self.place.folder)?;
                for it in &workers {
                    if !it.is_stopped()? {
                        return Ok(None);
                    }
                }
                if workers.is_empty() {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        };
        self.is_frozen.store(true, SeqCst);
        let stopped = wait::poll("all threads are stopped", START_LIMIT, all_stopped);
        // panics: documented; tests with a partly frozen server would prove nothing
        stopped.unwrap_or_else(|err| panic!("{} is not frozen: {err}", self.kind.name()));
    }

    fn thaw(&self) {
        self.signal(Signal::CONT);
        self.is_frozen.store(false, SeqCst);
    }

    fn signal(&self, signal: Signal) {
        // panics: documented; a test that affects no server proves nothing
        assert!(self.is_running(), "{} is not running:\n{}", self.kind.name(), self.read_log());
        // Children, too: PostgreSQL serves clients from child processes.
        let found = tree::signal(&self.place.folder, signal);
        // panics: documented, as above
        assert!(matches!(found, Ok(1..)), "{} was not found: {found:?}", self.kind.name());
    }

    fn kill(&self) {
        end(self.child().take(), &self.place);
    }

    fn restart(&self) -> Result<()> {
        let mut child = self.child();
        end(child.take(), &self.place);
        // Another program may hold the port for a moment.
        let launched = wait::poll("the port is free again", START_LIMIT, || {
            match launch(&*self.kind, &self.place) {
                Ok(child) => Ok(Some(child)),
                Err(Failed::PortTaken(_)) => Ok(None),
                Err(Failed::Otherwise(err)) => Err(err),
            }
        });
        *child = Some(launched.with_context(|| format!("cannot restart {}", self.kind.name()))?);
        self.is_frozen.store(false, SeqCst);
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Why a server did not start.
enum Failed {
    PortTaken(anyhow::Error),
    Otherwise(anyhow::Error),
}

impl Failed {
    fn into_error(self) -> anyhow::Error {
        let (Self::PortTaken(err) | Self::Otherwise(err)) = self;
        err
    }
}

/// Starts the server and waits until it replies.
fn launch(kind: &dyn Kind, place: &Place) -> Result<Child, Failed> {
    let mut child = spawn(kind, place).map_err(Failed::Otherwise)?;
    let replies = wait::poll("the server replies", START_LIMIT, || {
        if let Some(status) = child.try_wait()? {
            bail!("the process has ended ({status})");
        }
        // Errors are expected until the server listens.
        Ok(kind.replies(place, child.id()).unwrap_or(false).then_some(()))
    });
    let Err(err) = replies else { return Ok(child) };
    end(Some(child), place);
    let log = read_log(place);
    let taken = log.to_lowercase().contains("address already in use");
    let err =
        anyhow!("{} did not start on port {}: {err}; its output:\n{log}", kind.name(), place.port);
    Err(if taken { Failed::PortTaken(err) } else { Failed::Otherwise(err) })
}

fn spawn(kind: &dyn Kind, place: &Place) -> Result<Child> {
    let command_line = kind.command(place)?;
    let log = File::create(place.folder.join(LOG)).context("cannot create the server's log")?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .args(kind.user())
        .args(&command_line)
        // `tree` finds the server's processes by this folder.
        .current_dir(&place.folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C must end this process before the servers.
        .process_group(0);
    spawner::spawn(command).context(
        "cannot start `setpriv` (package util-linux), which ends a server with this process",
    )
}

/// Kills the server and its children, and waits for their end.
fn end(child: Option<Child>, place: &Place) {
    if let Some(mut child) = child {
        // Fails if the process has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
    let _ = wait::poll("all child processes have ended", START_LIMIT, || {
        Ok((tree::signal(&place.folder, Signal::KILL)? == 0).then_some(()))
    });
}

fn read_log(place: &Place) -> String {
    let log = fs::read(place.folder.join(LOG)).unwrap_or_default();
    String::from_utf8_lossy(&log).trim_end().to_owned()
}
