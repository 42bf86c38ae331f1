//! The dashboard as text.

use std::{
    fmt::{self, Display, Formatter},
    time::{Duration, SystemTime},
};

use cache_core::{Stats, layer::Operation};

use crate::{
    census::{Census, Count},
    disk::{Disk, since_1970},
    page::{CENSUS_LIFETIME, DISK_LIFETIME, Page, Part},
};

/// The number of languages with their own line.
const LANGUAGES: usize = 8;

impl Display for Census {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:12} {:>10} {:>12} {:>10}", "", "files", "lines", "size")?;
        let mut languages: Vec<(&str, Count)> =
            self.by_language.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        languages.sort_by_key(|(_, count)| std::cmp::Reverse((count.lines, count.files)));
        let mut rest = Count::default();
        for (_, count) in languages.drain(languages.len().min(LANGUAGES)..) {
            rest += count;
        }
        if rest.files > 0 {
            languages.push(("the rest", rest));
        }
        languages.push(("all", self.all));
        for (name, Count { files, lines, bytes }) in languages {
            let (files, lines, size) = (grouped(files), grouped(lines), size(bytes));
            writeln!(f, "{name:12} {files:>10} {lines:>12} {size:>10}")?;
        }
        if self.unreadable > 0 {
            writeln!(f, "{} more could not be read", grouped(self.unreadable))?;
        }
        Ok(())
    }
}

impl Display for Disk {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(space) = self.space {
            writeln!(f, "{} free of {}", size(space.free), size(space.total))?;
        }
        let now = since_1970(SystemTime::now());
        for file in &self.recent {
            writeln!(f, "{:>12}  {}", age(now.saturating_sub(file.at)), file.path)?;
        }
        Ok(())
    }
}

impl Page {
    /// Returns a line for each part: whether it was loaded, and how long that took.
    pub(crate) fn sources(&self) -> String {
        let visits = match &self.visits {
            Ok(visits) => visits.to_string(),
            Err(err) => format!("unknown: {err}"),
        };
        let census = self.census.source(CENSUS_LIFETIME);
        let disk = self.disk.source(DISK_LIFETIME);
        format!("   census  {census}\n   disk    {disk}\n   visits  {visits}\n")
    }
}

impl<T> Part<T> {
    fn source(&self, lifetime: Duration) -> String {
        let took = time(self.took);
        if self.loaded {
            format!("loaded {took:>9}, kept for {} s", lifetime.as_secs())
        } else {
            format!("hit    {took:>9}")
        }
    }
}

/// Returns a line for each part of concurrent visits: how many visits loaded the part, and how long
/// the slowest visit took.
pub(crate) fn crowd(pages: &[Page]) -> String {
    fn part<T>(parts: &[&Part<T>]) -> String {
        let loaded = parts.iter().filter(|it| it.loaded).count();
        let slowest = parts.iter().map(|it| it.took).max().unwrap_or_default();
        format!("loaded by {loaded} of {}, slowest visit {}", parts.len(), time(slowest))
    }
    let census = part(&pages.iter().map(|it| &it.census).collect::<Vec<_>>());
    let disk = part(&pages.iter().map(|it| &it.disk).collect::<Vec<_>>());
    let visits = pages.iter().filter_map(|it| it.visits.as_ref().ok()).max();
    let visits = visits.map_or("unknown".into(), ToString::to_string);
    format!("   census  {census}\n   disk    {disk}\n   visits  {visits}\n")
}

/// Returns the numbers of loads, hits and shared loads.
pub(crate) fn totals(stats: &Stats) -> String {
    let (loads, hits, shared) = (stats.loads, stats[Operation::GetOrSet].hits, stats.loads_shared);
    format!(
        "Of {} requested parts, {loads} were loaded, {hits} were found in the cache, and {shared} were shared\n\
         with a visitor that was already loading the part.",
        loads + hits + shared,
    )
}

/// Formats with three digits and a unit, so that a hit and a load are easy to compare.
fn time(took: Duration) -> String {
    match took.as_secs_f64() {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.001 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut res = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            res.push(',');
        }
        res.push(digit);
    }
    res
}

fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = "B";
    // In tenths, because there is one digit after the point.
    let mut tenths = u128::from(bytes) * 10;
    for larger in units {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Changed, Space};

    #[test]
    fn census_lists_languages_by_lines_and_sums_the_rest() {
        let mut census = Census { unreadable: 2, ..Census::default() };
        for i in 1..=10 {
            let count = Count { files: 1, lines: i * 1000, bytes: 2048 };
            census.by_language.insert(format!("l{i}"), count);
            census.all += count;
        }
        let text = census.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "l10                   1       10,000    2.0 KiB");
        assert_eq!(lines[9], "the rest              2        3,000    4.0 KiB");
        assert_eq!(lines[10], "all                  10       55,000   20.0 KiB");
        assert_eq!(lines[11], "2 more could not be read");
    }

    #[test]
    fn empty_folder_has_a_report() {
        assert_eq!(Census::default().to_string().lines().count(), 2);
        assert_eq!(Disk { space: None, recent: Vec::new() }.to_string(), "");
    }

    #[test]
    fn disk_report_shows_space_and_ages() {
        let at = since_1970(SystemTime::now()) - 7_300;
        let disk = Disk {
            space: Some(Space { free: 1 << 30, total: 3 << 29 }),
            recent: vec![Changed { at, path: "src/a.rs".into() }],
        };
        assert_eq!(disk.to_string(), "1.0 GiB free of 1.5 GiB\n     2 h ago  src/a.rs\n");
    }

    fn part<T>(value: T, loaded: bool, micros: u64) -> Part<T> {
        Part { value, loaded, took: Duration::from_micros(micros) }
    }

    fn page(loaded: bool, visits: i64) -> Page {
        let disk = Disk { space: None, recent: Vec::new() };
        let census = part(Census::default(), loaded, 1500);
        Page { census, disk: part(disk, false, 8), visits: Ok(visits) }
    }

    #[test]
    fn page_shows_whether_each_part_was_loaded() {
        let text = "   census  loaded    1.5 ms, kept for 3600 s\n   disk    hit       8.0 µs\n   visits  7\n";
        assert_eq!(page(true, 7).sources(), text);
        let error = cache_core::Error::new(cache_core::ErrorKind::Unavailable, "refused");
        let page = Page { visits: Err(error), ..page(true, 0) };
        assert!(page.sources().ends_with("visits  unknown: store unavailable: refused\n"));
    }

    #[test]
    fn concurrent_visits_show_the_number_of_loads_and_the_latest_visit() {
        let text = crowd(&[page(false, 3), page(true, 5), page(false, 4)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "   census  loaded by 1 of 3, slowest visit 1.5 ms");
        assert_eq!(lines[1], "   disk    loaded by 0 of 3, slowest visit 8.0 µs");
        assert_eq!(lines[2], "   visits  5");
    }

    #[test]
    fn numbers_sizes_ages_and_times_have_units() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1000, 1_234_567].map(grouped));
        assert_eq!(["0 B", "1023 B", "1.0 KiB", "1.5 MiB"], [0, 1023, 1024, 3 << 19].map(size));
        assert!(size(u64::MAX).ends_with(" PiB"));
        assert_eq!(["59 s ago", "1 min ago", "2 d ago"], [59, 60, 200_000].map(age));
        let times = [2_500_000, 12_340, 9].map(|it| time(Duration::from_micros(it)));
        assert_eq!(times, ["2.50 s", "12.3 ms", "9.0 µs"]);
    }
}
