//! Processes of the tests' own: this program, run once more.

use std::{env, path::Path, process::Command};

const CHILD: &str = "CACHE_DB_TEST_CHILD";

/// Runs the test of this name once more, in a process of its own that `wrapper` starts; whether this is that process.
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

/// As [`is_child`], with a disk of so many bytes at this folder, which no other process sees and in which it starts.
pub(crate) fn is_child_on_a_small_disk(name: &str, folder: &Path, size: &str) -> bool {
    let script = format!("mount -t tmpfs -o size={size} tmpfs \"$0\" && cd \"$0\" && exec \"$@\"");
    let folder = folder.to_str().unwrap();
    is_child(name, &["unshare", "--map-root-user", "--mount", "sh", "-c", &script, folder])
}
