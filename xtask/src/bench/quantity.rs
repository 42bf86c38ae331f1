//! Figures as text, with the digits that count.

/// Returns a figure with its unit.
pub(super) fn quantity(figure: f64, unit: &str) -> String {
    match unit {
        "ns" | "ns CPU" if figure >= 1e6 => format!("{} ms", digits(figure / 1e6)),
        "ns" | "ns CPU" if figure >= 1e3 => format!("{} µs", digits(figure / 1e3)),
        "ns" | "ns CPU" => format!("{figure:.0} ns"),
        "ops/s" if figure >= 1e6 => format!("{} M/s", digits(figure / 1e6)),
        "ops/s" if figure >= 1e3 => format!("{} k/s", digits(figure / 1e3)),
        "ops/s" => format!("{} /s", digits(figure)),
        _ => number(figure),
    }
}

/// Returns a count without needless digits.
pub(super) fn number(figure: f64) -> String {
    if (figure - figure.round()).abs() < 0.005 {
        format!("{figure:.0}")
    } else {
        format!("{figure:.2}").trim_end_matches('0').to_owned()
    }
}

/// Returns the size of a value.
pub(super) fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        _ => format!("{} KB", bytes / 1_000),
    }
}

fn digits(figure: f64) -> String {
    match figure {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_fitting_unit() {
        assert_eq!(quantity(106.4, "ns"), "106 ns");
        assert_eq!(quantity(10_940.0, "ns CPU"), "10.9 µs");
        assert_eq!(quantity(4_450_000.0, "ops/s"), "4.45 M/s");
        assert_eq!(quantity(309_000.0, "ops/s"), "309 k/s");
        assert_eq!(quantity(3.0, "round trips"), "3");
        assert_eq!(quantity(2.25, "loads"), "2.25");
        assert_eq!((size(100), size(10_000)), ("100 B".into(), "10 KB".into()));
    }
}
