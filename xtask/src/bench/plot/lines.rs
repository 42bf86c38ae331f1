//! Curves over the number of tasks, in several panels.

use super::svg::{Anchor, Svg};
use crate::bench::quantity::quantity;

/// A panel with its own scale.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    /// Ours and the peer in turn.
    pub(super) series: Vec<Series>,
}

/// A curve.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// The number of tasks, and the calls per second.
    pub(super) points: Vec<(f64, f64)>,
    pub(super) is_dashed: bool,
}

const PANEL: [f64; 2] = [430.0, 270.0];
const TOP: f64 = 40.0;
/// The space around the scale of a panel: left, top, right, bottom.
const AROUND: [f64; 4] = [76.0, 30.0, 20.0, 86.0];
const TASKS: [f64; 3] = [1.0, 8.0, 64.0];
const CLASSES: [&str; 2] = ["ours", "peer"];

pub(super) fn lines(title: &str, panels: &[Panel]) -> String {
    let is_empty = panels.iter().all(|it| it.series.iter().all(|it| it.points.is_empty()));
    if is_empty {
        return Svg::new(2.0 * PANEL[0], TOP, &format!("{title}: not measured")).finish();
    }
    let mut left = true;
    let mut y = TOP;
    let mut svg = Svg::new(2.0 * PANEL[0], TOP + PANEL[1] * rows(panels), title);
    for panel in panels {
        draw(&mut svg, [if left { 0.0 } else { PANEL[0] }, y], panel);
        if !left {
            y += PANEL[1];
        }
        left = !left;
    }
    svg.finish()
}

fn rows(panels: &[Panel]) -> f64 {
    panels.chunks(2).map(|_| 1.0).sum()
}

fn draw(svg: &mut Svg, [x0, y0]: [f64; 2], panel: &Panel) {
    let [left, top, right, bottom] = AROUND;
    let (x0, x1) = (x0 + left, x0 + PANEL[0] - right);
    let (y0, y1) = (y0 + top, y0 + PANEL[1] - bottom);
    let points = panel.series.iter().flat_map(|it| &it.points);
    let (step, most) = scale(points.map(|it| it.1).fold(0.0, f64::max));
    let x = |tasks: f64| x0 + (x1 - x0) * tasks.log2() / TASKS[2].log2();
    let y = |figure: f64| y1 - (y1 - y0) * figure / most;
    svg.text("title", Anchor::Start, [x0, y0 - 12.0], &panel.title);
    let mut tick = 0.0;
    while tick <= most {
        svg.line("grid", [x0, y(tick)], [x1, y(tick)], false);
        let label = if tick > 0.0 { quantity(tick, "ops/s") } else { "0".into() };
        svg.text("muted", Anchor::End, [x0 - 6.0, y(tick) + 4.0], &label);
        tick += step;
    }
    for tasks in TASKS {
        svg.text("muted", Anchor::Middle, [x(tasks), y1 + 16.0], &format!("{tasks}"));
    }
    svg.text("muted", Anchor::Middle, [f64::midpoint(x0, x1), y1 + 32.0], "tasks");
    svg.line("axis", [x0, y1], [x1, y1], false);
    for (i, series) in panel.series.iter().enumerate() {
        let class = CLASSES[i % 2];
        if !series.points.is_empty() {
            let points: Vec<[f64; 2]> = series.points.iter().map(|it| [x(it.0), y(it.1)]).collect();
            svg.curve(class, &points, series.is_dashed);
        }
        // Two columns of legend.
        let column = if i < 2 { x0 - 60.0 } else { x0 + 150.0 };
        let at = y1 + if i % 2 == 0 { 50.0 } else { 66.0 };
        svg.line(class, [column, at - 4.0], [column + 22.0, at - 4.0], series.is_dashed);
        svg.text("legend", Anchor::Start, [column + 28.0, at], &series.name);
    }
}

/// Returns the distance between the lines of the grid, and the end of the scale.
fn scale(most: f64) -> (f64, f64) {
    let rough = (most / 4.0).max(1.0);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|it| it * power).into_iter().find(|it| *it >= rough);
    let step = step.unwrap_or(rough);
    (step, step * (most / step).ceil().max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_has_round_steps_and_contains_the_largest_figure() {
        assert_eq!(scale(309_000.0), (100_000.0, 400_000.0));
        assert_eq!(scale(1_190_000.0), (500_000.0, 1_500_000.0));
        assert_eq!(scale(0.0), (1.0, 1.0));
    }
}
