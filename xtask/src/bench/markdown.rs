//! The tables as Markdown.

use std::collections::BTreeMap;

use super::{
    comparison::{Comparison, all, allocations, of_row, processors},
    quantity::{number, quantity, size},
    results::{Figures, Results},
    tables::{Goal, Peer, Row, TABLES, Table},
};

/// The text of a region without results.
const NOT_MEASURED: &str = "*Not measured in this run.*\n";

/// Returns where and how the results were measured.
pub(super) fn about(results: &Results) -> String {
    let Some(about) = &results.about else { return NOT_MEASURED.into() };
    let (machine, passes) = (&about.machine, results.passes());
    format!(
        "{}: {machine}. Load average before the run: {}. Medians of {passes} passes.\n\nVersions: {}.\n",
        about.date, about.load, about.versions
    )
}

/// Returns the cases in which ours is slower than a peer: the worst of each call.
pub(super) fn slower(results: &Results) -> String {
    let all = all(results, &TABLES);
    let mut slower = worst(all.iter().filter(|it| !it.peer.is_own), Comparison::is_slower, |it| {
        it.figures.ratio
    });
    slower.sort_by(|a, b| a.0.figures.ratio.total_cmp(&b.0.figures.ratio));
    let heading = ["store", "call", "slower than", "at worst", "ratio", "of the passes", "cases"];
    let mut grid = vec![heading.map(String::from).to_vec()];
    for (it, count) in slower {
        let [low, high] = it.figures.range;
        grid.push(vec![
            it.table.title.to_owned(),
            it.row.call.to_owned(),
            it.peer.heading.to_owned(),
            place(it),
            format!("{:.2}", it.figures.ratio),
            format!("{low:.2} to {high:.2}"),
            count,
        ]);
    }
    match grid.len() {
        1 if all.is_empty() => NOT_MEASURED.into(),
        1 => "In no measured case.\n".into(),
        _ => aligned(&grid, 4),
    }
}

/// Returns the goals that were missed: the worst case of each call.
pub(super) fn missed(results: &Results) -> String {
    let all = all(results, &TABLES);
    let goals: Vec<&Comparison> = all.iter().filter(|it| it.is_met().is_some()).collect();
    if goals.is_empty() {
        return NOT_MEASURED.into();
    }
    let met = goals.iter().filter(|it| it.is_met() == Some(true)).count();
    let summary = format!("Of {} goals next to a peer, {met} are met.", goals.len());
    if met == goals.len() {
        return format!("{summary}\n");
    }
    let heading = ["store", "call", "peer", "at worst", "measured", "goal", "missed"];
    let mut grid = vec![heading.map(String::from).to_vec()];
    let is_missed = |it: &Comparison| it.is_met() == Some(false);
    for (it, count) in worst(goals.into_iter(), is_missed, Comparison::of_goal) {
        grid.push(vec![
            it.table.title.to_owned(),
            it.row.call.to_owned(),
            it.peer.heading.to_owned(),
            place(it),
            match it.goal {
                Goal::Extra(_) => format!("{:+.0} ns", it.extra()),
                _ => format!("{:.2}", it.figures.ratio),
            },
            goal(it.goal),
            count,
        ]);
    }
    format!("{summary} These are missed:\n\n{}", aligned(&grid, 4))
}

/// Returns the worst bad case of each call next to each peer, the one with the lowest rank, and the
/// number of bad cases.
fn worst<'a>(
    all: impl Iterator<Item = &'a Comparison>,
    is_bad: impl Fn(&Comparison) -> bool,
    rank: impl Fn(&Comparison) -> f64,
) -> Vec<(&'a Comparison, String)> {
    let mut calls: BTreeMap<_, Vec<&Comparison>> = BTreeMap::new();
    for it in all {
        calls.entry((it.table.title, it.row.call, it.peer.heading)).or_default().push(it);
    }
    let of_call = |cases: Vec<&'a Comparison>| {
        let bad = cases.iter().copied().filter(|it| is_bad(it));
        let count = format!("{} of {}", bad.clone().count(), cases.len());
        Some((bad.min_by(|a, b| rank(a).total_cmp(&rank(b)))?, count))
    };
    calls.into_values().filter_map(of_call).collect()
}

/// Returns the table, with the rows and the peers that were measured.
pub(super) fn table(results: &Results, table: &'static Table) -> String {
    let rows: Vec<(&Row, Vec<Option<Comparison>>)> = table
        .rows
        .iter()
        .filter(|row| row.is_shown)
        .map(|row| (row, of_row(results, table, row)))
        .filter(|(_, cells)| cells.iter().any(Option::is_some))
        .collect();
    if rows.is_empty() {
        return NOT_MEASURED.into();
    }
    let there = |i: &usize| rows.iter().any(|(_, cells)| cells[*i].is_some());
    let peers: Vec<usize> = (0..table.peers.len()).filter(there).collect();
    let mut grid = vec![heading(table, &peers)];
    grid.extend(rows.iter().map(|(row, cells)| line(results, row, table, &peers, cells)));
    // A column without any figure says nothing.
    for column in (3..grid[0].len()).rev() {
        if grid[1..].iter().all(|it| it[column] == DASH) {
            for it in &mut grid {
                it.remove(column);
            }
        }
    }
    aligned(&grid, 1)
}

