//! The fast part: free space and the files that changed last. It is soon out of date, so it is
//! cached for 30 s only.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::walk::walk;

/// The number of changed files that are shown.
const RECENT: usize = 10;

/// The state of a disk, which changes all the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Disk {
    /// `None` on platforms other than Unix.
    pub(crate) space: Option<Space>,
    /// The latest first.
    pub(crate) recent: Vec<Changed>,
}

/// Free and total space in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Space {
    pub(crate) free: u64,
    pub(crate) total: u64,
}

/// A file that changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Changed {
    /// Seconds since 1970. An age would be wrong as soon as it is cached.
    pub(crate) at: u64,
    /// The path relative to the folder. Bytes that are not UTF-8 are replaced.
    pub(crate) path: String,
}

impl Disk {
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        // The oldest of the latest files is on top, and a later file replaces it.
        let mut latest = BinaryHeap::new();
        walk(folder, |entry| {
            let Ok(at) = entry.metadata().and_then(|it| it.modified()) else { return };
            let path = entry.path();
            let path = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            latest.push(Reverse(Changed { at: since_1970(at), path }));
            if latest.len() > RECENT {
                latest.pop();
            }
        })?;
        let recent = latest.into_sorted_vec().into_iter().map(|Reverse(it)| it).collect();
        Ok(Self { space: space(folder)?, recent })
    }
}

/// Returns the seconds since 1970, or 0 for an earlier time.
pub(crate) fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

#[cfg(unix)]
fn space(folder: &Path) -> io::Result<Option<Space>> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(Some(Space { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize }))
}

#[cfg(not(unix))]
fn space(_: &Path) -> io::Result<Option<Space>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    #[test]
    fn files_are_listed_from_the_latest_change() {
        let root = tempfile::tempdir().unwrap();
        for i in 0..20 {
            let file = File::create(root.path().join(format!("{i}.txt"))).unwrap();
            // In another order than the names.
            let at = Duration::from_secs(1_000_000 + (i * 7) % 20);
            file.set_modified(UNIX_EPOCH + at).unwrap();
        }
        let recent = Disk::read(root.path()).unwrap().recent;
        let ats: Vec<u64> = recent.iter().map(|it| it.at - 1_000_000).collect();
        assert_eq!(ats, [19, 18, 17, 16, 15, 14, 13, 12, 11, 10]);
        assert_eq!(recent[0].path, "17.txt");
    }

    #[cfg(unix)]
    #[test]
    fn free_space_is_at_most_the_total_space() {
        let root = tempfile::tempdir().unwrap();
        let space = Disk::read(root.path()).unwrap().space.unwrap();
        assert!(0 < space.total && space.free <= space.total, "{space:?}");
    }

    #[test]
    fn time_before_1970_is_zero() {
        assert_eq!(since_1970(UNIX_EPOCH - Duration::from_secs(5)), 0);
    }
}
