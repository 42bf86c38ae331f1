//! Runs test programs, several at once: most of the time they wait for servers and deadlines, and
//! the cores would be idle.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{shell::Shell, workspace};

/// The number of programs at the same time. Each has as many threads as the machine has cores.
const AT_ONCE: usize = 2;

/// The ends of the commands of the slowest programs: if one of them ran last, it would run alone.
const SLOW: &[&str] = &["--test postgres", "--test flight_model", "--test it"];

/// A test program that cargo has built.
#[derive(Debug, PartialEq)]
pub(crate) struct Program {
    /// The command that runs it alone.
    by_hand: String,
    /// A part of the names of the tests to run; all if empty.
    filter: &'static str,
    path: PathBuf,
    /// The folder of its package, in which cargo runs it.
    folder: PathBuf,
    package: String,
}

/// Builds the test programs that `cargo test` with these arguments would run.
pub(crate) fn build(args: &str) -> Result<Vec<Program>> {
    let build = format!("cargo test {args} --no-run --message-format=json-render-diagnostics");
    let messages = Shell::new(&build).read()?;
    let is_whole = !args.contains("--no-default-features");
    messages.lines().filter_map(|it| program(it, is_whole).transpose()).collect()
}

/// Runs the programs, the slowest of the last run first. When a program ends, each line of its
/// output goes to `see`.
pub(crate) fn run(programs: Vec<Program>, see: impl FnMut(&str)) -> Result<()> {
    let mut times = times();
    let mut failures = String::new();
    let res = run_all(programs, &mut times, &mut failures, see);
    save(&times)?;
    let file = file_of_failures();
    fs::write(&file, failures).with_context(|| file.display().to_string())?;
    res
}

fn run_all(
    mut programs: Vec<Program>,
    times: &mut HashMap<String, f64>,
    failures: &mut String,
    mut see: impl FnMut(&str),
) -> Result<()> {
    // A new program may be slow. On a new machine, all are new.
    let expected = |it: &Program| {
        let is_slow = SLOW.iter().any(|end| it.by_hand.ends_with(end));
        let unknown = if is_slow { f64::INFINITY } else { f64::MAX };
        times.get(&it.by_hand).copied().unwrap_or(unknown)
    };
    programs.sort_by(|a, b| expected(a).total_cmp(&expected(b)));
    // The last one is taken first.
    let queue = Mutex::new(programs);
    let mut failed = Vec::new();
    thread::scope(|scope| {
        let (sender, ended) = mpsc::channel();
        for _ in 0..AT_ONCE {
            let (queue, sender) = (&queue, sender.clone());
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(program) = next else { break };
                    let start = Instant::now();
                    let res = program.run();
                    if sender.send((program, res, start.elapsed())).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (program, res, took) in ended {
            let (succeeded, text) = told(res);
            let passed =
                succeeded && (program.filter.is_empty() || !text.contains("running 0 tests"));
            show(&program, passed, took, &text, &mut see);
            times.insert(program.by_hand.clone(), took.as_secs_f64());
            if !passed {
                failed.push(format!("\n  {}", program.by_hand));
                failures.extend([&program.by_hand, ":\n", &end_of(&text), "\n"]);
            }
        }
    });
    if !failed.is_empty() {
        bail!("{} test programs failed; by hand:{}", failed.len(), failed.concat());
    }
    Ok(())
}

/// Returns the test program in a message of cargo, if the message is about one. Without features,
/// the program `it` runs the conformance suite alone.
fn program(message: &str, has_features: bool) -> Result<Option<Program>> {
    let message: Value = serde_json::from_str(message).context("cargo's message is not JSON")?;
    let text = |it: &Value| it.as_str().map(String::from);
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let Some(path) = text(&message["executable"]).filter(|_| is_test) else { return Ok(None) };
    let manifest = PathBuf::from(text(&message["manifest_path"]).context("no manifest")?);
    let name = workspace::read_manifest(&manifest)?["package"]["name"].as_str().map(String::from);
    let (package, target) = (name.context("no name")?, &message["target"]);
    let which = match (target["kind"][0].as_str(), target["name"].as_str()) {
        (Some("test"), Some(name)) => format!("--test {name}"),
        (Some("bin"), Some(name)) => format!("--bin {name}"),
        (Some("example"), Some(name)) => format!("--example {name}"),
        (Some("bench"), Some(name)) => format!("--bench {name}"),
        _ => "--lib".to_owned(),
    };
    let features = if has_features { "--all-features" } else { "--no-default-features" };
    let filter = if has_features || which != "--test it" { "" } else { "conformance" };
    let by_hand = format!("cargo test --package {package} {features} {which} {filter}");
    Ok(Some(Program {
        by_hand: by_hand.trim_end().to_owned(),
        filter,
        path: path.into(),
        folder: manifest.parent().map(PathBuf::from).unwrap_or_default(),
        package,
    }))
}

impl Program {
    fn run(&self) -> Result<Output> {
        Command::new(&self.path)
            .current_dir(&self.folder)
            // Cargo sets these variables too.
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("CARGO_PKG_NAME", &self.package)
            .args(Some(self.filter).filter(|it| !it.is_empty()))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.path.display()))
    }
}