fn heading(table: &Table, peers: &[usize]) -> Vec<String> {
    let mut res = ["call", "value", "tasks"].map(String::from).to_vec();
    for (i, peer) in peers.iter().map(|it| &table.peers[*it]).enumerate() {
        if is_first_of_runtime(table, peers, i) {
            let runtime = peer.runtime;
            res.push(if runtime.is_empty() { "ours".into() } else { format!("`{runtime}`: ours") });
        }
        res.extend([peer.heading, "ratio"].map(String::from));
    }
    res.extend(["goal", "CPU: ours, peer", "allocations: ours, peer"].map(String::from));
    res
}

fn line(
    results: &Results,
    row: &Row,
    table: &'static Table,
    peers: &[usize],
    cells: &[Option<Comparison>],
) -> Vec<String> {
    let mut res = vec![row.call.to_owned(), size(row.value_bytes), row.tasks.to_string()];
    for (i, peer) in peers.iter().enumerate() {
        if is_first_of_runtime(table, peers, i) {
            let runtime = table.peers[*peer].runtime;
            let same = cells.iter().flatten().find(|it| it.peer.runtime == runtime);
            res.push(or_dash(same.map(|it| quantity(it.figures.ours, &it.figures.unit))));
        }
        let cell = cells[*peer].as_ref();
        res.push(or_dash(cell.map(|it| quantity(it.figures.theirs, &it.figures.unit))));
        res.push(or_dash(cell.map(ratio)));
    }
    let mut goals: Vec<String> =
        cells.iter().flatten().filter(|it| it.is_met().is_some()).map(told_goal).collect();
    goals.dedup();
    res.push(or_dash((!goals.is_empty()).then(|| goals.join(", "))));
    let both = |find: fn(&Results, &Row, &Peer) -> Option<Figures>| {
        let found = table.peers.iter().find_map(|peer| find(results, row, peer));
        or_dash(found.map(|it| {
            let [ours, theirs] = [it.ours, it.theirs].map(|figure| quantity(figure, &it.unit));
            format!("{ours}, {theirs}")
        }))
    };
    res.push(both(processors));
    res.push(if row.tasks == 1 { both(allocations) } else { DASH.into() });
    res
}

/// Whether the figures of ours are shown before this peer.
fn is_first_of_runtime(table: &Table, peers: &[usize], i: usize) -> bool {
    i == 0 || table.peers[peers[i]].runtime != table.peers[peers[i - 1]].runtime
}

/// Returns the ratio, in bold if it misses its goal.
fn ratio(it: &Comparison) -> String {
    let ratio = match it.figures.ratio {
        ratio @ 100.0.. => format!("{ratio:.0}"),
        ratio @ 10.0.. => format!("{ratio:.1}"),
        ratio => format!("{ratio:.2}"),
    };
    let is_missed = matches!(it.goal, Goal::Ratio(_)) && it.is_met() == Some(false);
    if is_missed { format!("**{ratio}**") } else { ratio }
}

/// Returns the goal, and for a difference also the measured one.
fn told_goal(it: &Comparison) -> String {
    match it.goal {
        Goal::Extra(_) if it.is_met() == Some(false) => {
            format!("{}: **{:+.0}**", goal(it.goal), it.extra())
        }
        Goal::Extra(_) => format!("{}: {:+.0}", goal(it.goal), it.extra()),
        _ => goal(it.goal),
    }
}

fn goal(goal: Goal) -> String {
    match goal {
        Goal::None => DASH.into(),
        Goal::Ratio(least) => format!("≥ {}", number(least)),
        Goal::Extra(most) => format!("≤ +{} ns", number(most)),
    }
}

/// Returns the size of the value, the number of tasks and the runtime.
fn place(it: &Comparison) -> String {
    let (tasks, bytes) = (it.tasks(), size(it.row.value_bytes));
    match it.runtime() {
        "threads" => format!("{bytes}, {tasks}"),
        runtime => format!("{bytes}, {tasks}, `{runtime}`"),
    }
}

const DASH: &str = "–";

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| DASH.into())
}

/// Returns a Markdown table. The first columns are texts, the others figures.
fn aligned(grid: &[Vec<String>], texts: usize) -> String {
    let mut lines: Vec<String> =
        grid.iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect();
    let rule = |column| if column < texts { "---|" } else { "---:|" };
    let rules: String = (0..grid[0].len()).map(rule).collect();
    lines.insert(1, format!("|{rules}\n"));
    lines.concat()
}
