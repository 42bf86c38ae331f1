//! The service as a process of its own, and clients of it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A running service. It is killed when the value is dropped.
pub(crate) struct Running {
    process: Child,
    output: BufReader<ChildStdout>,
    url: String,
    _folder: TempDir,
}

impl Running {
    /// Starts the service with a new database, and with these settings instead of its own.
    pub(crate) fn start(settings: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_web-service"));
        command
            .env("LISTEN", "127.0.0.1:0")
            .env("DATABASE", folder.path().join("users.sqlite"))
            .stdout(Stdio::piped());
        if let Some(settings) = settings {
            let file = folder.path().join("settings.toml");
            fs::write(&file, settings)?;
            command.env("SETTINGS", file);
        }
        let mut process = command.spawn()?;
        let mut output = BufReader::new(process.stdout.take().context("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let url = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let url = url.with_context(|| format!("unexpected output: {line:?}"))?;
        Ok(Self { process, output, url, _folder: folder })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Asks the service to stop, and returns the last line that it prints.
    pub(crate) fn stop(mut self) -> Result<String> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let mut last = String::new();
        for line in (&mut self.output).lines() {
            last = line?;
        }
        ensure!(self.process.wait()?.success(), "the service failed");
        Ok(last)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns a client that keeps cookies.
pub(crate) fn client() -> Result<Client> {
    Ok(Client::builder().cookie_store(true).build()?)
}

/// Returns a client that is logged in.
pub(crate) async fn logged_in(service: &Running, id: i64) -> Result<Client> {
    let client = client()?;
    let response = client.post(service.url("/login")).json(&json!({ "id": id })).send().await?;
    ensure!(response.status() == StatusCode::NO_CONTENT, "{}", response.status());
    Ok(client)
}

/// Returns the body of a response that must be a success.
pub(crate) async fn body(response: Response) -> Result<Value> {
    Ok(response.error_for_status()?.json().await?)
}
