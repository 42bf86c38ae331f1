//! The checks of a history. Each is sound: it reports only histories that break a promise.

mod ages;
mod checked;
mod counters;
mod entries;
mod linear;
mod locks;
mod report;
mod staleness;
mod values;

use self::checked::Checked;
pub use self::{
    ages::Staleness,
    checked::{Limits, TAG_STALENESS},
    report::{Report, Violation},
};
use crate::history::History;

/// Checks a history.
pub fn check(history: &History, limits: Limits) -> Report {
    let checked = Checked::new(history, limits);
    let mut res = Report::default();
    for name in ["entry", "short", "room"] {
        for (_, operations) in history.by_key(name) {
            entries::check(&checked, &operations, &mut res);
        }
    }
    for name in ["counter", "update"] {
        for (_, operations) in history.by_key(name) {
            res.violations.extend(counters::check(&checked, &operations));
        }
    }
    for (_, operations) in history.by_key("lock") {
        res.violations.extend(locks::check(&checked, &operations));
    }
    for name in ["value", "own", "tagged", "space", "revised"] {
        for (_, operations) in history.by_key(name) {
            let violation = values::check(&checked, &operations, &mut res.staleness);
            res.violations.extend(violation);
        }
    }
    if checked.has_near() {
        for name in ["near", "entry", "short", "room"] {
            for (_, operations) in history.by_key(name) {
                staleness::entries(&checked, &operations, &mut res);
            }
        }
        for name in ["counter", "update"] {
            for (_, operations) in history.by_key(name) {
                staleness::counters(&checked, &operations, &mut res);
            }
        }
    }
    res
}
