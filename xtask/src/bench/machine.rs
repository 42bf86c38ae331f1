//! The machine of a measurement: figures mean little without it.

use std::{env::consts, fs, num::NonZero, path::Path, thread};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{shell::Shell, workspace};

/// Returns processor, cores, system and compiler in one line, without the machine's name.
pub(super) fn describe() -> Result<String> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let rustc = Shell::new("rustc --version").read()?;
    let (model, system) = (processor(), system());
    Ok(format!("{model}, {cores} cores; {system}; {}", rustc.trim()))
}

/// Returns the load average of the last minute.
pub(super) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().filter(|it| !it.is_empty()).unwrap_or("unknown").to_owned()
}

/// Begins a file of results with a line about the machine, the date and the versions.
pub(super) fn write(file: &Path, machine: &str, load: &str, peers: &str) -> Result<()> {
    let date = Shell::new("date -u +%F").read()?;
    let mut versions = servers();
    versions.extend(crates()?);
    versions.push(peers.to_owned());
    let versions = versions.join(", ");
    let line = json!({
        "machine": machine, "date": date.trim(), "load": load, "versions": versions,
    });
    fs::write(file, format!("{line}\n")).with_context(|| file.display().to_string())
}

/// Returns the versions of the servers that are installed.
fn servers() -> Vec<String> {
    let mut programs = vec![
        ("redis-server --version".to_owned(), "redis-server"),
        ("memcached --version".to_owned(), "memcached"),
        ("postgres --version".to_owned(), "PostgreSQL"),
    ];
    // Where Debian has the server, which is not in the path.
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    programs.extend(installed.map(|it| {
        let program = it.path().join("bin/postgres");
        (format!("{} --version", program.display()), "PostgreSQL")
    }));
    let version = |(command, name): (String, &str)| {
        let told = Shell::new(&command).peek()?;
        let version = told
            .split([' ', '=', '\n'])
            .find(|it| it.starts_with(|it: char| it.is_ascii_digit()) && it.contains('.'))?;
        Some(format!("{name} {version}"))
    };
    let mut versions: Vec<String> = programs.into_iter().filter_map(version).collect();
    // One server may be found in both ways.
    versions.dedup();
    versions
}

/// Returns the versions of the crates that are peers.
fn crates() -> Result<Vec<String>> {
    const PEERS: [&str; 9] = [
        "cached",
        "cachet",
        "cacache",
        "memcache",
        "moka",
        "quick_cache",
        "redis",
        "rusqlite",
        "tokio-postgres",
    ];
    let lock = workspace::read_manifest(&workspace::root().join("Cargo.lock"))?;
    let packages = lock.get("package").and_then(|it| it.as_array()).into_iter().flatten();
    let text = |it: &toml::Value, name: &str| Some(it.get(name)?.as_str()?.to_owned());
    Ok(packages
        .filter_map(|it| Some((text(it, "name")?, text(it, "version")?)))
        .filter(|(name, _)| PEERS.contains(&&**name))
        .map(|(name, version)| format!("{name} {version}"))
        .collect())
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let told = value(&info, "model name", ':').or_else(|| {
        let sysctl = Shell::new("sysctl -n machdep.cpu.brand_string");
        if sysctl.succeeds() { sysctl.read().ok() } else { None }
    });
    told.map_or_else(|| consts::ARCH.to_owned(), |it| it.trim().to_owned())
}

fn system() -> String {
    let info = fs::read_to_string("/etc/os-release").unwrap_or_default();
    value(&info, "PRETTY_NAME", '=').unwrap_or_else(|| consts::OS.to_owned())
}

/// Returns the value of the first line `name <between> value`, without quotes.
fn value(text: &str, name: &str, between: char) -> Option<String> {
    let mut lines = text.lines().filter_map(|it| it.split_once(between));
    let (_, value) = lines.find(|it| it.0.trim() == name)?;
    Some(value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_compiler() {
        let line = describe().unwrap();
        assert!(line.contains("cores; ") && line.contains("; rustc 1."), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn first_line_of_the_results_has_date_and_versions() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("results.json");
        write(&file, "A CPU", "0.10", "django 5").unwrap();
        let line: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let versions = line["versions"].as_str().unwrap();
        assert!(versions.contains("moka 0.") && versions.ends_with(", django 5"), "{versions}");
        assert_eq!(line["date"].as_str().unwrap().len(), "2026-01-31".len());
        assert_eq!(line["machine"], "A CPU");
    }

    #[test]
    fn values_are_found_by_their_whole_name() {
        let text =
            "NAME=\"x\"\nmodel\t\t: 6\nmodel name\t: A  CPU\nPRETTY_NAME=\"Some Linux 12\"\n";
        assert_eq!(value(text, "model name", ':').as_deref(), Some("A  CPU"));
        assert_eq!(value(text, "PRETTY_NAME", '=').as_deref(), Some("Some Linux 12"));
        assert_eq!(value(text, "gone", '='), None);
    }
}
