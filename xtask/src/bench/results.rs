//! The results of a run: lines of JSON, as `cargo xtask bench --json` writes them.

use std::collections::HashMap;

use anyhow::{Context, Result};
use serde_json::Value;

/// All lines of one or several passes.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// Machine, date and versions, if the run noted them.
    pub(super) about: Option<About>,
    lines: HashMap<Key, Vec<[f64; 3]>>,
}

/// Where and when the run was made.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) machine: String,
    pub(super) date: String,
    /// The load average when the run began.
    pub(super) load: String,
    pub(super) versions: String,
}

/// A measured case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured<'a> {
    pub(super) suite: &'a str,
    pub(super) case: &'a str,
    pub(super) runtime: &'a str,
    pub(super) tasks: usize,
    pub(super) value_bytes: usize,
}

/// The medians of all passes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) ours: f64,
    pub(super) theirs: f64,
    pub(super) ratio: f64,
    /// The lowest and the highest ratio of a pass.
    pub(super) range: [f64; 2],
    pub(super) unit: String,
}

type Key = (String, String, String, u64, u64, String, String);

impl Results {
    /// Parses the lines. Several lines of one case and peer are its passes.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut res = Self::default();
        for (i, line) in text.lines().enumerate().filter(|it| !it.1.trim().is_empty()) {
            res.add(line).with_context(|| format!("line {} of the results", i + 1))?;
        }
        Ok(res)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        let line: Value = serde_json::from_str(line)?;
        let text = |name: &str| {
            let text = line[name].as_str().with_context(|| format!("no text `{name}`"));
            text.map(String::from)
        };
        let number = |name: &str| line[name].as_f64().with_context(|| format!("no `{name}`"));
        let count = |name: &str| line[name].as_u64().with_context(|| format!("no `{name}`"));
        if line.get("machine").is_some() {
            let [machine, date] = [text("machine")?, text("date")?];
            let [load, versions] = [text("load")?, text("versions")?];
            self.about = Some(About { machine, date, load, versions });
            return Ok(());
        }
        let key = (
            text("suite")?,
            text("case")?,
            text("runtime")?,
            count("tasks")?,
            count("value_bytes")?,
            text("peer")?,
            text("unit")?,
        );
        let figures = [number("ours")?, number("theirs")?, number("ratio")?];
        self.lines.entry(key).or_default().push(figures);
        Ok(())
    }

    /// Returns the number of passes.
    pub(super) fn passes(&self) -> usize {
        self.lines.values().map(Vec::len).max().unwrap_or_default()
    }

    /// Returns the figures next to the first of these peers that was measured, in one of these
    /// units.
    pub(super) fn find(
        &self,
        it: &Measured<'_>,
        peers: &[&str],
        units: &dyn Fn(&str) -> bool,
    ) -> Option<Figures> {
        let found = |peer: &&str| {
            self.lines.iter().find(|(key, _)| {
                let (suite, case, runtime, tasks, bytes, name, unit) = key;
                [suite, case, runtime, name] == [it.suite, it.case, it.runtime, peer]
                    && [*tasks, *bytes] == [it.tasks as u64, it.value_bytes as u64]
                    && units(unit)
            })
        };
        let (key, passes) = peers.iter().find_map(found)?;
        let column = |i: usize| {
            let mut all: Vec<f64> = passes.iter().map(|it| it[i]).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let ratios = column(2);
        Some(Figures {
            ours: median(&column(0)),
            theirs: median(&column(1)),
            ratio: median(&ratios),
            range: [ratios[0], ratios[ratios.len() - 1]],
            unit: key.6.clone(),
        })
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(peer: &str, unit: &str, ours: f64, ratio: f64) -> String {
        format!(
            r#"{{"suite":"redis","case":"get","runtime":"multi_thread","tasks":64,"value_bytes":100,"ours":{ours},"peer":"{peer}","theirs":5.0,"unit":"{unit}","ratio":{ratio}}}"#
        )
    }

    const GET: Measured<'_> = Measured {
        suite: "redis",
        case: "get",
        runtime: "multi_thread",
        tasks: 64,
        value_bytes: 100,
    };

    #[test]
    fn passes_are_combined_to_their_medians() {
        let lines = [
            line("redis", "ops/s", 9.0, 1.5),
            line("redis", "ops/s", 7.0, 1.1),
            line("redis", "ops/s", 8.0, 1.4),
            line("redis", "allocations", 4.0, 2.0),
        ];
        let results = Results::parse(&lines.join("\n")).unwrap();
        assert_eq!(results.passes(), 3);
        let found = results.find(&GET, &["gone", "redis"], &|it| it != "allocations").unwrap();
        assert_eq!((found.ours, found.theirs, found.ratio), (8.0, 5.0, 1.4));
        assert_eq!((found.range, &*found.unit), ([1.1, 1.5], "ops/s"));
        assert!(results.find(&GET, &["django"], &|_| true).is_none());
        assert!(results.find(&Measured { tasks: 1, ..GET }, &["redis"], &|_| true).is_none());
    }

    #[test]
    fn line_about_the_machine_is_not_a_result() {
        let about = r#"{"machine":"A CPU","date":"2026-01-31","load":"0.10","versions":"moka 1"}"#;
        let about = Results::parse(about).unwrap().about.unwrap();
        assert_eq!((&*about.machine, &*about.date), ("A CPU", "2026-01-31"));
    }

    #[test]
    fn line_without_a_field_is_an_error_with_its_number() {
        let text = format!("{}\n{{\"suite\":\"redis\"}}", line("redis", "ns", 1.0, 1.0));
        let err = Results::parse(&text).unwrap_err();
        assert_eq!(format!("{err:#}"), "line 2 of the results: no text `case`");
    }
}
