//! PostgreSQL.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};

use crate::{
    authority::{Authority, Identity},
    install::Package,
    process::{Kind, Place, Process, Server},
};

/// Speed for safety: nobody misses this data after a crash. One of the server may lose the last commits, unless a session asks for
/// `synchronous_commit`.
const SETTINGS: &[&str] = &[
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
];

/// A PostgreSQL with one empty database, `postgres`, and one user of that name, who needs no password.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
}

impl Postgres {
    /// Makes its files and starts it.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// The same with settings, such as `max_connections=5`.
    pub fn start_with(settings: &[&str]) -> Result<Self> {
        Self::start_setup(settings, None)
    }

    /// One that speaks TLS, too, as 127.0.0.1 with a certificate of this authority. A client may show one of its own.
    pub fn start_tls(authority: &Authority) -> Result<Self> {
        Self::start_setup(&[], Some(authority.clone()))
    }

    fn start_setup(settings: &[&str], authority: Option<Authority>) -> Result<Self> {
        let settings = SETTINGS.iter().chain(settings).map(ToString::to_string).collect();
        let setup = Setup { settings, account: Account::new()?, authority };
        Ok(Self { process: Process::start(Arc::new(setup))? })
    }

    /// `postgres://postgres@127.0.0.1:…/postgres`
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

impl Kind for Setup {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        if let Some(Account { uid, gid }) = self.account {
            chown(folder, Some(uid), Some(gid)).context("cannot give PostgreSQL its folder")?;
        }
        let out = Command::new("setpriv")
            .args(self.user())
            .arg(programs()?.join("initdb"))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"])
            .args(["--no-sync", "--pgdata"])
            .arg(data(folder))
            .current_dir(folder)
            .output()
            .context("cannot start `setpriv`: it is in util-linux")?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "initdb failed ({}); it said:\n{}", out.status, said.trim());
        let Some(authority) = &self.authority else { return Ok(()) };
        let identity = authority.issue_server(folder, &["127.0.0.1".into()])?;
        // It takes no key that others may read.
        fs::set_permissions(&identity.key, fs::Permissions::from_mode(0o600))?;
        if let Some(Account { uid, gid }) = self.account {
            chown(&identity.key, Some(uid), Some(gid)).context("cannot give PostgreSQL its key")?;
        }
        Ok(())
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

    /// It refuses to be root.
    fn user(&self) -> Vec<OsString> {
        let Some(Account { uid, gid }) = self.account else { return Vec::new() };
        let words = [format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()];
        words.map(OsString::from).into()
    }

    /// By the file in which the server says how it is: its process comes first, its state last.
    fn answers(&self, place: &Place, pid: u32) -> Result<bool> {
        let text = fs::read_to_string(data(&place.folder).join("postmaster.pid"))?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        Ok(lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready"))
    }
}

/// A user of this machine.
#[derive(Debug)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The one to become, if we are root: the user that the package has made, or the one that owns nothing.
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

/// The folder of its programs.
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
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:1:1::/:\npostgres:x:101:104::/:\n";
        let found = Account::find(passwd, "postgres").unwrap();
        assert_eq!((found.uid, found.gid), (101, 104));
        assert!(Account::find(passwd, "nobody").is_none());
    }
}
