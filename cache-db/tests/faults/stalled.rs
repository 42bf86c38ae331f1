//! A disk that does not answer: a frozen file system, and a device that does not read.

use std::{
    fs::{self, File},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
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
use rustix::fs::{major, minor};
use tempfile::TempDir;

use crate::support::{NO_BREAKER, PATIENT, cache, text, until};

/// Nothing stays frozen longer.
const LONGEST: Duration = Duration::from_secs(30);

/// A file system on a loop device, which is thawed and unmounted at the end in any case.
struct Disk {
    folder: TempDir,
    /// Outlives a killed test, which cannot end while one of its threads waits for the disk.
    guard: Option<Child>,
}

const GUARD: &str = "sleep 60; fsfreeze -u \"$1\"; \
    test -n \"$2\" && echo \"$(mountpoint -d \"$1\") 0\" > \"$2\"; umount -l \"$1\"";

impl Disk {
    /// `None` if mounting is not allowed.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(32 << 20).unwrap();
        let mut disk = Self { folder, guard: None };
        fs::create_dir(disk.path()).unwrap();
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh"]).arg(disk.path()).args(limits()).process_group(0);
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
        // After the guard, the path would lead to the file system of the whole machine.
        assert!(run(Command::new("mountpoint").arg("-q").arg(self.path())));
        assert!(run(Command::new("fsfreeze").arg("-f").arg(self.path())));
        self.watch()
    }

    /// Drops the pages of a file from memory, and lets the device read one byte per second. Ends
    /// like `freeze`. `None` if the system has no such limit.
    fn stop_reads(self: &Arc<Self>, file: &Path) -> Option<(Sender<()>, JoinHandle<bool>)> {
        // Not by this process: closing the file would release the locks that SQLite has on it.
        assert!(run(Command::new("sync").arg(file)));
        let drop_pages = ["iflag=nocache", "count=0", "status=none"];
        assert!(run(Command::new("dd").arg(format!("if={}", file.display())).args(drop_pages)));
        if !self.limit_reads(1) {
            eprintln!("reads cannot be limited here, so none is stalled");
            return None;
        }
        Some(self.watch())
    }

    fn watch(self: &Arc<Self>) -> (Sender<()>, JoinHandle<bool>) {
        let (over, wait) = mpsc::channel();
        let disk = Arc::clone(self);
        let watchdog = thread::spawn(move || {
            let is_late = wait.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout);
            disk.go_on();
            is_late
        });
        (over, watchdog)
    }

    fn go_on(&self) {
        self.limit_reads(0);
        run(Command::new("fsfreeze").arg("-u").arg(self.path()));
    }

    /// Bytes per second that this process may read from the device; 0 removes the limit.
    fn limit_reads(&self, rate: u32) -> bool {
        let Some((limits, found)) = limits().zip(fs::metadata(self.path()).ok()) else {
            return false;
        };
        let (major, minor) = (major(found.dev()), minor(found.dev()));
        fs::write(limits, format!("{major}:{minor} {rate}")).is_ok()
    }
}

/// Returns the file with the limits of this process for reads.
fn limits() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.split_once(":blkio:"))?.1;
    let group = Path::new("/sys/fs/cgroup/blkio").join(group.trim_start_matches('/'));
    Some(group.join("blkio.throttle.read_bps_device")).filter(|it| it.exists())
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.go_on();
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

/// Counts how often the runtime's own timer wakes a task.
struct Ticker(Arc<AtomicU64>, tokio::task::JoinHandle<()>);

impl Ticker {
    fn start() -> Self {
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&ticks);
        let task = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                // sleeps: the runtime's own timer is what must go on
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self(ticks, task)
    }

    fn went_on(self) -> bool {
        self.1.abort();
        self.0.load(Ordering::Relaxed) > 3
    }
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
    let ticker = Ticker::start();
    let mut errors = vec![cache.set("k", &2, Timeout::Default).await.unwrap_err()];
    errors.push(cache.delete("k").await.unwrap_err());
    errors.push(cache.incr("k", 1).await.unwrap_err());
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    assert!(ticker.went_on());
    drop(over);
    assert!(!watchdog.join().unwrap(), "all that was answered while the disk was stalled");
    until("it works again", async || cache.set("k", &3, Timeout::Default).await.is_ok()).await;
    let patient = crate::support::cache(&path, PATIENT).strict();
    assert_eq!(patient.get::<i32>("k").await.unwrap(), Some(3));
}

/// The first read after a commit notes in the WAL's index which commit it sees. This waits for the
/// disk although all that is read is in memory.
#[tokio::test]
async fn read_from_a_stalled_disk_times_out_and_blocks_no_other_task() {
    let Some(disk) = Disk::mount() else { return };
    let path = text(&disk.path().join("cache.db"));
    let cache = cache(&path, &format!("deadline = \"500ms\"\n{NO_BREAKER}")).strict();
    let disk = Arc::new(disk);
    let (over, watchdog, error) = loop {
        until("it works", async || cache.set("k", &1, Timeout::Default).await.is_ok()).await;
        let (over, watchdog) = disk.freeze();
        if let Err(error) = cache.get::<i32>("k").await {
            break (over, watchdog, error);
        }
        // The commit was already in the file: a checkpoint was faster.
        drop(over);
        assert!(!watchdog.join().unwrap(), "the read waited for the disk");
    };
    let ticker = Ticker::start();
    let mut errors = vec![error, cache.get::<i32>("k").await.unwrap_err()];
    errors.push(cache.has_key("k").await.unwrap_err());
    errors.push(cache.get_many::<i32, _>(["k", "other"]).await.unwrap_err());
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    assert!(ticker.went_on());
    drop(over);
    assert!(!watchdog.join().unwrap(), "all that was answered while the disk was stalled");
    until("it works again", async || cache.get::<i32>("k").await.is_ok_and(|it| it == Some(1)))
        .await;
}

#[tokio::test]
async fn read_that_is_not_in_memory_times_out_and_blocks_no_other_task() {
    let Some(disk) = Disk::mount() else { return };
    let file = disk.path().join("cache.db");
    let disk = Arc::new(disk);
    let settings = format!("deadline = \"500ms\"\n{NO_BREAKER}");
    let filled = cache(&text(&file), &settings).strict();
    let key = |n: u32| format!("k{n:04}");
    until("it is filled", async || {
        let items = (0..2000).map(|n| (key(n), "x".repeat(4000)));
        filled.set_many(items, Timeout::Default).await.is_ok_and(|failed| failed.is_empty())
    })
    .await;
    until("all is in the file", async || filled.close().await.is_ok()).await;
    let cache = cache(&text(&file), &settings).strict();
    until("it is open", async || cache.has_key(&key(0)).await.is_ok()).await;
    let Some((over, watchdog)) = disk.stop_reads(&file) else { return };
    let ticker = Ticker::start();
    for n in [500, 1000, 1500] {
        let error = cache.get::<String>(&key(n)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    assert!(ticker.went_on());
    drop(over);
    assert!(!watchdog.join().unwrap(), "all that was answered while the disk was stalled");
    until("it works again", async || cache.has_key(&key(500)).await.is_ok()).await;
}
