//! One cell of a table: our figure next to that of one peer.

use super::{
    results::{Figures, Measured, Results},
    tables::{Goal, Peer, Row, Table},
};

#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) table: &'static Table,
    pub(super) row: &'static Row,
    pub(super) peer: &'static Peer,
    pub(super) goal: Goal,
    pub(super) figures: Figures,
}

/// Returns all comparisons that were measured, in the order of the tables.
pub(super) fn all(results: &Results, tables: &'static [Table]) -> Vec<Comparison> {
    let rows = tables.iter().flat_map(|table| table.rows.iter().map(move |row| (table, row)));
    rows.flat_map(|(table, row)| of_row(results, table, row).into_iter().flatten()).collect()
}

/// Returns the comparisons of a row with each peer of the table.
pub(super) fn of_row(
    results: &Results,
    table: &'static Table,
    row: &'static Row,
) -> Vec<Option<Comparison>> {
    let compare = |(i, peer): (usize, &'static Peer)| {
        let figures = results.find(&measured(row, peer), peer.names, &is_result)?;
        let goal = row.goals.get(i).copied().unwrap_or(Goal::None);
        Some(Comparison { table, row, peer, goal, figures })
    };
    table.peers.iter().enumerate().map(compare).collect()
}

/// Returns the CPU time of a row next to a peer, in nanoseconds.
pub(super) fn processors(results: &Results, row: &Row, peer: &Peer) -> Option<Figures> {
    let case = format!("{}_cpu", row.case);
    let measured = Measured { case: &case, ..measured(row, peer) };
    results.find(&measured, peer.names, &|unit| unit == "ns CPU")
}

/// Returns the allocations of a row next to a peer. They are counted with one task.
pub(super) fn allocations(results: &Results, row: &Row, peer: &Peer) -> Option<Figures> {
    let measured = Measured { runtime: "current_thread", ..measured(row, peer) };
    results.find(&measured, peer.names, &|unit| unit == "allocations")
}

impl Comparison {
    /// Whether the goal is met, if there is one.
    pub(super) fn is_met(&self) -> Option<bool> {
        match self.goal {
            Goal::None => None,
            Goal::Ratio(least) => Some(self.figures.ratio >= least),
            Goal::Extra(most) => Some(self.extra() <= most),
        }
    }

    /// Returns the measured part of the goal: less than 1 if it is missed.
    pub(super) fn of_goal(&self) -> f64 {
        match self.goal {
            Goal::None => f64::INFINITY,
            Goal::Ratio(least) => self.figures.ratio / least,
            Goal::Extra(most) => most / self.extra(),
        }
    }

    /// Returns how much longer ours takes.
    pub(super) fn extra(&self) -> f64 {
        self.figures.ours - self.figures.theirs
    }

    pub(super) fn runtime(&self) -> &'static str {
        if self.peer.runtime.is_empty() { self.row.runtime } else { self.peer.runtime }
    }

    /// Returns the number of tasks or threads, with the noun.
    pub(super) fn tasks(&self) -> String {
        let noun = if self.runtime() == "threads" { "thread" } else { "task" };
        let plural = if self.row.tasks == 1 { "" } else { "s" };
        format!("{} {noun}{plural}", self.row.tasks)
    }

    /// Whether ours is slower than a peer that is not this library itself.
    pub(super) fn is_slower(&self) -> bool {
        // Two digits are shown.
        !self.peer.is_own && self.figures.ratio < 0.995
    }
}

fn measured<'a>(row: &'a Row, peer: &'a Peer) -> Measured<'a> {
    let Row { suite, case, tasks, value_bytes, .. } = *row;
    let runtime = if peer.runtime.is_empty() { row.runtime } else { peer.runtime };
    Measured { suite, case, runtime, tasks, value_bytes }
}

fn is_result(unit: &str) -> bool {
    !["allocations", "instructions", "ns CPU"].contains(&unit)
}
