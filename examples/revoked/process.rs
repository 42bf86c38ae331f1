//! A process of the service, as the program sees it.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// A process that executes a command for each line. It ends with this value.
pub(crate) struct Process {
    pub(crate) name: &'static str,
    child: Child,
    commands: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program as a process of the service. `location` is that of the store, for the
    /// settings.
    pub(crate) fn start(
        name: &'static str,
        settings: &Path,
        source: &Path,
        location: Option<&str>,
    ) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("--process").arg(settings).arg(source);
        command.envs(location.map(|it| ("REVOKED_STORE", it)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (commands, replies) = pipes.context("the process has pipes")?;
        Ok(Self { name, child, commands, replies: BufReader::new(replies) })
    }

    /// Sends a command, and waits for the reply.
    pub(crate) fn ask(&mut self, command: &str) -> Result<String> {
        // If the process has ended, its error is on stderr.
        let ended = || format!("process {} ended before it replied to `{command}`", self.name);
        writeln!(self.commands, "{command}").with_context(ended)?;
        let mut reply = String::new();
        self.replies.read_line(&mut reply)?;
        ensure!(!reply.is_empty(), ended());
        Ok(reply.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The scenes are over, or have failed: there is nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
