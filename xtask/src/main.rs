//! The commands of this workspace, in Rust so that they need nothing but a toolchain.

mod api;
mod bench;
mod ci;
mod fuzz;
mod graph;
mod histories;
mod http_cache_tests;
mod package;
mod quickstart;
mod report;
mod servers;
mod shell;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::{env, process::ExitCode};

const USAGE: &str = "\
Usage: cargo xtask <command>

  test   runs every test, and installs the servers for them
  ci     runs the checks: format, lints, docs, the book, features, dependencies, packages, public
         items, tidy, fuzzing
  api [--bless]
         compares the public items of each published crate with the lists in `api`; --bless writes them
  readme follows the README's five minutes, then the `cargo add` lines of the book
  tidy [PATH…]
         checks the project's own rules; with paths, shows the violations that exceptions excuse there
  bench [--quick] [SUITE[/CASE]…] [--json FILE]
         measures the caches beside their engines and peers; all suites if none is named
  bench --report [--quick] [--passes N] [SUITE…] [--json FILE | --from FILE]
         measures the published cases, or reads their results, and writes docs/performance.md
  fuzz [TARGET…] [--seconds N | --runs N]
         feeds random bytes to the readers of files and settings; by default all targets, 30 seconds each
  histories [--store NAME]… [--seconds N] [--seed S]
         records what several processes do with each store while processes, servers and networks fail,
         and checks the promises; by default all stores, 60 seconds each
  http-cache-tests [TEST | --json FILE]
         runs the public tests of HTTP caches against `HttpCache`; needs node and npm
  servers [--env] [NAME…]
         starts servers: redis, memcached, postgres, replicas, sentinel, cluster
  servers --install
         installs the missing servers";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["test"] => test::run(),
        ["ci"] => ci::run(),
        ["readme"] => quickstart::run(),
        ["api", ref args @ ..] => api::run(args),
        ["tidy", ref args @ ..] => tidy::run(args),
        ["bench", ref args @ ..] => bench::run(args),
        ["fuzz", ref args @ ..] => fuzz::run(args),
        ["histories", ref args @ ..] => histories::run(args),
        ["http-cache-tests", ref args @ ..] => http_cache_tests::run(args),
        ["servers", ref args @ ..] => servers::run(args),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("\nxtask: {err:#}");
            ExitCode::FAILURE
        }
    }
}
