//! PostgreSQL servers.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};

use crate::{
    authority::{Authority, Identity},
    folder::Folder,
    install::Package,
    process::{Kind, Place, Process, Server},
};

/// Fast settings without durability, as no test needs the data after a crash of the machine. A
/// crash of the server may lose the last commits, unless a session enables `synchronous_commit`.
const SETTINGS: &[&str] = &[
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
];

/// A PostgreSQL server with one empty database, `postgres`, and one user, `postgres`, without a
/// password.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
}

impl Postgres {
    /// Creates the database files and starts the server.
    ///
    /// # Errors
    /// If the server is not installed or does not start.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Like [`start`](Self::start), with settings such as `max_connections=5`.
    ///
    /// # Errors
    /// If the server is not installed or does not start.
    pub fn start_with(settings: &[&str]) -> Result<Self> {
        Self::start_setup(settings, None)
    }

    /// Starts a server that also accepts TLS, with a certificate of this authority for 127.0.0.1.
    /// Client certificates are optional.
    ///
    /// # Errors
    /// If the server is not installed or does not start.
    pub fn start_tls(authority: &Authority) -> Result<Self> {
        Self::start_setup(&[], Some(authority.clone()))
    }

    fn start_setup(settings: &[&str], authority: Option<Authority>) -> Result<Self> {
        let settings = SETTINGS.iter().chain(settings).map(ToString::to_string).collect();
        let setup = Setup { settings, account: Account::new()?, authority };
        Ok(Self { process: Process::start(Arc::new(setup))? })
    }

    /// Returns the URL, `postgres://postgres@127.0.0.1:…/postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address())
    }
}

impl Server for Postgres {
    fn process(&self) -> &Process {
        &self.process
    }
}

#[derive(Debug)]
struct Setup {
    settings: Vec<String>,
    account: Option<Account>,
    authority: Option<Authority>,
}

impl Setup {
    /// Returns the files of a new database. They are made once in a process: a copy takes a
    /// fraction of the time.
    fn template(&self) -> Result<PathBuf> {
        static TEMPLATE: Mutex<Option<Folder>> = Mutex::new(None);
        let mut template = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = &*template {
            return Ok(data(folder.path()));
        }
        let folder = Folder::new("initdb")?;
        self.give(folder.path())?;
        let mut initdb = vec![programs()?.join("initdb").into()];
        let flags =
            ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"];
        initdb.extend(flags.map(OsString::from));
        let data = data(folder.path());
        initdb.extend(["--pgdata".into(), data.clone().into()]);
        self.run(folder.path(), &initdb)?;
        *template = Some(folder);
        Ok(data)
    }

    /// Runs a command in a folder, as the user that runs the server.
    fn run(&self, folder: &Path, command: &[OsString]) -> Result<()> {
        let out = Command::new("setpriv")
            .args(self.user())
            .args(command)
            .current_dir(folder)
            .output()
            .context("cannot start `setpriv` (package util-linux)")?;
        ensure!(
            out.status.success(),
            "{} failed ({}); its output:\n{}",
            Path::new(&command[0]).display(),
            out.status,
            String::from_utf8_lossy(&out.stderr).trim()
        );
        Ok(())
    }

    /// Makes the user that runs the server the owner of a path.
    fn give(&self, path: &Path) -> Result<()> {
        let Some(Account { uid, gid }) = self.account else { return Ok(()) };
        chown(path, Some(uid), Some(gid))
            .with_context(|| format!("cannot change the owner of {}", path.display()))
    }
}

impl Kind for Setup {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        self.give(folder)?;
        let template = self.template()?;
        self.run(folder, &["cp".into(), "-Rp".into(), template.into(), data(folder).into()])?;
        let Some(authority) = &self.authority else { return Ok(()) };
        let identity = authority.issue_server(folder, &["127.0.0.1".into()])?;
        // PostgreSQL refuses a key that other users can read.
        fs::set_permissions(&identity.key, fs::Permissions::from_mode(0o600))?;
        self.give(&identity.key)
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let mut res = vec![programs()?.join("postgres").into()];
        res.extend(["-D".into(), data(&place.folder).into()]);
        res.extend(["-p".into(), place.port.to_string().into()]);
        let mut settings = self.settings.clone();
        if let Some(authority) = &self.authority {
            let Identity { certificate, key } = Identity::of_server(&place.folder);
            settings.push("ssl=on".into());
            let roots = authority.certificate();
            for (name, path) in [("cert", certificate), ("key", key), ("ca", roots)] {
                settings.push(format!("ssl_{name}_file={}", path.display()));
            }
        }
        for it in settings {
            res.extend(["-c".into(), it.into()]);
        }
        Ok(res)
    }

    /// PostgreSQL does not run as root.
    fn user(&self) -> Vec<OsString> {
        let Some(Account { uid, gid }) = self.account else { return Vec::new() };
        let words = [format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()];
        words.map(OsString::from).into()
    }

    /// Reads `postmaster.pid`: the first line is the process id, the eighth the state.
    fn replies(&self, place: &Place, pid: u32) -> Result<bool> {
        let text = fs::read_to_string(data(&place.folder).join("postmaster.pid"))?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        Ok(lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready"))
    }
}

/// A user account of the system.
#[derive(Debug)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// Returns the account that runs the server if this process is root: the package's user, or
    /// `nobody`.
    fn new() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        let found = ["postgres", "nobody"].iter().find_map(|it| Self::find(&passwd, it));
        let missing =
            "PostgreSQL does not run as root, and there is no user `postgres` or `nobody`";
        Ok(Some(found.context(missing)?))
    }

    fn find(passwd: &str, name: &str) -> Option<Self> {
        let line = passwd.lines().find(|it| it.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some(Self { uid: numbers.next()?.ok()?, gid: numbers.next()?.ok()? })
    }
}

/// Returns the folder of PostgreSQL's programs.
fn programs() -> Result<PathBuf> {
    let postgres = Package::Postgres.program(&["postgres"])?;
    Ok(postgres.parent().map(Path::to_owned).unwrap_or_default())
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_is_found_by_its_full_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:1:1::/:\npostgres:x:101:104::/:\n";
        let found = Account::find(passwd, "postgres").unwrap();
        assert_eq!((found.uid, found.gid), (101, 104));
        assert!(Account::find(passwd, "nobody").is_none());
    }
}