/// Returns whether the program passed, and its output.
fn told(res: Result<Output>) -> (bool, String) {
    match res {
        Ok(out) => {
            let text = [out.stdout, out.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
            (out.status.success(), text.concat())
        }
        Err(error) => (false, format!("{error:#}\n")),
    }
}

/// Returns the part of a test program's output that says how its tests failed.
fn end_of(text: &str) -> String {
    let from = text.find("\nfailures:\n").map_or(0, |it| it + 1);
    let lines: Vec<&str> = text[from..].lines().collect();
    lines[lines.len().saturating_sub(150)..].join("\n")
}

fn show(program: &Program, passed: bool, took: Duration, text: &str, see: &mut impl FnMut(&str)) {
    let verdict = if passed { "ok" } else { "FAILED" };
    println!("\n-- {verdict} ({:.1} s): {}", took.as_secs_f64(), program.by_hand);
    for line in text.lines() {
        see(line);
        // The names of tests that passed would fill the terminal.
        if !passed || line.starts_with("test result: ") {
            println!("{line}");
        }
    }
}

/// Returns how many seconds each program took the last time.
fn times() -> HashMap<String, f64> {
    let text = fs::read_to_string(file_of_times()).unwrap_or_default();
    let line = |it: &str| {
        let (seconds, by_hand) = it.split_once(' ')?;
        Some((by_hand.to_owned(), seconds.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn save(times: &HashMap<String, f64>) -> Result<()> {
    let mut lines: Vec<(&String, &f64)> = times.iter().collect();
    lines.sort_by(|a, b| b.1.total_cmp(a.1));
    let lines: Vec<String> =
        lines.iter().map(|(by_hand, seconds)| format!("{seconds:.1} {by_hand}\n")).collect();
    let file = file_of_times();
    fs::write(&file, lines.concat()).with_context(|| file.display().to_string())
}

/// The output of the programs that failed. `.ci/run` shows it at its end, after the checks.
fn file_of_failures() -> PathBuf {
    workspace::target().join("failed-tests.txt")
}

fn file_of_times() -> PathBuf {
    workspace::target().join("test-times.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(program: &str, folder: &str) -> Program {
        Program {
            by_hand: format!("{program} in {folder}"),
            filter: "",
            path: program.into(),
            folder: folder.into(),
            package: "a".into(),
        }
    }

    #[test]
    fn test_program_is_found_in_the_message_about_it() {
        let manifest = workspace::root().join("xtask/Cargo.toml");
        let message = |profile: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{}","target":{{"kind":["test"],
                "name":"it"}},"profile":{{"test":{profile}}},"executable":{executable}}}"#,
                manifest.display()
            )
        };
        let found = program(&message("true", r#""/x/it-1""#), true).unwrap().unwrap();
        assert_eq!(found.by_hand, "cargo test --package xtask --all-features --test it");
        assert_eq!(found.folder, workspace::root().join("xtask"));
        let found = program(&message("true", r#""/x/it-1""#), false).unwrap().unwrap();
        let by_hand = "cargo test --package xtask --no-default-features --test it conformance";
        assert_eq!((&*found.by_hand, found.filter), (by_hand, "conformance"));
        assert_eq!(program(&message("false", r#""/x/it-1""#), true).unwrap(), None);
        assert_eq!(program(&message("true", "null"), true).unwrap(), None);
        assert_eq!(program(r#"{"reason":"build-finished","success":true}"#, true).unwrap(), None);
        assert!(program("not json", true).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn program_that_fails_is_named_and_the_others_run() {
        let (mut lines, mut failures) = (Vec::new(), String::new());
        let programs =
            vec![installed("pwd", "/"), installed("false", "/"), installed("pwd", "/usr")];
        let error =
            run_all(programs, &mut HashMap::new(), &mut failures, |it| lines.push(it.to_owned()))
                .unwrap_err()
                .to_string();
        lines.sort();
        assert_eq!(lines, ["/", "/usr"]);
        assert_eq!(failures, "false in /:\n\n");
        assert_eq!(error, "1 test programs failed; by hand:\n  false in /");
    }
}
