//! The parts of a table.

/// A table.
#[derive(Debug)]
pub(in crate::bench) struct Table {
    /// The name of the region of the page.
    pub(in crate::bench) region: &'static str,
    /// The name of the store in the summary and in the plot.
    pub(in crate::bench) title: &'static str,
    pub(in crate::bench) peers: &'static [Peer],
    pub(in crate::bench) rows: &'static [Row],
}

/// A column of a table.
#[derive(Debug)]
pub(in crate::bench) struct Peer {
    pub(in crate::bench) heading: &'static str,
    /// The runtime; if empty, that of the row.
    pub(in crate::bench) runtime: &'static str,
    /// The names in the results: the first that was measured.
    pub(in crate::bench) names: &'static [&'static str],
    /// Whether it is this library with other settings: not a peer to be faster than.
    pub(in crate::bench) is_own: bool,
}

/// A row of a table.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Row {
    /// The text of the row.
    pub(in crate::bench) call: &'static str,
    pub(in crate::bench) suite: &'static str,
    pub(in crate::bench) case: &'static str,
    pub(in crate::bench) runtime: &'static str,
    pub(in crate::bench) tasks: usize,
    pub(in crate::bench) value_bytes: usize,
    /// The goals next to each peer, in the order of the peers.
    pub(in crate::bench) goals: &'static [Goal],
    /// Otherwise, it only counts among the rows that are slower than a peer.
    pub(in crate::bench) is_shown: bool,
    pub(in crate::bench) is_plotted: bool,
}

/// A goal of a row, next to one peer.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) enum Goal {
    None,
    /// The lowest ratio.
    Ratio(f64),
    /// The most nanoseconds that ours may take longer.
    Extra(f64),
}

pub(super) const CURRENT: &str = "current_thread";
pub(super) const MULTI: &str = "multi_thread";

impl Row {
    pub(super) const fn new(
        call: &'static str,
        suite: &'static str,
        case: &'static str,
        tasks: usize,
        value_bytes: usize,
    ) -> Self {
        let (runtime, goals) = (CURRENT, &[]);
        let (is_shown, is_plotted) = (true, false);
        Self { call, suite, case, runtime, tasks, value_bytes, goals, is_shown, is_plotted }
    }

    pub(super) const fn on(self, runtime: &'static str) -> Self {
        Self { runtime, ..self }
    }

    pub(super) const fn goals(self, goals: &'static [Goal]) -> Self {
        Self { goals, ..self }
    }

    pub(super) const fn hidden(self) -> Self {
        Self { is_shown: false, ..self }
    }

    pub(super) const fn plotted(self) -> Self {
        Self { is_plotted: true, ..self }
    }
}

pub(super) const fn peer(heading: &'static str, names: &'static [&'static str]) -> Peer {
    Peer { heading, runtime: "", names, is_own: false }
}

pub(super) const fn own(heading: &'static str, names: &'static [&'static str]) -> Peer {
    Peer { heading, runtime: "", names, is_own: true }
}

pub(super) const fn in_runtime(
    runtime: &'static str,
    heading: &'static str,
    names: &'static [&'static str],
) -> Peer {
    Peer { heading, runtime, names, is_own: false }
}
