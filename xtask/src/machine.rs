//! The machine of a measurement: figures mean little without it.

use std::{env::consts, fs, num::NonZero, thread};

use anyhow::Result;

use crate::shell::Shell;

/// Returns processor, cores, system and compiler in one line, without the machine's name.
pub(crate) fn describe() -> Result<String> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let rustc = Shell::new("rustc --version").read()?;
    let (model, system) = (processor(), system());
    Ok(format!("{model}, {cores} cores; {system}; {}", rustc.trim()))
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
    fn values_are_found_by_their_whole_name() {
        let text =
            "NAME=\"x\"\nmodel\t\t: 6\nmodel name\t: A  CPU\nPRETTY_NAME=\"Some Linux 12\"\n";
        assert_eq!(value(text, "model name", ':').as_deref(), Some("A  CPU"));
        assert_eq!(value(text, "PRETTY_NAME", '=').as_deref(), Some("Some Linux 12"));
        assert_eq!(value(text, "gone", '='), None);
    }
}
