//! Processes for tests: a test in a process of its own, and children of `fork`.

#![cfg(target_os = "linux")]

use std::{
    env,
    fmt::Display,
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    panic::{AssertUnwindSafe, catch_unwind},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

/// Only tells a process that hangs.
const LIMIT: Duration = Duration::from_secs(60);
const INSIDE: &str = "FORK_TESTS_INSIDE";

/// Runs the body of the calling test in a process of its own, which has one thread at first: this test program, started again for
/// the one test. If this process is root's and `user` is given, the new one is that user's.
///
/// # Panics
/// If the test fails there, or does not end.
pub fn alone(user: Option<u32>, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let thread = thread::current();
    let test = thread.name().unwrap();
    let mut program = env::current_exe().unwrap();
    let user = user.filter(|_| rustix::process::getuid().is_root());
    // Another user may not be allowed into the folder of the checkout.
    let folder = user.map(|_| open_folder());
    if let Some(folder) = &folder {
        let copy = folder.path().join("test");
        fs::copy(program, &copy).unwrap();
        program = copy;
    }
    let mut command = Command::new(program);
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    if let (Some(user), Some(folder)) = (user, &folder) {
        command.uid(user).current_dir(folder.path());
    }
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{test}: {status}");
            return;
        }
        if began.elapsed() > LIMIT * 2 {
            child.kill().unwrap();
            panic!("{test} does not end");
        }
        // sleeps: a process can only be asked whether it has ended
        thread::sleep(Duration::from_millis(5));
    }
}

/// A folder whose files every user may execute.
fn open_folder() -> TempDir {
    let all = fs::Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().prefix("fork-tests").tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), all).unwrap();
    folder
}

/// Does this in a child of `fork`, which begins with a copy of all that this process has, and something else here
/// meanwhile; waits for the end of both.
///
/// # Panics
/// If it panics there, dies, or does not end.
pub fn in_child(what: impl Display, work: impl FnOnce(), meanwhile: impl FnOnce()) {
    let Some(child) = fork() else {
        let res = catch_unwind(AssertUnwindSafe(work));
        process::exit(i32::from(res.is_err()));
    };
    meanwhile();
    let began = Instant::now();
    loop {
        if let Some((_, status)) = waitpid(Some(child), WaitOptions::NOHANG).unwrap() {
            assert_eq!(status.exit_status(), Some(0), "{what}: {status:?}");
            return;
        }
        if began.elapsed() > LIMIT {
            let stack = fs::read_to_string(format!("/proc/{}/wchan", child.as_raw_nonzero()));
            kill_process(child, Signal::KILL).unwrap();
            panic!("{what}: the child hangs in {stack:?}");
        }
        // sleeps: a process can only be asked whether it has ended
        thread::sleep(Duration::from_millis(5));
    }
}

/// The child, in its parent; `None` in the child.
#[expect(unsafe_code, reason = "there is no safe way to fork, and this is what is tested")]
fn fork() -> Option<Pid> {
    // SAFETY: The child does what a program may do that has been forked, such as a worker of a preforking server: it allocates, starts
    // threads, and uses the C library, all of which glibc supports after `fork`. No other thread of this process holds a lock of Rust's
    // standard library meanwhile: tests let them rest.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed");
    Pid::from_raw(child)
}
