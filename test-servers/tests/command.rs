//! The command: prints the URLs of its servers, and leaves no process or file behind when it ends.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use test_servers::wait_until;

const LIMIT: Duration = Duration::from_secs(120);

/// The running command, with a temporary folder of its own.
struct Running {
    child: Child,
    lines: Vec<String>,
    folder: TempDir,
}

impl Running {
    fn start(args: &[&str], lines: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL's user must be able to traverse the folder.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_test-servers"))
            .args(args)
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines: Vec<String> = out.lines().take(lines).map(Result::unwrap).collect();
        Self { child, lines, folder }
    }

    /// Returns the addresses in the output.
    fn addresses(&self) -> Vec<String> {
        let all = self.lines.iter().flat_map(|it| it.split(','));
        let after_scheme = all.filter_map(|it| it.split_once("://"));
        let host = |it: &str| it.rsplit('@').next().unwrap().split('/').next().unwrap().to_owned();
        after_scheme.map(|(_, it)| host(it)).collect()
    }

    fn is_serving(&self) -> bool {
        self.addresses().iter().all(|it| TcpStream::connect(it).is_ok())
    }

    fn wait_until_all_is_removed(mut self) {
        self.wait_until_all_have_ended();
        let empty = || fs::read_dir(self.folder.path()).unwrap().next().is_none();
        wait_until("all files are removed", LIMIT, empty).unwrap();
    }

    fn wait_until_all_have_ended(&mut self) {
        self.child.wait().unwrap();
        let addresses = self.addresses();
        let silent = || addresses.iter().all(|it| TcpStream::connect(it).is_err());
        wait_until("no server listens", LIMIT, silent).unwrap();
        let folder = self.folder.path();
        wait_until("no process works there", LIMIT, || !is_used(folder)).unwrap();
    }
}

/// Returns the processes whose working directory is in the folder.
fn workers_in(folder: &Path) -> Vec<String> {
    processes(|it| fs::read_link(it.join("cwd")).is_ok_and(|it| it.starts_with(folder)))
}

/// Returns the processes whose folder in `/proc` matches.
fn processes(matches: impl Fn(&Path) -> bool) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|it| matches(&it.path())).map(|it| it.file_name().into_string().unwrap()).collect()
}

fn signal(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

fn is_used(folder: &Path) -> bool {
    !workers_in(folder).is_empty()
}

#[test]
fn servers_and_files_are_removed_at_the_end_of_the_input() {
    let mut running = Running::start(&[], 3);
    let schemes: Vec<&str> =
        running.lines.iter().map(|it| it.split("://").next().unwrap()).collect();
    assert_eq!(schemes, ["redis", "memcache", "postgres"]);
    assert!(running.is_serving() && is_used(running.folder.path()));
    drop(running.child.stdin.take());
    running.wait_until_all_is_removed();
}

#[test]
fn servers_and_files_are_removed_when_the_command_is_killed() {
    let mut running = Running::start(&["--env", "postgres", "redis", "memcached"], 3);
    let names: Vec<&str> = running.lines.iter().map(|it| it.split('=').next().unwrap()).collect();
    assert_eq!(names, ["POSTGRES_URL", "REDIS_URL", "MEMCACHED_URL"]);
    assert!(running.is_serving() && is_used(running.folder.path()));
    running.child.kill().unwrap();
    running.wait_until_all_is_removed();
}

#[test]
fn servers_end_without_the_watcher_when_the_command_is_killed() {
    let mut running = Running::start(&[], 3);
    let watchers = processes(|it| {
        let words = fs::read_to_string(it.join("cmdline")).unwrap_or_default();
        words.contains("test-servers-watcher")
            && words.contains(running.folder.path().to_str().unwrap())
    });
    assert_eq!(watchers.len(), 1);
    signal("-KILL", &watchers[0]);
    running.child.kill().unwrap();
    running.wait_until_all_have_ended();
}

#[test]
fn frozen_servers_end_when_the_command_is_killed() {
    let mut running = Running::start(&["postgres", "redis"], 2);
    // A stopped process does not notice the end of its parent.
    for pid in workers_in(running.folder.path()) {
        signal("-STOP", &pid);
    }
    running.child.kill().unwrap();
    running.wait_until_all_is_removed();
}

#[test]
fn groups_are_printed_and_end_when_the_command_is_killed() {
    let mut running = Running::start(&["--env", "replicas", "sentinel", "cluster"], 5);
    let names: Vec<&str> = running.lines.iter().map(|it| it.split('=').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "REDIS_LEADER_URL",
            "REDIS_REPLICA_URLS",
            "REDIS_SENTINEL_URLS",
            "REDIS_SENTINEL_NAME",
            "REDIS_CLUSTER_URLS",
        ]
    );
    assert_eq!(running.addresses().len(), 1 + 2 + 3 + 6);
    assert!(running.is_serving());
    running.child.kill().unwrap();
    running.wait_until_all_is_removed();
}

#[test]
fn unknown_server_is_an_error_with_the_usage() {
    let out = Command::new(env!("CARGO_BIN_EXE_test-servers")).arg("rabbit").output().unwrap();
    assert!(!out.status.success());
    let output = String::from_utf8_lossy(&out.stderr);
    assert!(output.contains("`rabbit`") && output.contains("memcached | postgres"), "{output}");
}
