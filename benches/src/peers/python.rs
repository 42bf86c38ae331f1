//! A Python environment with packages.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// A file that marks a complete installation, because an installation may be interrupted.
const DONE: &str = "installed";
/// The folder of the packages if Python cannot create an environment.
const PACKAGES: &str = "packages";

/// A Python with packages in a folder of ours.
#[derive(Debug)]
pub(super) struct Python {
    program: PathBuf,
    packages: PathBuf,
}

impl Python {
    /// Returns a Python with these packages, such as `django==5.2.19`. Installs them if necessary.
    pub(super) fn with(packages: &[&str]) -> Result<Self> {
        let folder = target()?.join("peers").join(packages.join("_").replace("==", "-"));
        if !folder.join(DONE).exists() {
            install(&folder, packages)
                .with_context(|| format!("Python has no {}", packages.join(", ")))?;
            fs::write(folder.join(DONE), "")?;
        }
        let own = program_in(&folder);
        let program = if own.exists() { own } else { "python3".into() };
        Ok(Self { program, packages: folder.join(PACKAGES) })
    }

    /// Starts this program with one argument. Its standard error is shown at once.
    pub(super) fn start(&self, program: &str, argument: &str) -> Result<Talk> {
        let mut command = Command::new(&self.program);
        command.args(["-c", program, argument]).env("PYTHONPATH", &self.packages);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot run Python")?;
        let said = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Talk { child, said })
    }
}

/// A program that replies to each line with a line. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Talk {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Talk {
    /// Sends a line and returns the reply.
    pub(super) fn ask(&mut self, line: &str) -> Result<String> {
        let input = self.child.stdin.as_mut().context("no input")?;
        writeln!(input, "{line}").context("it has ended")?;
        self.hear()
    }

    /// Returns the next line of its output.
    pub(super) fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.said.read_line(&mut line)? > 0, "it has ended, as told above");
        Ok(line)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // Fails if the program has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Installs into an environment, or into a plain folder if Python cannot create an environment: on
/// Debian, that needs a further package.
fn install(folder: &Path, packages: &[&str]) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    let venv = [OsStr::new("-m"), OsStr::new("venv"), folder.as_os_str()];
    let made = read(Command::new("python3").args(venv));
    let mut pip = if made.is_ok() {
        Command::new(program_in(folder))
    } else {
        // A failed attempt leaves a Python without pip, which would look like an environment.
        let _ = fs::remove_dir_all(folder.join("bin"));
        Command::new("python3")
    };
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    // Only binary packages: no code of the packages runs during the installation.
    pip.args(["--only-binary", ":all:"]).args(packages);
    if made.is_err() {
        pip.arg("--target").arg(folder.join(PACKAGES));
    }
    read(&mut pip)?;
    Ok(())
}

fn program_in(folder: &Path) -> PathBuf {
    folder.join("bin/python3")
}

/// Returns the output of a command. The error is the last line of its standard error.
fn read(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        bail!("{}", said.trim_end().lines().last().unwrap_or("it failed and said nothing"));
    }
    Ok(String::from_utf8(out.stdout)?)
}

/// Returns cargo's target folder, which contains this program and a marker file.
fn target() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let found = program.ancestors().find(|it| it.join("CACHEDIR.TAG").exists());
    Ok(found.context("this program is not in cargo's target folder")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_go_to_the_target_folder() {
        let target = target().unwrap();
        assert!(env::current_exe().unwrap().starts_with(&target));
        assert!(target.join("CACHEDIR.TAG").exists());
    }

    #[test]
    fn a_program_that_fails_is_an_error_of_one_line() {
        let err = read(Command::new("sh").args(["-c", "echo a >&2; echo b >&2; exit 1"]));
        assert_eq!(err.unwrap_err().to_string(), "b");
        let err = read(&mut Command::new("no-such-program")).unwrap_err();
        assert!(format!("{err:#}").starts_with("cannot run no-such-program: "), "{err:#}");
        assert_eq!(read(Command::new("echo").arg("a")).unwrap(), "a\n");
    }
}
