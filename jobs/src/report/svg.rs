//! Small pictures: interval bars, shares of missing cells, the histogram of |r|.
//!
//! Pictures are inline SVG drawn with classes, so that colours follow the page (light, dark, print). Each has a role
//! and a label for readers that cannot see it.

use std::fmt::Write as _;

use super::pairs::{BINS, Bin};
use super::text::{Html, correlation, count, counted, escape, ratio, seconds, threshold};

/// Width of an interval bar, which spans -1 to 1.
const BAR_WIDTH: f64 = 168.0;
const BAR_HEIGHT: f64 = 18.0;
const BAR_PAD: f64 = 5.0;
/// Radius of the dot that marks a value.
const DOT: f64 = 3.6;

/// Returns a picture that fills its frame, with what it shows for readers that cannot see it.
pub(super) fn picture(class: &str, frame: &str, label: &str, inside: &str) -> Html {
    Html(format!("<svg class=\"{class}\" viewBox=\"{frame}\" role=\"img\" aria-label=\"{}\">{inside}</svg>", escape(label)))
}

/// Returns the two axes of a plot: down its left edge and along its foot.
pub(super) fn axes(left: f64, top: f64, bottom: f64, right: f64) -> String {
    format!("<path class=\"axis\" d=\"M{left} {top}V{bottom}H{right:.1}\"/>")
}

/// Returns the place of a correlation on an interval bar.
fn bar_x(r: f64) -> f64 {
    BAR_PAD + (r.clamp(-1.0, 1.0) + 1.0) / 2.0 * (BAR_WIDTH - 2.0 * BAR_PAD)
}

/// Returns a bar from -1 to 1 with the interval and the value; the band in the middle is below the minimum effect.
pub(super) fn interval(r: f64, lo: Option<f64>, hi: Option<f64>, min_effect: f64) -> Html {
    let middle = BAR_HEIGHT / 2.0;
    let mut label = format!("r {}", correlation(r, 2));
    let mut out = String::new();
    if min_effect > 0.0 {
        let (from, to) = (bar_x(-min_effect), bar_x(min_effect));
        let _ = write!(out, "<rect class=\"band\" x=\"{from:.1}\" y=\"2\" width=\"{:.1}\" height=\"14\"/>", to - from);
    }
    let (left, right) = (bar_x(-1.0), bar_x(1.0));
    let _ = write!(out, "<path class=\"axis\" d=\"M{left:.1} {middle}H{right:.1}M{0:.1} 2V16\"/>", bar_x(0.0));
    if let (Some(lo), Some(hi)) = (lo, hi) {
        // Ends that lie under the dot would only blur it.
        let (from, to) = (bar_x(lo), bar_x(hi));
        let ends = if to - from > 3.0 * DOT { format!("M{from:.1} 5V13M{to:.1} 5V13") } else { String::new() };
        let _ = write!(out, "<path class=\"span\" d=\"M{from:.1} {middle}H{to:.1}{ends}\"/>");
        let _ = write!(label, ", interval {} to {}", correlation(lo, 2), correlation(hi, 2));
    }
    let sign = if r < 0.0 { "neg" } else { "pos" };
    let _ = write!(out, "<circle class=\"{sign}\" cx=\"{:.1}\" cy=\"{middle}\" r=\"{DOT}\"/>", bar_x(r));
    Html(format!(
        "<svg class=\"bar\" viewBox=\"0 0 {BAR_WIDTH} {BAR_HEIGHT}\" width=\"{BAR_WIDTH}\" height=\"{BAR_HEIGHT}\" role=\"img\" aria-label=\"{}\">{out}</svg>",
        escape(&label)
    ))
}

/// Returns a bar of the cells that are present, the missing ones hatched.
pub(super) fn present(n: u64, nulls: u64, hatch: &str) -> Html {
    let whole = n.saturating_add(nulls);
    // A single missing cell among millions is still drawn one unit wide: gaps are what the picture is for.
    let missing = if nulls == 0 { 0.0 } else { (120.0 * ratio(nulls, whole)).max(1.0) };
    let label = format!("{} present, {} missing", count(n), count(nulls));
    Html(format!(
        "<svg class=\"gap\" viewBox=\"0 0 120 10\" width=\"120\" height=\"10\" role=\"img\" aria-label=\"{label}\">\
         <rect class=\"has\" width=\"{:.1}\" height=\"10\"/><rect x=\"{:.1}\" width=\"{missing:.1}\" height=\"10\" fill=\"url(#{hatch})\"/></svg>",
        120.0 - missing,
        120.0 - missing,
    ))
}

/// Returns a bar of the part of a whole time that something took, in seconds from its start.
pub(super) fn span([from, to]: [f64; 2], whole: f64) -> Html {
    let x = |at: f64| if whole > 0.0 { 120.0 * (at / whole).clamp(0.0, 1.0) } else { 0.0 };
    // What is over at once is still drawn.
    let (left, width) = (x(from).min(119.0), (x(to) - x(from)).max(1.0));
    let start = if from > 0.0 { seconds(from) } else { "the start".to_owned() };
    let label = format!("from {start} to {} of {}", seconds(to), seconds(whole));
    Html(format!(
        "<svg class=\"gap\" viewBox=\"0 0 120 10\" width=\"120\" height=\"10\" role=\"img\" aria-label=\"{}\">\
         <rect class=\"lane\" width=\"120\" height=\"10\"/><rect class=\"has\" x=\"{left:.1}\" width=\"{width:.1}\" height=\"10\"/></svg>",
        escape(&label)
    ))
}

