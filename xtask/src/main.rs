//! The commands of this workspace, in Rust so that they need nothing but a toolchain.

mod bench;
mod ci;
mod fuzz;
mod graph;
mod machine;
mod quickstart;
mod report;
mod servers;
mod shell;
mod test;
mod tidy;
mod workspace;

use std::{env, process::ExitCode};

const USAGE: &str = "\
Usage: cargo xtask <command>

  test   runs every test that there is, with what it needs
  ci     runs the checks: format, lints, docs, the book, features, dependencies, tidy, fuzzing
  readme follows the README's five minutes and adds what the book's chapters add
  tidy [PATH…]
         checks the rules that no other tool knows; with paths, shows what exceptions hide there
  bench [--quick] [SUITE[/CASE]…] [--json FILE]
         measures the caches beside their engines and peers; all suites if none is named
  fuzz [TARGET…] [--seconds N | --runs N]
         gives what reads foreign bytes any bytes; all targets, 30 seconds each, if nothing else is said
  servers [--env] [NAME…]
         starts servers to try things with: redis, memcached, postgres, replicas, sentinel, cluster
  servers --install
         installs what tests need and is missing";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["test"] => test::run(),
        ["ci"] => ci::run(),
        ["readme"] => quickstart::run(),
        ["tidy", ref args @ ..] => tidy::run(args),
        ["bench", ref args @ ..] => bench::run(args),
        ["fuzz", ref args @ ..] => fuzz::run(args),
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
