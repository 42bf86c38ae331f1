//! `cargo xtask fuzz`: libFuzzer on the targets of the crate `fuzz`, with a stable compiler.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{servers, shell::Shell, workspace};

/// The compiler flags of `cargo fuzz`, without a sanitizer: all of them are stable.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// The seeds for the files of `cache-file`, whose tests read them too.
const FILES: &str = "cache-file/tests/corpus";

/// The options in `cargo xtask ci`: some seconds, and the same inputs each time.
pub(crate) const IN_CI: &[&str] = &["--runs", "5000"];

pub(crate) fn run(args: &[&str]) -> Result<()> {
    let asked = Asked::parse(args, &targets()?)?;
    servers::install_cxx()?;
    let host = Shell::new("rustc --print host-tuple").read()?;
    let host = host.trim();
    let place = workspace::target().join("fuzz");
    // With `--target`, build scripts and macros are built without these flags.
    let build = format!("cargo build --quiet --profile fuzz --package fuzz --target {host}");
    Shell::new(&build).args("--target-dir").arg(shown(&place)).env("RUSTFLAGS", FLAGS).run()?;
    for target in &asked.targets {
        let program = place.join(host).join("fuzz").join(target);
        asked.fuzz(target, &program, &place)?;
    }
    Ok(())
}

/// The options of the command line.
#[derive(Debug, PartialEq)]
struct Asked {
    targets: Vec<String>,
    /// `-max_total_time`, or `-runs`.
    limit: Limit,
}

#[derive(Debug, PartialEq)]
enum Limit {
    /// Continues with the inputs that earlier runs found.
    Seconds(u32),
    /// Starts from the seeds alone with a fixed random seed, so that each run is the same.
    Runs(u32),
}

impl Asked {
    fn parse(args: &[&str], known: &[String]) -> Result<Self> {
        let mut res = Self { targets: Vec::new(), limit: Limit::Seconds(30) };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut number = || -> Result<u32> {
                let it = args.next().and_then(|it| it.parse().ok()).filter(|it| *it > 0);
                it.with_context(|| format!("{arg} needs a number"))
            };
            match *arg {
                "--seconds" => res.limit = Limit::Seconds(number()?),
                "--runs" => res.limit = Limit::Runs(number()?),
                it if known.iter().any(|known| known == it) => res.targets.push(it.to_owned()),
                it => bail!("`{it}` is not a target: {}", known.join(", ")),
            }
        }
        if res.targets.is_empty() {
            res.targets = known.to_vec();
        }
        Ok(res)
    }

    /// Runs one target. New inputs stay below `place`: people choose the seeds.
    fn fuzz(&self, target: &str, program: &Path, place: &Path) -> Result<()> {
        let mut found = place.join("corpus").join(target);
        if let Limit::Runs(_) = self.limit {
            found = place.join("corpus-from-seeds").join(target);
            empty(&found)?;
        }
        let scratch = place.join("scratch");
        // A crash leaves files there.
        empty(&scratch)?;
        let artifacts = place.join("artifacts").join(target);
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&artifacts)?;
        println!("\n{target}: {}", self.limit.options());
        let fuzz = seeds(target)
            .into_iter()
            .fold(Shell::program(shown(program)).arg(shown(&found)), Shell::arg)
            .args(&self.limit.options())
            // More than a page of `cache-file`. No input takes a second.
            .args("-max_len=8192 -timeout=20 -print_final_stats=1 -print_funcs=0 -verbosity=0")
            .arg(format!("-artifact_prefix={}/", shown(&artifacts)))
            .env("TMPDIR", &shown(&scratch));
        let before = files(&artifacts)?;
        let res = match self.limit {
            Limit::Seconds(_) => fuzz.run(),
            Limit::Runs(_) => fuzz.run_quietly(),
        };
        res.map_err(|error| {
            let inputs = files(&artifacts).unwrap_or_default();
            let new: Vec<String> =
                inputs.iter().filter(|it| !before.contains(it)).map(|it| shown(it)).collect();
            let again = format!("cargo run --package fuzz --bin {target} -- {}", new.join(" "));
            error
                .context(format!("{target} fails; the input alone, and without libFuzzer: {again}"))
        })?;
        fs::remove_dir_all(&scratch)?;
        Ok(())
    }
}

impl Limit {
    fn options(&self) -> String {
        match self {
            Self::Seconds(it) => format!("-max_total_time={it}"),
            Self::Runs(it) => format!("-runs={it} -seed=1"),
        }
    }
}

/// Returns the names of all programs of the crate `fuzz`.
fn targets() -> Result<Vec<String>> {
    let names = files(&workspace::root().join("fuzz/fuzz_targets"))?;
    let mut names: Vec<String> =
        names.iter().filter_map(|it| Some(it.file_stem()?.to_str()?.to_owned())).collect();
    names.sort_unstable();
    ensure!(!names.is_empty(), "the crate `fuzz` has no targets");
    Ok(names)
}

/// Returns the folders of a target's seeds, which libFuzzer only reads.
fn seeds(target: &str) -> Vec<String> {
    let own = format!("fuzz/corpus/{target}");
    let of_files = target.starts_with("file_").then(|| FILES.to_owned());
    of_files.into_iter().chain([own]).filter(|it| workspace::root().join(it).is_dir()).collect()
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|it| Ok(it?.path())).collect()
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Asked> {
        let known = ["a".to_owned(), "b".to_owned()];
        Asked::parse(&line.split_whitespace().collect::<Vec<_>>(), &known)
    }

    #[test]
    fn all_targets_run_for_half_a_minute_if_nothing_is_said() {
        let all = Asked { targets: vec!["a".into(), "b".into()], limit: Limit::Seconds(30) };
        assert_eq!(parse("").unwrap(), all);
        let one = Asked { targets: vec!["b".into()], limit: Limit::Seconds(5) };
        assert_eq!(parse("b --seconds 5").unwrap(), one);
        assert_eq!(parse(&IN_CI.join(" ")).unwrap().limit, Limit::Runs(5000));
    }

    #[test]
    fn what_is_unknown_is_named() {
        let told = parse("c").unwrap_err().to_string();
        assert_eq!(told, "`c` is not a target: a, b");
        assert_eq!(parse("--runs").unwrap_err().to_string(), "--runs needs a number");
        assert!(parse("--seconds 0").is_err());
    }

    #[test]
    fn every_target_has_a_program_and_seeds() {
        let manifest = workspace::root().join("fuzz/Cargo.toml");
        let manifest = workspace::read_manifest(&manifest).unwrap();
        let programs = manifest["bin"].as_array().unwrap();
        let programs: Vec<_> = programs.iter().filter_map(|it| it["name"].as_str()).collect();
        assert_eq!(programs, targets().unwrap());
        for target in programs {
            assert!(!seeds(target).is_empty(), "{target}");
        }
    }
}
