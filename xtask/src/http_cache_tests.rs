//! Runs the public tests of HTTP caches, <https://cache-tests.fyi>, against `HttpCache` in a
//! reverse proxy before the server of the tests.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{shell::Shell, workspace};

const PACKAGE: &str = "http-cache-tests@0.4.5";
const RUN: &str = include_str!("http_cache_tests/run.mjs");
const PROXY: &str = "cargo build -p cache-tower --all-features --example reverse_proxy";

pub(crate) fn run(args: &[&str]) -> Result<()> {
    let (only, json) = match args {
        [] => (None, None),
        ["--json", file] => (None, Some(*file)),
        [test] => (Some(*test), None),
        _ => bail!("expected nothing, the name of one test, or --json FILE"),
    };
    let folder = workspace::target().join("tools/http-cache-tests");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("run.mjs"), RUN)?;
    let path = folder.to_str().context("the path of the target folder is not UTF-8")?;
    if !folder.join("node_modules").exists() {
        Shell::new("npm install --no-audit --no-fund --prefix").arg(path).arg(PACKAGE).run()?;
    }
    Shell::new(PROXY).run()?;
    let origin = Origin::start(&folder)?;
    let proxy = Proxy::start(origin.port)?;
    let script = format!("{path}/run.mjs");
    let mut suite = Shell::new("node --no-warnings").arg(script).arg(&proxy.url);
    if let Some(only) = only {
        suite = suite.arg(only);
    }
    let output = suite.read()?;
    let report = output.trim_end().lines().last().unwrap_or_default();
    if only.is_some() {
        println!("{output}");
    }
    if let Some(file) = json {
        fs::write(file, report).with_context(|| format!("cannot write {file}"))?;
    }
    print(&serde_json::from_str(report).context("the report of the suite")?)
}

/// A process that ends with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server of the tests, which answers as each test wants.
struct Origin {
    port: u16,
    _process: Process,
}

impl Origin {
    fn start(folder: &Path) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let process = Command::new("node")
            .args(["--no-warnings", "node_modules/http-cache-tests/server/server.mjs"])
            .env("npm_config_port", port.to_string())
            .env("npm_config_protocol", "http")
            .env("npm_config_pidfile", "server.pid")
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start `node`")?;
        let origin = Self { port, _process: Process(process) };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(Instant::now() < until, "the server of the tests does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(origin)
    }
}

/// The cache under test.
struct Proxy {
    url: String,
    _process: Process,
}

impl Proxy {
    fn start(origin: u16) -> Result<Self> {
        let program = workspace::target().join("debug/examples/reverse_proxy");
        let mut child = Command::new(&program)
            .args(["127.0.0.1:0", &format!("127.0.0.1:{origin}")])
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let out = child.stdout.take().context("the proxy has no output")?;
        let process = Process(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let url = line.trim().strip_prefix("listening at ").context("the proxy does not listen")?;
        Ok(Self { url: url.to_owned(), _process: process })
    }
}

/// The counts of a group: passed and all tests of a kind.
#[derive(Default)]
struct Counts {
    required: (u32, u32),
    optional: (u32, u32),
    /// Behaviours about which the standard says nothing: yes, and all.
    observed: (u32, u32),
    /// Tests of something that the cache does not do.
    skipped: u32,
}

fn print(report: &Value) -> Result<()> {
    let groups = report.as_array().context("expected groups")?;
    let tests = || groups.iter().flat_map(|it| it["tests"].as_array().into_iter().flatten());
    let by_id: HashMap<&str, &Value> =
        tests().filter_map(|it| Some((it["id"].as_str()?, it))).collect();
    println!("| group | required | optional | observed | not applicable |\n|---|---|---|---|---|");
    let mut total = Counts::default();
    for group in groups {
        let mut counts = Counts::default();
        for test in group["tests"].as_array().into_iter().flatten() {
            for counts in [&mut counts, &mut total] {
                count(counts, test, &by_id);
            }
        }
        row(group["name"].as_str().unwrap_or_default(), &counts);
    }
    row("**all**", &total);
    for kind in ["required", "optimal"] {
        println!("\nFailed, {kind}:");
        for test in tests().filter(|it| it["kind"] == kind && is_failed(it, &by_id)) {
            println!("- {}: {} {}", test["id"], test["name"], test["result"]);
        }
    }
    Ok(())
}

fn row(name: &str, counts: &Counts) {
    let part = |(passed, all): (u32, u32)| match all {
        0 => "–".to_owned(),
        all => format!("{passed} of {all}"),
    };
    let (required, optional) = (part(counts.required), part(counts.optional));
    let (observed, skipped) = (part(counts.observed), counts.skipped);
    println!("| {name} | {required} | {optional} | {observed} | {skipped} |");
}

fn count(counts: &mut Counts, test: &Value, by_id: &HashMap<&str, &Value>) {
    if !applies(test, by_id, &mut HashSet::new()) {
        counts.skipped += 1;
        return;
    }
    let (passed, all) = match test["kind"].as_str() {
        Some("optimal") => &mut counts.optional,
        Some("check") => &mut counts.observed,
        _ => &mut counts.required,
    };
    *all += 1;
    *passed += u32::from(test["result"] == true);
}

fn is_failed(test: &Value, by_id: &HashMap<&str, &Value>) -> bool {
    test["result"] != true && applies(test, by_id, &mut HashSet::new())
}

/// Returns whether all tests passed on which this one depends: otherwise its result says nothing.
fn applies<'a>(
    test: &'a Value,
    by_id: &HashMap<&str, &'a Value>,
    seen: &mut HashSet<&'a str>,
) -> bool {
    let needs = test["needs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    needs.filter_map(|it| by_id.get_key_value(it).map(|(_, test)| (it, *test))).all(
        |(id, needed)| !seen.insert(id) || needed["result"] == true && applies(needed, by_id, seen),
    )
}
