//! Child processes: this test program, run again with one test that performs a task.

use std::{
    env,
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child as Process, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use cache_core::{Cache, secs};
use rustix::process::{Pid, Signal, kill_process};

use crate::place;

/// A process that uses the cache in a directory. Dropping this kills it.
pub(crate) struct Child {
    process: Process,
    pub(crate) lines: Lines<BufReader<ChildStdout>>,
}

const TASK: &str = "CACHE_FILE_TEST_TASK";
const PLACE: &str = "CACHE_FILE_TEST_PLACE";
const OPTIONS: &str = "CACHE_FILE_TEST_OPTIONS";

impl Child {
    pub(crate) fn start(task: &str, path: &Path, options: &str) -> Self {
        Self::start_in("", task, path, options)
    }

    /// Runs shell commands in the process first, such as `umask 0` or `ulimit -n 20`.
    pub(crate) fn start_in(shell: &str, task: &str, path: &Path, options: &str) -> Self {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{shell}\nexec \"$0\" child::works --exact --nocapture -q"));
        command.arg(env::current_exe().unwrap()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command.env(TASK, task).env(PLACE, path).env(OPTIONS, options);
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // Without output, its start cannot be awaited.
        if !shell.contains("/dev/null") {
            assert!(lines.by_ref().any(|it| it.unwrap().ends_with("begins")));
        }
        Self { process, lines }
    }

    /// Waits for the next line. `None` if the process has ended.
    pub(crate) fn line(&mut self) -> Option<String> {
        self.lines.next().map(|it| it.unwrap()).filter(|it| !it.starts_with("test result"))
    }

    /// Waits for the process to end successfully, and returns its answers.
    pub(crate) fn all(mut self) -> Vec<String> {
        let lines = std::iter::from_fn(|| self.line()).filter(|it| it.starts_with("> "));
        let lines = lines.map(|it| it[2..].to_owned()).collect();
        assert!(self.process.wait().unwrap().success());
        lines
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Kills the process at once, and returns its answers that were not read yet.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let lines = self.lines.by_ref().map_while(Result::ok).filter(|it| it.starts_with("> "));
        lines.map(|it| it[2..].to_owned()).collect()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Performs the task in a child process. Passes in the parent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works() {
    let Ok(task) = env::var(TASK) else { return };
    let (path, options) = (env::var(PLACE).unwrap(), env::var(OPTIONS).unwrap());
    let cache = place::cache(Path::new(&path), &options);
    println!("begins");
    let mut words = task.split(' ');
    let name = words.next().unwrap();
    let count = words.next().map_or(u64::MAX, |it| it.parse().unwrap());
    for n in 0..count {
        match step(&cache, name, n).await {
            Ok(answer) => print(&answer),
            Err(error) => print(&format!("error {error}")),
        }
    }
}

async fn step(cache: &Cache, name: &str, n: u64) -> cache_core::Result<String> {
    Ok(match name {
        "incr" => cache.incr_or("counter", 1, 0, secs(600)).await?.to_string(),
        "add" => cache.add(&format!("add:{n}"), &std::process::id(), secs(600)).await?.to_string(),
        "update" => format!("{:?}", cache.update("sum", secs(600), |it: i64| it + 1).await?),
        "write" => {
            for (key, len) in [("small", 100), ("page", 4200), ("large", 100_000)] {
                cache.bytes().set(key, &pattern(n, len), secs(600)).await?;
            }
            n.to_string()
        }
        "touch" => {
            cache.touch("small", secs(600 + n)).await?;
            cache.touch("large", secs(600 + n)).await?;
            n.to_string()
        }
        "fill" => {
            cache.set(&format!("fill:{}", n % 5000), &n, secs(600)).await?;
            n.to_string()
        }
        "clear" => {
            cache.clear().await?;
            n.to_string()
        }
        "set_and_clear" => {
            for key in 0..100 {
                cache.set(&format!("c:{key}"), &n, secs(600)).await?;
            }
            cache.clear().await?;
            n.to_string()
        }
        "large" => {
            cache.bytes().set(&format!("l:{n}"), &pattern(n, 100_000), secs(600)).await?;
            n.to_string()
        }
        "churn" => churn(cache, n).await?,
        "grow" => {
            let grown = cache.update("small", secs(600), |_: String| "x".repeat(3000)).await?;
            format!("{}", grown.is_some())
        }
        "crowd" => {
            let tasks = (0..16).map(|task| {
                let cache = cache.clone();
                tokio::spawn(
                    async move { cache.set(&format!("crowd:{n}:{task}"), &n, secs(600)).await },
                )
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap()?;
            }
            n.to_string()
        }
        "hoard" => {
            let cache = with_deadline("4s");
            let hoard = hoard();
            let full = cache
                .set("h", &n, secs(600))
                .await
                .map_or_else(|it| it.to_string(), |()| String::new());
            drop(hoard);
            cache.set("h", &n, secs(600)).await?;
            full
        }
        "hoard_batch" => {
            let cache = with_deadline("3s");
            let keys: Vec<_> = (0..20).map(|it| format!("h:{it}")).collect();
            let (hoard, began) = (hoard(), Instant::now());
            let read = cache.get_many::<u64, _>(&keys).await.unwrap_err();
            let written =
                cache.set_many(keys.iter().map(|it| (it.as_str(), &n)), secs(600)).await?;
            // Two deadlines; those of all keys would be forty.
            assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
            drop(hoard);
            format!("{read}; {}; {}", written[0].error, written[19].error)
        }
        "get" => format!("{:?}", cache.get::<u64>("k").await?),
        other => panic!("no task {other}"),
    })
}

/// Adds, overwrites and deletes entries, so that each file serves many keys, and checks that every
/// value belongs to its key.
async fn churn(cache: &Cache, n: u64) -> cache_core::Result<String> {
    let of = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(std::process::id().into());
    let key = of(n) >> 8 & 255;
    match of(n) >> 16 & 3 {
        0 => drop(cache.delete(&format!("c:{key}")).await?),
        1 => drop(cache.add(&format!("c:{key}"), &key, secs(600)).await?),
        size => {
            let len = if size == 2 { 100 } else { 12_000 };
            cache.bytes().set(&format!("c:{key}"), &pattern(key, len), secs(600)).await?;
        }
    }
    for other in 0..8 {
        let key = of(n + other) >> 24 & 255;
        if let Some(bytes) = cache.bytes().get(&format!("c:{key}")).await? {
            let is_added = *bytes == *key.to_string().as_bytes();
            let is_set = is_pattern(&bytes) && bytes[..8] == key.to_le_bytes();
            if !is_added && !is_set {
                return Ok(format!("error: c:{key} has the value of another key"));
            }
        }
    }
    Ok(n.to_string())
}

/// Returns a cache whose store waits for less than this time.
fn with_deadline(deadline: &str) -> Cache {
    let path = env::var(PLACE).unwrap();
    let toml = place::toml(Path::new(&path), "").replace("20s", deadline);
    place::of_toml(place::still_clock().clock(), &toml).unwrap().strict()
}

/// Opens files until no descriptor is left.
fn hoard() -> Vec<std::fs::File> {
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

fn print(answer: &str) {
    let mut out = std::io::stdout().lock();
    // A parent that was killed reads nothing.
    let _ = writeln!(out, "> {answer}").and_then(|()| out.flush());
}

/// Returns bytes that begin with the number, and differ between any two numbers in every 8 bytes.
/// Every page also begins with a word of its own, so pages cannot be exchanged.
pub(crate) fn pattern(n: u64, len: usize) -> Vec<u8> {
    let word = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    let mut res = word.repeat(len.div_ceil(8));
    for page in (0..len).step_by(PAGE) {
        res[page..page + 8].copy_from_slice(&n.wrapping_add(page as u64).to_le_bytes());
    }
    res.truncate(len);
    res
}

const PAGE: usize = 4096;

/// Returns whether the bytes are a pattern of one number.
pub(crate) fn is_pattern(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && {
        let n = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        bytes == pattern(n, bytes.len())
    }
}
