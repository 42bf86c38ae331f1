//! An SVG drawing with a background of its own, so that it can be read on light and dark pages.

use std::fmt::Write as _;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}\
.title{font-weight:600;font-size:14px}.muted{fill:#59636e}\
.back{fill:#ffffff}.grid{stroke:#d1d9e0;fill:none}.axis{stroke:#1f2328}.range{stroke:#59636e}\
.faster{fill:#3b82c4}.slower{fill:#d97706}\
.ours{stroke:#3b82c4;fill:#3b82c4}.peer{stroke:#d97706;fill:#d97706}\
polyline.ours,polyline.peer{fill:none;stroke-width:2}\
@media(prefers-color-scheme:dark){\
text{fill:#e6edf3}.muted{fill:#9198a1}\
.back{fill:#0d1117}.grid{stroke:#3d444d}.axis{stroke:#e6edf3}.range{stroke:#9198a1}\
.faster{fill:#58a6ff}.slower{fill:#f0883e}\
.ours{stroke:#58a6ff;fill:#58a6ff}.peer{stroke:#f0883e;fill:#f0883e}\
polyline.ours,polyline.peer{fill:none}}";

/// A drawing under way.
#[derive(Debug)]
pub(super) struct Svg {
    text: String,
}

/// The end of a text that is at its position.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let title = escaped(title);
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n"
        );
        let mut res = Self { text };
        res.rect("back", [0.0, 0.0], [width, height]);
        res.text("title", Anchor::Start, [16.0, 24.0], &title);
        res
    }

    pub(super) fn text(&mut self, class: &str, anchor: Anchor, [x, y]: [f64; 2], text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.add(&format!(
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        ));
    }

    pub(super) fn rect(&mut self, class: &str, [x, y]: [f64; 2], [width, height]: [f64; 2]) {
        self.add(&format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    pub(super) fn line(&mut self, class: &str, from: [f64; 2], to: [f64; 2], is_dashed: bool) {
        let ([x1, y1], [x2, y2], dashes) = (from, to, dashes(is_dashed));
        self.add(&format!(
            "<line class=\"{class}\"{dashes} x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    /// Connects the points, and marks each of them.
    pub(super) fn curve(&mut self, class: &str, points: &[[f64; 2]], is_dashed: bool) {
        let text: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        let dashes = dashes(is_dashed);
        self.add(&format!("<polyline class=\"{class}\"{dashes} points=\"{}\"/>", text.join(" ")));
        for [x, y] in points {
            self.add(&format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"));
        }
    }

    pub(super) fn finish(mut self) -> String {
        self.add("</svg>");
        self.text
    }

    fn add(&mut self, element: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{element}");
    }
}

fn dashes(is_dashed: bool) -> &'static str {
    if is_dashed { " stroke-dasharray=\"5 4\"" } else { "" }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let mut svg = Svg::new(10.0, 20.0, "a < b");
        svg.text("muted", Anchor::End, [1.0, 2.0], "c & d");
        let text = svg.finish();
        assert!(text.contains(">a &lt; b<") && text.contains(">c &amp; d<"), "{text}");
    }
}
