//! The folders of servers, and their removal.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result};

/// Removes the folder of this process after the process has ended for any reason.
const WATCHER: &str = include_str!("folder/watcher.sh");

/// PostgreSQL runs as another user, which may traverse this folder to its own but not list it.
const PASSABLE: u32 = 0o711;

/// The folder of one server, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = root()?.join(format!("{name}-{number}"));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The watcher removes the rest.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The folder of this process; it contains the folders of its servers.
struct Root {
    path: PathBuf,
    /// Keeps the watcher's standard input open.
    _watcher: Child,
}

fn root() -> Result<PathBuf> {
    static ROOT: Mutex<Option<Root>> = Mutex::new(None);
    let mut root = ROOT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(root) = &*root {
        return Ok(root.path.clone());
    }
    let folder = tempfile::Builder::new()
        .prefix("test-servers-")
        .permissions(Permissions::from_mode(PASSABLE))
        .tempdir()
        .context("cannot create a temporary folder; set TMPDIR to another folder")?;
    // The kernel's name of the folder, by which the processes in it are found.
    let path = folder.path().canonicalize()?;
    let watcher = Command::new("sh")
        .args(["-c", WATCHER, "test-servers-watcher"])
        .arg(&path)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C must not end the watcher, which has to clean up afterwards.
        .process_group(0)
        .spawn()
        .context("cannot start `sh`")?;
    let _ = folder.keep();
    *root = Some(Root { path: path.clone(), _watcher: watcher });
    Ok(path)
}
