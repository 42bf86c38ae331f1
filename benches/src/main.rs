//! Runs suites: `benches [--quick] [--published] [--json FILE] [SUITE[/CASE]…]`. With
//! `--published`, only the cases of the published tables run.

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use benches::{
    harness::{Bench, Effort, Report, Selection},
    peers, published,
    suites::{SUITES, Suite, memory},
};

/// Prints the versions of the peers in Python.
const VERSIONS: &str = "--versions";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        // The memory suite starts this program to weigh a contender in its own process.
        [memory::WEIGH, name, how] => memory::weigh(name, how),
        [VERSIONS] => {
            println!("{}", peers::versions());
            Ok(())
        }
        _ => run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("benches: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    let (mut effort, mut json, mut wanted) = (Effort::FULL, None, Vec::new());
    let mut is_published = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--quick" => effort = Effort::QUICK,
            "--published" => is_published = true,
            "--json" => json = Some(PathBuf::from(args.next().context("--json needs a file")?)),
            name => {
                let (name, case) =
                    name.split_once('/').map_or((name, None), |it| (it.0, Some(it.1)));
                wanted.push((suite(name)?, case));
            }
        }
    }
    if wanted.is_empty() {
        wanted.extend(SUITES.iter().map(|it| (it, None)));
    }
    if is_published && !effort.quick {
        effort = Effort::PUBLISHED;
    }
    let mut report = Report::new(json.as_deref())?;
    for (suite, case) in wanted {
        let selection = match case {
            Some(case) => Selection::Name(case),
            None if is_published => Selection::Published(published::of(suite)),
            None => Selection::All,
        };
        if !matches!(selection, Selection::Published([])) {
            (suite.run)(&mut Bench::new(suite.name, selection, effort, &mut report))?;
        }
    }
    Ok(())
}

fn suite(name: &str) -> Result<&'static Suite> {
    let Some(found) = SUITES.iter().find(|it| it.name == name) else {
        let names: Vec<&str> = SUITES.iter().map(|it| it.name).collect();
        bail!("there is no suite `{name}`; there are: {}", names.join(", "));
    };
    Ok(found)
}
