//! The plots of `docs/performance.md`.

mod bars;
mod lines;
mod svg;

use super::{
    comparison::{Comparison, all},
    results::{Measured, Results},
    tables::TABLES,
};
use bars::{Bar, bars};
use lines::{Panel, Series, lines};

/// The names of the files and their plots.
pub(super) fn all_plots(results: &Results) -> [(&'static str, String); 2] {
    [("performance-ratios.svg", ratios(results)), ("performance-tasks.svg", tasks(results))]
}

/// Plots the ratios of selected rows to each peer.
fn ratios(results: &Results) -> String {
    let all = all(results, &TABLES);
    let plotted = all.iter().filter(|it| it.row.is_plotted && !it.peer.is_own);
    let rows: Vec<Bar> = plotted
        .map(|it| Bar {
            group: it.table.title,
            label: label(it),
            ratio: it.figures.ratio,
            range: it.figures.range,
        })
        .collect();
    bars("How many times as fast as the peer, values of 100 B (logarithmic scale)", &rows)
}

/// Returns the call, the number of tasks, the runtime where the table has several, and the peer.
fn label(it: &Comparison) -> String {
    let runtime = match it.peer.runtime {
        "" => String::new(),
        runtime => format!(", {runtime}"),
    };
    let (call, tasks, peer) = (it.row.call, it.tasks(), it.peer.heading);
    format!("{call}, {tasks}{runtime}: {peer}").replace('`', "")
}

/// Plots the throughput of the network stores by the number of tasks.
fn tasks(results: &Results) -> String {
    let panel = |(store, suite, call, peer): (_, _, _, &str)| Panel {
        title: format!("{store}: {call}, 100 B"),
        series: ["current_thread", "multi_thread"]
            .into_iter()
            .flat_map(|runtime| {
                let [ours, theirs] = throughput(results, suite, call, runtime, peer);
                let is_dashed = runtime == "multi_thread";
                [
                    Series { name: format!("ours, {runtime}"), points: ours, is_dashed },
                    Series { name: format!("{peer}, {runtime}"), points: theirs, is_dashed },
                ]
            })
            .collect(),
    };
    let panels = [
        ("Redis", "redis", "get", "redis"),
        ("Redis", "redis", "set", "redis"),
        ("memcached", "memcached", "get", "memcache"),
        ("memcached", "memcached", "set", "memcache"),
    ];
    lines("Calls per second by number of tasks", &panels.map(panel))
}

/// Returns the calls per second of ours and of the peer, by the number of tasks.
fn throughput(
    results: &Results,
    suite: &str,
    case: &str,
    runtime: &str,
    peer: &str,
) -> [Vec<(f64, f64)>; 2] {
    let mut res = [Vec::new(), Vec::new()];
    for tasks in [1, 8, 64] {
        let measured = Measured { suite, case, runtime, tasks, value_bytes: 100 };
        let is_time = |unit: &str| ["ns", "ops/s"].contains(&unit);
        let Some(found) = results.find(&measured, &[peer], &is_time) else { continue };
        let per_second = |it: f64| if found.unit == "ns" { 1e9 / it } else { it };
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let x = tasks as f64;
        res[0].push((x, per_second(found.ours)));
        res[1].push((x, per_second(found.theirs)));
    }
    res
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(peer: &str, tasks: usize, unit: &str, ours: f64, ratio: f64) -> String {
        let [suite, value] = if peer == "moka" { ["memory", "100"] } else { ["redis", "100"] };
        let runtime = if peer == "moka" { "threads" } else { "current_thread" };
        format!(
            r#"{{"suite":"{suite}","case":"get","runtime":"{runtime}","tasks":{tasks},"value_bytes":{value},"ours":{ours},"peer":"{peer}","theirs":2.0,"unit":"{unit}","ratio":{ratio}}}"#
        )
    }

    fn results() -> Results {
        let lines = [
            line("redis", 1, "ns", 10_000.0, 0.5),
            line("redis", 64, "ops/s", 500_000.0, 1.75),
            line("moka", 4, "ops/s", 8e6, 8.0),
        ];
        Results::parse(&lines.join("\n")).unwrap()
    }

    #[test]
    fn each_plotted_ratio_is_a_bar_on_its_side_of_one() {
        let svg = ratios(&results());
        assert_eq!(svg.matches("class=\"slower\"").count(), 1, "{svg}");
        assert_eq!(svg.matches("class=\"faster\"").count(), 2, "{svg}");
        for text in [">0.50<", ">1.75<", ">8.00<", ">Redis<", ">Memory<"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }

    #[test]
    fn time_of_one_task_is_a_throughput() {
        let [ours, theirs] = throughput(&results(), "redis", "get", "current_thread", "redis");
        assert_eq!(ours, [(1.0, 100_000.0), (64.0, 500_000.0)]);
        assert_eq!(theirs.len(), 2);
        let svg = tasks(&results());
        assert_eq!(svg.matches("<polyline").count(), 2, "{svg}");
    }

    #[test]
    fn plots_without_results_say_so() {
        for (name, svg) in all_plots(&Results::default()) {
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{name}");
            assert!(svg.contains("not measured"), "{name}");
        }
    }
}
