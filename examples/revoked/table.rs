//! The roles that were served after each scene.

use std::fmt;

/// A line for each scene, and a column for each alias.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<(&'static str, Vec<(&'static str, String)>)>,
}

impl Table {
    /// Adds the role that another process was served at the end of a scene.
    pub(crate) fn add(&mut self, scene: &'static str, alias: &'static str, served: String) {
        match self.rows.iter_mut().find(|(it, _)| *it == scene) {
            Some((_, cells)) => cells.push((alias, served)),
            None => self.rows.push((scene, vec![(alias, served)])),
        }
    }

    /// Returns whether the alias served a role that was revoked.
    pub(crate) fn is_broken(&self, alias: &str) -> bool {
        let mut cells = self.rows.iter().flat_map(|(_, cells)| cells);
        cells.any(|(it, served)| *it == alias && is_revoked(served))
    }
}

pub(crate) fn is_revoked(served: &str) -> bool {
    served == "admin"
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Served after the delete        default          fenced = true")?;
        for (scene, cells) in &self.rows {
            let served = cells.iter().map(|(_, served)| {
                let mark = if is_revoked(served) { "admin (revoked)" } else { served };
                format!("{mark:<17}")
            });
            let served: Vec<String> = served.collect();
            writeln!(f, "{scene:<31}{}", served.concat().trim_end())?;
        }
        Ok(())
    }
}
