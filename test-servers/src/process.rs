//! A server that runs: started, watched, disturbed and stopped the same way whatever it serves.

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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;

use crate::{folder::Folder, port, wait};

/// How long a server may take to answer. A busy machine is slow; a server that cannot start says so and exits.
const START_LIMIT: Duration = Duration::from_secs(30);
const LOG: &str = "server.log";

/// What all servers have in common.
pub trait Server: Send + Sync {
    /// The process behind it.
    fn process(&self) -> &Process;

    /// Where it listens.
    fn address(&self) -> SocketAddr {
        port::address(self.port())
    }

    /// The port on which it listens, also after a restart.
    fn port(&self) -> u16 {
        self.process().place.port
    }

    /// The folder of its files, which is removed with it.
    fn folder(&self) -> &Path {
        &self.process().place.folder
    }

    /// What it has said since its start.
    fn log(&self) -> String {
        self.process().read_log()
    }

    /// Whether it has been started and has not ended. One that is frozen runs.
    fn is_running(&self) -> bool {
        self.process().is_running()
    }

    /// Stops it in mid-step: it keeps its connections, accepts new ones through the kernel, and answers nobody.
    ///
    /// # Panics
    /// If it does not run: a test that freezes nothing proves nothing.
    fn freeze(&self) {
        self.process().freeze();
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    ///
    /// # Panics
    /// If it does not run.
    fn thaw(&self) {
        self.process().thaw();
    }

    /// Kills it as a crash would: no farewell to clients, nothing saved. It is gone when this returns.
    fn kill(&self) {
        self.process().kill();
    }

    /// Starts it again on its port and in its folder, and waits until it answers; one that runs is killed first.
    fn restart(&self) -> Result<()> {
        self.process().restart()
    }
}

/// A kind of server: how it is started, and how it shows that it serves.
pub(crate) trait Kind: Debug + Send + Sync {
    fn name(&self) -> &'static str;

    /// The program and its arguments.
    fn command(&self, place: &Place) -> Result<Vec<OsString>>;

    /// What must be done once, before the first start.
    fn prepare(&self, _folder: &Path) -> Result<()> {
        Ok(())
    }

    /// The arguments of `setpriv` that make it run as another user.
    fn user(&self) -> Vec<OsString> {
        Vec::new()
    }

    /// Whether the process `pid` itself answers. That someone does is not enough: another server may have been
    /// quicker to take the port.
    fn answers(&self, place: &Place, pid: u32) -> Result<bool>;
}

/// Where a server listens and keeps its files.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
}

/// A server's process; see [`Server`] for what can be done with it.
#[derive(Debug)]
pub struct Process {
    kind: Arc<dyn Kind>,
    place: Place,
    child: Mutex<Option<Child>>,
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
        Ok(Self { kind, place, child: Mutex::new(Some(child)), _folder: folder })
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

    fn freeze(&self) {
        let all_stopped = || {
            // Once more each time: one of them may have started another meanwhile.
            self.signal(Signal::STOP);
            tree::working_in(&self.place.folder).iter().all(tree::Worker::is_stopped)
        };
        let stopped = wait::wait_until("all of its threads stand still", START_LIMIT, all_stopped);
        // panics: promised, a server that is only half frozen would make tests lie
        stopped.unwrap_or_else(|err| panic!("{} is not frozen: {err}", self.kind.name()));
    }

    fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        // panics: promised, a test that disturbs nothing proves nothing
        assert!(self.is_running(), "{} does not run:\n{}", self.kind.name(), self.read_log());
        // Its children, too: those of PostgreSQL answer the clients.
        tree::signal(&self.place.folder, signal);
    }

    fn kill(&self) {
        end(self.child().take(), &self.place);
    }

    fn restart(&self) -> Result<()> {
        let mut child = self.child();
        end(child.take(), &self.place);
        // The port is ours by right, but someone may hold it for a moment.
        let launched = wait::poll("its port is free again", START_LIMIT, || {
            match launch(&*self.kind, &self.place) {
                Ok(child) => Ok(Some(child)),
                Err(Failed::PortTaken(_)) => Ok(None),
                Err(Failed::Otherwise(err)) => Err(err),
            }
        });
        *child = Some(launched.with_context(|| format!("cannot restart {}", self.kind.name()))?);
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

/// Starts it and waits until it answers.
fn launch(kind: &dyn Kind, place: &Place) -> Result<Child, Failed> {
    let mut child = spawn(kind, place).map_err(Failed::Otherwise)?;
    let answers = wait::poll("it answers", START_LIMIT, || {
        if let Some(status) = child.try_wait()? {
            bail!("it has ended ({status})");
        }
        // Until it listens it cannot be asked.
        Ok(kind.answers(place, child.id()).unwrap_or(false).then_some(()))
    });
    let Err(err) = answers else { return Ok(child) };
    end(Some(child), place);
    let log = read_log(place);
    let taken = log.to_lowercase().contains("address already in use");
    let err =
        anyhow!("{} did not start on port {}: {err}; it said:\n{log}", kind.name(), place.port);
    Err(if taken { Failed::PortTaken(err) } else { Failed::Otherwise(err) })
}

fn spawn(kind: &dyn Kind, place: &Place) -> Result<Child> {
    let words = kind.command(place)?;
    let log = File::create(place.folder.join(LOG)).context("cannot make the server's log")?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .args(kind.user())
        .args(&words)
        // How its processes are found: see `tree`.
        .current_dir(&place.folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for us: it must not reach the servers before we are done with them.
        .process_group(0);
    spawner::spawn(command)
        .context("cannot start `setpriv`, which ties a server to this process: it is in util-linux")
}

/// Kills it and all that it has started, and waits for them.
fn end(child: Option<Child>, place: &Place) {
    if let Some(mut child) = child {
        // It may be dead already, which is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
    }
    let _ = wait::wait_until("its children are gone", START_LIMIT, || {
        tree::signal(&place.folder, Signal::KILL) == 0
    });
}

fn read_log(place: &Place) -> String {
    let log = fs::read(place.folder.join(LOG)).unwrap_or_default();
    String::from_utf8_lossy(&log).trim_end().to_owned()
}
