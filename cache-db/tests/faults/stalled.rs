//! A disk that does not answer: a frozen file system.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use cache_core::{ErrorKind, Timeout};
use tempfile::TempDir;

use crate::support::{NO_BREAKER, cache, text, until};

/// Nothing stays frozen longer.
const LONGEST: Duration = Duration::from_secs(30);

/// A file system on a loop device, which is thawed and unmounted at the end in any case.
struct Disk {
    folder: TempDir,
    /// Outlives a killed test, which cannot end while one of its threads waits for the disk.
    guard: Option<Child>,
}

const GUARD: &str = "sleep 60; fsfreeze -u \"$1\"; umount -l \"$1\"";

impl Disk {
    /// `None` if mounting is not allowed.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(32 << 20).unwrap();
        let mut disk = Self { folder, guard: None };
        fs::create_dir(disk.path()).unwrap();
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh"]).arg(disk.path()).process_group(0);
        guard.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        disk.guard = Some(guard.spawn().unwrap());
        let made = run(Command::new("mkfs.ext4").arg("-q").arg(&image))
            && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.path()));
        if !made {
            eprintln!("a disk cannot be mounted here, so none is stalled");
        }
        made.then_some(disk)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Until the sender is dropped, or until a time-out, which the thread reports.
    fn freeze(self: &Arc<Self>) -> (Sender<()>, JoinHandle<bool>) {
        assert!(run(Command::new("fsfreeze").arg("-f").arg(self.path())));
        let (over, wait) = mpsc::channel();
        let disk = Arc::clone(self);
        let watchdog = thread::spawn(move || {
            let is_late = wait.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout);
            disk.thaw();
            is_late
        });
        (over, watchdog)
    }

    fn thaw(&self) -> bool {
        run(Command::new("fsfreeze").arg("-u").arg(self.path()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.thaw();
        run(Command::new("umount").arg("-l").arg(self.path()));
        if let Some(mut guard) = self.guard.take() {
            // With its `sleep`: it leads a process group of its own.
            run(Command::new("kill").args(["--", &format!("-{}", guard.id())]));
            let _ = guard.wait();
        }
    }
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|it| it.status.success())
}

/// The runtime has one thread, which goes on with other tasks. Otherwise the watchdog would have to
/// thaw the disk.
#[tokio::test]
async fn write_to_a_stalled_disk_times_out_and_blocks_no_other_task() {
    let Some(disk) = Disk::mount() else { return };
    let path = text(&disk.path().join("cache.db"));
    let cache = cache(&path, &format!("deadline = \"500ms\"\n{NO_BREAKER}")).strict();
    until("it is open", async || cache.set("k", &1, Timeout::Default).await.is_ok()).await;
    let disk = Arc::new(disk);
    let (over, watchdog) = disk.freeze();
    let ticks = Arc::new(AtomicU64::new(0));
    let ticker = tokio::spawn({
        let ticks = Arc::clone(&ticks);
        async move {
            loop {
                ticks.fetch_add(1, Ordering::Relaxed);
                // sleeps: the runtime's own timer is what must go on
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let mut errors = vec![cache.set("k", &2, Timeout::Default).await.unwrap_err()];
    errors.push(cache.delete("k").await.unwrap_err());
    errors.push(cache.incr("k", 1).await.unwrap_err());
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    assert!(ticks.load(Ordering::Relaxed) > 3, "other tasks went on");
    ticker.abort();
    drop(over);
    assert!(!watchdog.join().unwrap(), "all that was answered while the disk was stalled");
    until("it works again", async || cache.set("k", &3, Timeout::Default).await.is_ok()).await;
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(3));
}
