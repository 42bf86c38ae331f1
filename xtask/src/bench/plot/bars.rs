//! Horizontal bars of ratios, to the left and to the right of 1.

use super::svg::{Anchor, Svg};

/// A ratio above 1 is in favour of ours.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) group: &'static str,
    pub(super) label: String,
    pub(super) ratio: f64,
    /// The lowest and the highest ratio of a pass.
    pub(super) range: [f64; 2],
}

const WIDTH: f64 = 900.0;
/// The left and the right end of the scale.
const SCALE: [f64; 2] = [350.0, 840.0];
const TOP: f64 = 44.0;
const BAR: f64 = 12.0;
const STEP: f64 = 18.0;
const GROUP: f64 = 24.0;

pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
    if bars.is_empty() {
        return Svg::new(WIDTH, TOP, &format!("{title}: not measured")).finish();
    }
    let mut y = TOP;
    let mut last = "";
    let places: Vec<(f64, bool)> = bars
        .iter()
        .map(|it| {
            let is_first = it.group != last;
            last = it.group;
            y += STEP + if is_first { GROUP } else { 0.0 };
            (y - STEP, is_first)
        })
        .collect();
    let mut svg = Svg::new(WIDTH, y + 40.0, title);
    // At least from a half to two, so that the line of 1 is never at an end.
    let low = bars.iter().map(|it| it.range[0]).fold(0.5, f64::min).log2().floor();
    let high = bars.iter().map(|it| it.range[1]).fold(2.0, f64::max).log2().ceil();
    let x = |ratio: f64| {
        let part = (ratio.log2() - low) / (high - low);
        SCALE[0] + part * (SCALE[1] - SCALE[0])
    };
    let mut tick = low;
    while tick <= high {
        let (at, ratio) = (x(tick.exp2()), tick.exp2());
        svg.line("grid", [at, TOP], [at, y], false);
        svg.text("muted", Anchor::Middle, [at, y + 16.0], &format!("{ratio}"));
        tick += 1.0;
    }
    svg.text("muted", Anchor::End, [x(1.0) - 6.0, y + 32.0], "← slower");
    svg.text("muted", Anchor::Start, [x(1.0) + 6.0, y + 32.0], "faster than the peer →");
    for (it, (at, is_first)) in bars.iter().zip(places) {
        if is_first {
            svg.text("title", Anchor::Start, [16.0, at - 6.0], it.group);
        }
        let middle = at + BAR / 2.0;
        svg.text("label", Anchor::End, [SCALE[0] - 8.0, middle + 4.0], &it.label);
        let [left, right] = [it.ratio.min(1.0), it.ratio.max(1.0)].map(x);
        let class = if it.ratio < 1.0 { "slower" } else { "faster" };
        svg.rect(class, [left, at], [(right - left).max(0.5), BAR]);
        let [from, to] = it.range.map(x);
        svg.line("range", [from, middle], [to, middle], false);
        svg.text(
            "muted",
            Anchor::Start,
            [right.max(to) + 5.0, middle + 4.0],
            &format!("{:.2}", it.ratio),
        );
    }
    svg.line("axis", [x(1.0), TOP], [x(1.0), y], false);
    svg.finish()
}
