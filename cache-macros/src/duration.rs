//! Durations as texts, such as `"5m"`: those of the settings. The facade depends on this crate, so
//! the text is parsed here once more, and a test compares both.

use syn::{Error, LitStr, Result};

/// Units with their length in milliseconds, as in the settings.
const UNITS: &[(&[&str], u64)] = &[
    (&["ms", "msec", "millisecond", "milliseconds"], 1),
    (&["s", "sec", "secs", "second", "seconds"], 1_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 604_800_000),
];

/// Returns the duration that a text names, in milliseconds.
pub(crate) fn parse(text: &LitStr) -> Result<u64> {
    millis(&text.value()).ok_or_else(|| {
        let what = "expected a duration with a unit, such as \"500ms\", \"5m\" or \"1h 30m\"; the \
                    units are ms, s, m (minutes), h, d and w";
        Error::new(text.span(), what)
    })
}

fn millis(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut millis = None;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|it: char| !it.is_ascii_digit())?);
        let after = after.trim_start();
        let end = after.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, factor) = UNITS.iter().find(|(names, _)| names.contains(&unit))?;
        let part = digits.parse::<u64>().ok()?.checked_mul(*factor)?;
        millis = Some(millis.unwrap_or(0_u64).checked_add(part)?);
        rest = after.trim_start();
    }
    millis
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::{Timeout, config::Settings};

    use super::{UNITS, millis};

    const TEXTS: [&str; 20] = [
        "500ms",
        "0s",
        "5m",
        " 1h 30min ",
        "1h30m",
        "2 days",
        "18446744073709551615ms",
        "18446744073709551616ms",
        "99999999999999999w",
        "",
        " ",
        "5",
        "5M",
        "5S",
        "m",
        "-5m",
        "1.5h",
        "5 m 3",
        "1 month",
        "١s",
    ];

    #[test]
    fn text_means_the_same_as_in_the_settings() {
        let units = UNITS.iter().flat_map(|(names, _)| names.iter().map(|it| format!("3{it}")));
        let texts: Vec<String> = TEXTS.iter().map(|it| (*it).to_owned()).chain(units).collect();
        let mut durations = 0;
        for text in texts {
            let toml = format!("[caches.default]\nbackend = 'memory'\ntimeout = '{text}'");
            let settings = Settings::from_toml(&toml).ok();
            let there = settings.as_ref().and_then(|it| it.get("default")).map(|it| it.timeout);
            let here = millis(&text).map(|it| Timeout::After(Duration::from_millis(it)));
            assert_eq!(here, there, "{text:?}");
            durations += usize::from(here.is_some());
        }
        assert!(durations > 7, "{durations}");
    }
}
