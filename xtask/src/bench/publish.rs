//! Writes the results of a run into `docs`: the tables into the regions of the page, and the plots.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{
    comparison::of_row,
    markdown::{about, missed, slower, table},
    page,
    plot::all_plots,
    results::Results,
    tables::{Row, TABLES, Table},
};

const PAGE: &str = "docs/performance.md";
/// The folder of the plots: the sources of the book, because its pages contain nothing else.
const PLOTS: &str = "docs/src";

/// Writes the page and the plots of the workspace at `root`.
pub(super) fn publish(root: &Path, results: &Results) -> Result<()> {
    let page = root.join(PAGE);
    let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let text = page::replaced(&text, &regions(results)).context(PAGE)?;
    for (region, call, tasks) in unmeasured(results) {
        println!("no result for the table `{region}`: {call}, {tasks} tasks");
    }
    let plots = root.join(PLOTS);
    fs::create_dir_all(&plots)?;
    for (name, svg) in all_plots(results) {
        fs::write(plots.join(name), svg)?;
    }
    Ok(fs::write(page, text)?)
}

/// Returns the regions of the page and their texts.
fn regions(results: &Results) -> Vec<(&'static str, String)> {
    let mut res =
        vec![("about", about(results)), ("slower", slower(results)), ("missed", missed(results))];
    res.extend(TABLES.iter().map(|it| (it.region, table(results, it))));
    res
}

/// Returns the rows without any figure: the table, the call and the number of tasks.
fn unmeasured(results: &Results) -> Vec<(&'static str, &'static str, usize)> {
    let rows = TABLES.iter().flat_map(|table| table.rows.iter().map(move |row| (table, row)));
    let is_missing = |(table, row): &(&'static Table, &'static Row)| {
        of_row(results, table, row).iter().all(Option::is_none)
    };
    rows.filter(is_missing).map(|(table, row)| (table.region, row.call, row.tasks)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    fn line(case: &str, peer: &str, unit: &str, figures: [f64; 3]) -> String {
        let [ours, theirs, ratio] = figures;
        format!(
            r#"{{"suite":"redis","case":"{case}","runtime":"current_thread","tasks":1,"value_bytes":100,"ours":{ours},"peer":"{peer}","theirs":{theirs},"unit":"{unit}","ratio":{ratio}}}"#
        )
    }

    fn results() -> Results {
        let lines = [
            r#"{"machine":"A CPU, 2 cores","date":"2026-01-31","load":"0.10","versions":"moka 1"}"#
                .into(),
            line("get", "redis", "ns", [10_000.0, 9_000.0, 0.9]),
            line("get", "redis", "ns", [10_000.0, 9_500.0, 0.95]),
            line("get_cpu", "redis", "ns CPU", [5_000.0, 6_000.0, 1.2]),
            line("get", "redis", "allocations", [4.0, 7.0, 1.75]),
            line("get", "django", "ns", [10_000.0, 110_000.0, 11.0]),
        ];
        Results::parse(&lines.join("\n")).unwrap()
    }

    fn region(name: &str) -> String {
        regions(&results()).into_iter().find(|it| it.0 == name).unwrap().1
    }

    #[test]
    fn table_has_ratio_goal_processor_time_and_allocations() {
        assert_eq!(
            region("redis"),
            "| call | value | tasks | `current_thread`: ours | `redis` | ratio | goal | CPU: ours, peer | allocations: ours, peer |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|\n\
             | `get` | 100 B | 1 | 10.0 µs | 9.25 µs | **0.93** | ≥ 1.1 | 5.00 µs, 6.00 µs | 4, 7 |\n"
        );
    }

    #[test]
    fn slower_calls_and_missed_goals_are_named_with_their_worst_case() {
        let slower = region("slower");
        let row = "| Redis | `get` | `redis` | 100 B, 1 task, `current_thread` | 0.93 | 0.90 to 0.95 | 1 of 1 |";
        assert!(slower.contains(row) && !slower.contains("Django"), "{slower}");
        let missed = region("missed");
        assert!(missed.starts_with("Of 1 goals next to a peer, 0 are met."), "{missed}");
        assert!(missed.contains("| 0.93 | ≥ 1.1 | 1 of 1 |"), "{missed}");
        assert!(region("about").contains("2026-01-31: A CPU, 2 cores."), "{}", region("about"));
    }

    #[test]
    fn peers_in_python_are_in_their_table() {
        let python = region("python");
        assert!(
            python.contains("| Redis `get` | 100 B | 1 | 10.0 µs | 110 µs | 11.0 |"),
            "{python}"
        );
    }

    #[test]
    fn tables_without_results_say_so() {
        assert_eq!(region("memory"), "*Not measured in this run.*\n");
    }

    #[test]
    fn rows_without_a_result_are_named() {
        let missing = unmeasured(&results());
        assert!(missing.contains(&("redis", "`get`", 8)), "{missing:?}");
        let alone = missing.iter().filter(|it| **it == ("redis", "`get`", 1)).count();
        assert_eq!(alone, 1, "that of 10 KB, and not that of 100 B: {missing:?}");
        let all: usize = TABLES.iter().map(|it| it.rows.len()).sum();
        assert_eq!(unmeasured(&Results::default()).len(), all);
    }

    #[test]
    fn page_of_the_workspace_has_all_regions() {
        let page = fs::read_to_string(workspace::root().join(PAGE)).unwrap();
        let written = page::replaced(&page, &regions(&results())).unwrap();
        assert!(written.contains("A CPU, 2 cores"), "{written}");
    }

    #[test]
    fn page_and_plots_are_written() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("docs")).unwrap();
        let empty =
            |it: &(&str, String)| format!("<!-- bench: {} -->\n<!-- bench: end -->\n", it.0);
        let empty: Vec<String> = regions(&results()).iter().map(empty).collect();
        fs::write(root.path().join(PAGE), format!("Prose.\n{}", empty.concat())).unwrap();
        publish(root.path(), &results()).unwrap();
        let page = fs::read_to_string(root.path().join(PAGE)).unwrap();
        assert!(page.starts_with("Prose.\n") && page.contains("10.0 µs"), "{page}");
        let plot =
            fs::read_to_string(root.path().join(PLOTS).join("performance-ratios.svg")).unwrap();
        assert!(plot.contains(">0.93<"), "{plot}");
    }
}
