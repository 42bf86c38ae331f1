//! Commands that run, and print as a user would type them.

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// A command in the workspace's root. Its `Display` is the line to type to run it by hand.
#[derive(Clone, Debug)]
pub(crate) struct Shell {
    env: Vec<(String, String)>,
    words: Vec<String>,
}

impl Shell {
    /// A command from its words, which are separated by single spaces.
    pub(crate) fn new(line: &str) -> Self {
        Self { env: Vec::new(), words: Vec::new() }.args(line)
    }

    /// A command whose name may hold spaces.
    pub(crate) fn program(path: impl Into<String>) -> Self {
        Self { env: Vec::new(), words: Vec::new() }.arg(path)
    }

    /// Adds words that are separated by single spaces.
    pub(crate) fn args(mut self, line: &str) -> Self {
        self.words.extend(line.split(' ').map(String::from));
        self
    }

    /// Adds one argument, which may hold spaces.
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.words.push(arg.into());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs it; its output goes to the terminal.
    pub(crate) fn run(&self) -> Result<()> {
        let status = self.command().status().with_context(|| format!("cannot start `{self}`"))?;
        ensure!(status.success(), "`{self}` failed ({status})");
        Ok(())
    }

    /// Runs it; its output goes to the terminal only if it fails.
    pub(crate) fn run_quietly(&self) -> Result<()> {
        let out = self.command().output().with_context(|| format!("cannot start `{self}`"))?;
        if !out.status.success() {
            std::io::stdout().write_all(&out.stdout)?;
            std::io::stderr().write_all(&out.stderr)?;
        }
        ensure!(out.status.success(), "`{self}` failed ({})", out.status);
        Ok(())
    }

    /// Runs it; each line of its output goes to the terminal and to `see`.
    pub(crate) fn watch(&self, mut see: impl FnMut(&str)) -> Result<()> {
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{self}`"))?;
        if let Some(out) = child.stdout.take() {
            let mut out = BufReader::new(out);
            let mut line = Vec::new();
            while out.read_until(b'\n', &mut line)? > 0 {
                std::io::stdout().write_all(&line)?;
                see(&String::from_utf8_lossy(&line));
                line.clear();
            }
        }
        let status = child.wait()?;
        ensure!(status.success(), "`{self}` failed ({status})");
        Ok(())
    }

    /// Runs it and returns its output.
    pub(crate) fn read(&self) -> Result<String> {
        let out = self
            .command()
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start `{self}`"))?;
        ensure!(out.status.success(), "`{self}` failed ({})", out.status);
        Ok(String::from_utf8(out.stdout)?)
    }

    /// Whether it starts and succeeds. Its output is dropped.
    pub(crate) fn succeeds(&self) -> bool {
        self.peek().is_some()
    }

    /// Returns its output, if it starts and succeeds. Its error output is dropped.
    pub(crate) fn peek(&self) -> Option<String> {
        let out = self.command().output().ok().filter(|it| it.status.success())?;
        Some(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn command(&self) -> Command {
        let mut res = Command::new(&self.words[0]);
        res.args(&self.words[1..])
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(workspace::root())
            // A check must not wait for an answer from the terminal.
            .stdin(Stdio::null());
        res
    }
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quote(value))?;
        }
        let words: Vec<String> = self.words.iter().map(|it| quote(it)).collect();
        f.write_str(&words.join(" "))
    }
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_shows_as_one_would_type_it() {
        let shell = Shell::new("cargo doc --no-deps").arg("a b").env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(shell.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps 'a b'");
    }

    #[test]
    fn a_command_that_cannot_start_is_an_error_that_names_it() {
        let shell = Shell::new("no-such-program --now");
        assert!(!shell.succeeds());
        for error in [shell.run(), shell.watch(|_| ()), shell.read().map(drop)] {
            assert_eq!(error.unwrap_err().to_string(), "cannot start `no-such-program --now`");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_fails_is_an_error_that_names_it() {
        let shell = Shell::new("false");
        assert!(!shell.succeeds());
        for error in [shell.run(), shell.watch(|_| ()), shell.read().map(drop)] {
            assert_eq!(error.unwrap_err().to_string(), "`false` failed (exit status: 1)");
        }
    }

    #[test]
    fn a_watched_command_shows_its_lines() {
        let mut lines = Vec::new();
        Shell::new("cargo --version").watch(|it| lines.push(it.to_owned())).unwrap();
        assert!(lines[0].starts_with("cargo "), "{lines:?}");
    }
}
