//! Child processes: this test program, started again.

use std::{
    env,
    io::{BufRead as _, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

pub(crate) const CHILD: &str = "CACHE_DB_TEST_CHILD";

/// Runs the test of this name again, in a process of its own that `wrapper` starts. Returns whether
/// this is that process.
pub(crate) fn is_child(name: &str, wrapper: &[&str]) -> bool {
    if env::var(CHILD).is_ok_and(|it| it == name) {
        return true;
    }
    let (first, rest) = wrapper.split_first().unwrap();
    let mut command = Command::new(first);
    command.args(rest).arg(env::current_exe().unwrap());
    let res = command.args(["--exact", name, "--nocapture"]).env(CHILD, name).output().unwrap();
    let text = [res.stdout, res.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(res.status.success() && text.contains("1 passed"), "{}: {text}", res.status);
    eprint!("{text}");
    false
}

/// Like [`is_child`], with a disk of this size mounted at the folder, which no other process sees
/// and in which the child starts.
pub(crate) fn is_child_on_a_small_disk(name: &str, folder: &Path, size: &str) -> bool {
    let mount = format!("mount -t tmpfs -o size={size},mode=0700 tmpfs \"$0\"");
    let script = format!("{mount} && cd \"$0\" && exec \"$@\"");
    let folder = folder.to_str().unwrap();
    let alone = ["unshare", "--map-root-user", "--mount", "sh", "-c"];
    if env::var_os(CHILD).is_none() {
        let mut may_mount = Command::new(alone[0]);
        if !may_mount.args(&alone[1..]).args([&mount, folder]).output().unwrap().status.success() {
            eprintln!(
                "{name}: mounting is not allowed here; a limit of file sizes is tried instead"
            );
            return false;
        }
    }
    is_child(name, &[&alone[..], &[&script, folder]].concat())
}

/// Like [`is_child`], with a limit on the length of files.
pub(crate) fn is_child_with_short_files(name: &str, bytes: u32) -> bool {
    // By default the signal ends the process.
    let script = format!("trap '' XFSZ && exec prlimit --fsize={bytes} \"$0\" \"$@\"");
    is_child(name, &["sh", "-c", &script])
}

const ROLE: &str = "CACHE_DB_TEST_ROLE";
const FILE: &str = "CACHE_DB_TEST_FILE";

/// A process that works on a file and prints lines until it is killed or this value is dropped.
pub(crate) struct Worker {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Returns the task of the test with this name in this process, if it is a worker.
pub(crate) fn role(test: &str) -> Option<String> {
    env::var(CHILD).is_ok_and(|it| it == test).then(|| env::var(ROLE).unwrap())
}

pub(crate) fn file_of_worker() -> PathBuf {
    env::var_os(FILE).unwrap().into()
}

impl Worker {
    /// Starts the test of this name in a process that ends with this one.
    pub(crate) fn start(test: &str, role: &str, file: &Path) -> Self {
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .envs([(CHILD, test), (ROLE, role)])
            .env(FILE, file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Returns the next line that it prints; `None` at its end.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        // The rest is printed by the test runner, or is a line that the kill cut off.
        self.lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|it| Some(it.split_once("= ")?.1.to_owned()))
    }

    pub(crate) fn lines_to_the_end(mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next_line()).collect()
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    /// Sends `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
