//! Processes for tests: a test in its own process, and children of `fork`.

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

/// After this time, a process counts as hanging. A busy machine must not come near it.
const LIMIT: Duration = Duration::from_secs(5 * 60);
const INSIDE: &str = "FORK_TESTS_INSIDE";

/// Runs the body of the calling test in its own process, which starts with one thread. The process
/// is this test program, started again for the one test.
///
/// If this process belongs to root and `user` is given, the new one belongs to that user.
///
/// # Panics
/// If the test fails in the process, or does not end.
pub fn alone(user: Option<u32>, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let thread = thread::current();
    let test = thread.name().unwrap();
    let mut program = env::current_exe().unwrap();
    let user = user.filter(|_| rustix::process::getuid().is_root());
    // Another user may lack the permission to enter the folder of the checkout.
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
        // sleeps: the end of a process can only be polled
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns a temporary folder that every user can enter.
fn open_folder() -> TempDir {
    let all = fs::Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().prefix("fork-tests").tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), all).unwrap();
    folder
}

/// Runs `work` in a child of `fork`, which starts with a copy of this process, and `meanwhile` in
/// this process. Waits until both have ended.
///
/// # Panics
/// If the child panics, is killed, or does not end.
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
        // sleeps: the end of a process can only be polled
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the child in its parent, and `None` in the child.
#[expect(unsafe_code, reason = "the tests need `fork`, which has no safe function")]
fn fork() -> Option<Pid> {
    // SAFETY: The child does what a forked program may do, such as a worker of a preforking server:
    // it allocates memory, starts threads and uses the C library. glibc supports this after `fork`.
    // The tests keep the other threads of this process idle during the fork, so none of them holds
    // a lock of Rust's standard library.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed");
    Pid::from_raw(child)
}
