//! Finds and installs the programs of servers.

use std::{
    env, fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};

/// A script that installs packages and starts no service.
const SCRIPT: &str = include_str!("install/debian.sh");

/// A Debian package that tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// `redis-server`, also for Sentinel and Cluster.
    Redis,
    /// `memcached`
    Memcached,
    /// `postgresql`
    Postgres,
    /// `g++`, which compiles libFuzzer.
    Cxx,
    /// `python3-pip`, which downloads servers that Debian does not have.
    Pip,
}

impl Package {
    /// All servers.
    pub const ALL: &[Self] = &[Self::Redis, Self::Memcached, Self::Postgres];

    /// Returns whether the package's program exists.
    pub fn is_installed(self) -> bool {
        let programs: &[&str] = match self {
            Self::Redis => &["redis-server", "valkey-server"],
            Self::Memcached => &["memcached"],
            Self::Postgres => &["postgres"],
            Self::Cxx => &["c++"],
            Self::Pip => &["pip3"],
        };
        find(programs).is_some()
    }

    /// Returns the path of the first of these programs that exists. Installs the package if none
    /// exists.
    pub(crate) fn program(self, names: &[&str]) -> Result<PathBuf> {
        if let Some(path) = find(names) {
            return Ok(path);
        }
        ensure(&[self])?;
        find(names).with_context(|| {
            format!("{self} is installed, but does not contain {}", names.join(", "))
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Memcached => "memcached",
            Self::Postgres => "postgresql",
            Self::Cxx => "g++",
            Self::Pip => "python3-pip",
        }
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Installs missing packages, for the start of a test that needs them.
///
/// # Panics
/// If this is not allowed or fails, with one line that says what to type. A test is never skipped:
/// it would look like a test that passes.
pub fn require(packages: &[Package]) {
    if let Err(err) = ensure(packages) {
        // panics: documented
        panic!("{err:#}");
    }
}

/// Installs missing packages and returns them. If none is missing, it runs no program.
///
/// The installation needs root or `sudo` without a password, and `apt-get`. It starts no service.
///
/// # Errors
/// If a package is missing and cannot be installed; the error is one line that says what to type.
pub fn ensure(packages: &[Package]) -> Result<Vec<Package>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let is_missing = |it: &Package| !it.is_installed();
    let missing: Vec<Package> = packages.iter().copied().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    install(&missing, Rights::of_this_user())?;
    let still: Vec<Package> = missing.iter().copied().filter(is_missing).collect();
    ensure!(still.is_empty(), "{} installed, but no known program found", names(&still));
    Ok(missing)
}

/// The permission of this user to install packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rights {
    Root,
    Sudo,
    /// No permission, or no `apt-get`.
    None,
}

impl Rights {
    fn of_this_user() -> Self {
        if find(&["apt-get"]).is_none() {
            Self::None
        } else if rustix::process::geteuid().is_root() {
            Self::Root
        } else if Command::new("sudo")
            .args(["-n", "true"])
            .output()
            .is_ok_and(|it| it.status.success())
        {
            Self::Sudo
        } else {
            Self::None
        }
    }
}

fn install(missing: &[Package], rights: Rights) -> Result<()> {
    let list = names(missing);
    let by_hand = format!("sudo apt-get install --no-install-recommends {list}");
    let mut command = match rights {
        Rights::Root => Command::new("sh"),
        Rights::Sudo => {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "sh"]);
            sudo
        }
        Rights::None => {
            bail!(
                "{list}: not installed, and this user has no permission to install: run `{by_hand}`"
            )
        }
    };
    eprintln!("test-servers: installing {list}");
    let status = command
        .args(["-c", SCRIPT, "test-servers-install"])
        .args(missing.iter().map(|it| it.name()))
        // `cargo xtask servers` prints only URLs on standard output.
        .stdout(io::stderr())
        .stdin(std::process::Stdio::null())
        .status()
        .context("cannot start `sh`")?;
    ensure!(status.success(), "installing {list} failed ({status}), see above: run `{by_hand}`");
    Ok(())
}

fn names(packages: &[Package]) -> String {
    packages.iter().map(|it| it.name()).collect::<Vec<_>>().join(" ")
}

/// Returns the first of these programs that exists. Servers are often not in a user's `PATH`.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = postgres_folders(Path::new("/usr/lib/postgresql"));
    folders.extend(env::split_paths(&path));
    folders.extend(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    names.iter().find_map(|name| folders.iter().map(|it| it.join(name)).find(|it| is_program(it)))
}

/// Returns Debian's folders with the programs of each version of PostgreSQL, the newest first.
fn postgres_folders(all: &Path) -> Vec<PathBuf> {
    let versions = fs::read_dir(all).into_iter().flatten().flatten();
    let number = |it: &fs::DirEntry| it.file_name().to_str().and_then(|it| it.parse::<u32>().ok());
    let mut versions: Vec<(Option<u32>, PathBuf)> =
        versions.map(|it| (number(&it), it.path().join("bin"))).collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, path)| path).collect()
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_found_by_the_first_existing_name() {
        let sh = find(&["no-such-program", "sh"]).unwrap();
        assert!(sh.ends_with("sh"), "{}", sh.display());
        assert_eq!(find(&["no-such-program"]), None);
    }

    #[test]
    fn newest_postgres_is_first() {
        let all = tempfile::tempdir().unwrap();
        for version in ["9", "15", "common", "17"] {
            fs::create_dir(all.path().join(version)).unwrap();
        }
        let found = postgres_folders(all.path());
        let version = |it: &PathBuf| it.parent().unwrap().file_name().unwrap().to_owned();
        assert_eq!(found.iter().map(version).collect::<Vec<_>>(), ["17", "15", "9", "common"]);
        assert!(postgres_folders(&all.path().join("gone")).is_empty());
    }

    #[test]
    fn missing_permission_is_an_error_of_one_line_with_the_command() {
        let err = install(&[Package::Redis, Package::Postgres], Rights::None).unwrap_err();
        let line = format!("{err:#}");
        assert!(
            line.contains("`sudo apt-get install --no-install-recommends redis-server postgresql`")
        );
        assert_eq!(line.lines().count(), 1, "{line}");
    }

    #[test]
    fn existing_package_is_not_installed() {
        assert_eq!(ensure(&[]).unwrap(), []);
        require(Package::ALL);
        assert_eq!(ensure(Package::ALL).unwrap(), []);
    }
}