/// Returns the pattern that stands for missing; pictures after it refer to it by name.
pub(super) fn hatch(id: &str) -> Html {
    Html(format!(
        "<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs><pattern id=\"{id}\" width=\"5\" height=\"5\" \
         patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect class=\"hatch0\" width=\"5\" height=\"5\"/>\
         <path class=\"hatch1\" d=\"M0 0V5\"/></pattern></defs></svg>"
    ))
}

const HIST_WIDTH: f64 = 560.0;
const HIST_HEIGHT: f64 = 190.0;
const HIST_LEFT: f64 = 56.0;
const HIST_TOP: f64 = 14.0;
const HIST_BOTTOM: f64 = 160.0;
const HIST_STEP: f64 = (HIST_WIDTH - HIST_LEFT - 8.0) / BINS as f64;

/// Returns the histogram of |r|; bars are split into pairs that became findings and others.
pub(super) fn histogram(bins: &[Bin; BINS], min_effect: f64) -> Html {
    let most = bins.iter().map(|bin| bin.survive + bin.other).max().unwrap_or(0).max(1);
    let mut out = grid(most);
    for (at, bin) in bins.iter().enumerate() {
        out.push_str(&stack(at, *bin, most));
    }
    if min_effect > 0.0 && min_effect < 1.0 {
        let x = HIST_LEFT + min_effect * (HIST_WIDTH - HIST_LEFT - 8.0);
        let _ = write!(out, "<path class=\"limit\" d=\"M{x:.1} {HIST_TOP}V{HIST_BOTTOM}\"/>");
        let _ = write!(
            out,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">minimum effect {}</text>",
            x + 5.0,
            HIST_TOP + 13.0,
            threshold(min_effect)
        );
    }
    let pairs: u64 = bins.iter().map(|bin| bin.survive + bin.other).sum();
    let label = format!("Histogram of the absolute correlation of {}", counted(pairs, "pair"));
    picture("hist", &format!("0 0 {HIST_WIDTH} {HIST_HEIGHT}"), &label, &out)
}

/// Returns the axes of the histogram.
fn grid(most: u64) -> String {
    let mut out = String::new();
    for (share, label) in [(0.0, 0), (0.5, most / 2), (1.0, most)] {
        if share > 0.0 && share < 1.0 && most < 2 {
            continue;
        }
        let share = if share > 0.0 { ratio(label, most) } else { 0.0 };
        let y = HIST_BOTTOM - share * (HIST_BOTTOM - HIST_TOP);
        let _ = write!(out, "<path class=\"axis\" d=\"M{HIST_LEFT} {y:.1}H{:.1}\"/>", HIST_WIDTH - 8.0);
        let _ = write!(out, "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", HIST_LEFT - 6.0, y + 4.0, count(label));
    }
    for quarter in 0..=4_u8 {
        let r = f64::from(quarter) / 4.0;
        let x = HIST_LEFT + r * (HIST_WIDTH - HIST_LEFT - 8.0);
        let _ = write!(out, "<text class=\"tick mid\" x=\"{x:.1}\" y=\"{:.1}\">{r}</text>", HIST_BOTTOM + 15.0);
    }
    let _ = write!(out, "<text class=\"tick mid\" x=\"{:.1}\" y=\"{:.1}\">|r|</text>", (HIST_LEFT + HIST_WIDTH) / 2.0, HIST_HEIGHT - 1.0);
    out
}

/// Returns one bar of the histogram: findings at the foot, the others on top of them.
fn stack(at: usize, bin: Bin, most: u64) -> String {
    let pairs = bin.survive + bin.other;
    if pairs == 0 {
        return String::new();
    }
    let (from, to) = (at as f64 / BINS as f64, (at + 1) as f64 / BINS as f64);
    let x = HIST_LEFT + at as f64 * HIST_STEP + 1.0;
    // One pair beside thousands is still seen.
    let height = |n: u64| if n == 0 { 0.0 } else { (ratio(n, most) * (HIST_BOTTOM - HIST_TOP)).max(1.5) };
    let (survive, other) = (height(bin.survive), height(bin.other));
    let mut out = format!("<g><title>|r| {from:.2} to {to:.2}: {}, {} survive</title>", counted(pairs, "pair"), count(bin.survive));
    for (class, height, foot) in [("survive", survive, HIST_BOTTOM), ("other", other, HIST_BOTTOM - survive)] {
        if height > 0.0 {
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                foot - height,
                HIST_STEP - 2.0
            );
        }
    }
    out.push_str("</g>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_keeps_within_its_picture() {
        let bar = interval(-1.0, Some(-1.5), Some(2.0), 0.1).0;
        assert!(bar.contains("cx=\"5.0\"") && bar.contains("H163.0") && bar.contains("class=\"neg\""), "{bar}");
        assert!(!interval(0.5, None, None, 0.0).0.contains("span"));
    }

    #[test]
    fn one_missing_cell_is_drawn() {
        assert!(present(999_999, 1, "h").0.contains("x=\"119.0\" width=\"1.0\""));
        assert!(present(0, 0, "h").0.contains("class=\"has\" width=\"120.0\""));
    }

    #[test]
    fn an_empty_histogram_has_axes_and_no_bars() {
        let empty = histogram(&[Bin::default(); BINS], 0.1).0;
        assert!(empty.contains("class=\"axis\"") && !empty.contains("<g>"));
    }
}
