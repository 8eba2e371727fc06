//! The dendrogram of segments: which of them lie near one another, from the table `links`.

use std::fmt::Write as _;
use std::path::Path;

use super::segments::{KEPT, colour};
use super::tables::{Batch, TableError, each_batch};
use super::text::{Html, count, counted, escape, threshold, value};

/// Links that are taken in: more than `k` may be.
const MOST: usize = 20_000;

/// Two segments that are joined, or what was joined before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkRow {
    left: u64,
    right: u64,
    height: f64,
    n: u64,
}

/// Reads the table `links`; empty where there is none.
pub(super) fn read(path: &Path) -> Result<Vec<LinkRow>, TableError> {
    let mut links = Vec::new();
    each_batch(path, |batch| absorb(batch, &mut links))?;
    Ok(links)
}

fn absorb(batch: &Batch<'_>, links: &mut Vec<LinkRow>) -> Result<(), String> {
    batch.require(&["left", "right", "height", "n"])?;
    let (left, right, height, n) = (batch.count("left"), batch.count("right"), batch.number("height"), batch.count("n"));
    for row in 0..batch.n_rows().min(MOST.saturating_sub(links.len())) {
        let (Some(left), Some(right), Some(height)) = (left.at(row), right.at(row), height.at(row)) else { continue };
        links.push(LinkRow { left, right, height, n: n.at(row).unwrap_or(0) });
    }
    Ok(())
}

/// A segment, or what some links have joined.
#[derive(Clone, Copy)]
struct Node {
    /// Lowest segment, and how many there are.
    first: u64,
    n_segments: u64,
    /// The link that made it, where that is drawn.
    link: Option<LinkRow>,
}

/// Returns segments and what every link makes of them; none where the links are no tree. Links below the last `KEPT - 1` are not drawn.
fn nodes(links: &[LinkRow]) -> Option<Vec<Node>> {
    let n_segments = links.len() + 1;
    let mut nodes: Vec<Node> = (1..=n_segments as u64).map(|first| Node { first, n_segments: 1, link: None }).collect();
    let mut is_joined = vec![false; n_segments + links.len()];
    for (at, link) in links.iter().enumerate() {
        let mut part = |number: u64| {
            let at = usize::try_from(number).ok()?.checked_sub(1)?;
            let node = *nodes.get(at)?;
            (!std::mem::replace(&mut is_joined[at], true)).then_some(node)
        };
        let (left, right) = (part(link.left)?, part(link.right)?);
        let is_drawn = at + KEPT > links.len() && link.height.is_finite();
        let (first, n_segments) = (left.first.min(right.first), left.n_segments + right.n_segments);
        nodes.push(Node { first, n_segments, link: is_drawn.then_some(*link) });
    }
    Some(nodes)
}

const WIDTH: f64 = 340.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 6.0;
const STEP: f64 = 17.0;

/// Draws links: segments below one another at the left, the further right two meet the higher they are joined.
pub(super) fn plot(links: &[LinkRow]) -> Option<(Html, String)> {
    let nodes = nodes(links)?;
    let most = links.iter().map(|link| link.height).reduce(f64::max).filter(|most| most.is_finite() && *most > 0.0)?;
    let left = if links.len() < KEPT { 42.0 } else { 70.0 };
    let x = |height: f64| left + (RIGHT - left) * height.max(0.0) / most;
    let (mut out, mut lines, mut n_leaves) = (String::new(), String::new(), 0_u32);
    // Where every node ends: its height and its place from the top. Left before right, parts before the whole.
    let mut ends: Vec<(f64, f64)> = Vec::new();
    let mut waiting = vec![(nodes.len() - 1, false)];
    while let Some((at, are_parts_done)) = waiting.pop() {
        let Some(link) = nodes[at].link else {
            let y = TOP + STEP * (f64::from(n_leaves) + 0.5);
            n_leaves += 1;
            ends.push((0.0, y));
            out.push_str(&leaf(&nodes[at], left, y));
            continue;
        };
        if !are_parts_done {
            waiting.push((at, true));
            waiting.extend([link.right, link.left].iter().filter_map(|number| Some((usize::try_from(*number).ok()? - 1, false))));
            continue;
        }
        let (Some(low), Some(high)) = (ends.pop(), ends.pop()) else { return None };
        ends.push((link.height, f64::midpoint(low.1, high.1)));
        let _ = write!(
            lines,
            "<g><title>{} joined at {}: {}</title><path class=\"tree\" d=\"M{:.1} {:.1}H{:.1}V{:.1}H{:.1}\"/></g>",
            counted(nodes[at].n_segments, "segment"),
            value(link.height),
            counted(link.n, "row"),
            x(high.0),
            high.1,
            x(link.height),
            low.1,
            x(low.0),
        );
    }
    let bottom = TOP + STEP * f64::from(n_leaves) + 4.0;
    let axis = axis(most, bottom, x);
    let caption = caption(links, n_leaves);
    let svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">{axis}{lines}{out}</svg>",
        bottom + 20.0,
        escape(&caption)
    );
    Some((Html(svg), caption))
}

/// Returns a segment's number and colour, or the lowest number and how many more are joined.
fn leaf(node: &Node, left: f64, y: f64) -> String {
    let rest = node.n_segments - 1;
    let more = if rest > 0 { format!(" +{}", count(rest)) } else { String::new() };
    format!(
        "<rect class=\"s{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\"/><text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{}{more}</text>",
        if rest > 0 { 0 } else { colour(node.first) },
        left - 12.0,
        y - 4.5,
        left - 17.0,
        y + 4.0,
        node.first,
    )
}

/// Returns heights at round steps, three to six of them.
fn axis(most: f64, bottom: f64, x: impl Fn(f64) -> f64) -> String {
    let power = 10.0_f64.powf((most / 3.0).log10().floor());
    let step = [5.0, 2.0, 1.0].into_iter().map(|times| times * power).find(|step| 3.0 * step <= most).unwrap_or(most);
    let mut out = String::new();
    for times in 0..=10_u8 {
        let height = f64::from(times) * step;
        if height > most || x(height).is_nan() {
            break;
        }
        let _ = write!(out, "<path class=\"axis\" d=\"M{0:.1} {TOP}V{bottom:.1}\"/>", x(height));
        let label = if (1e-3..1e6).contains(&step) { threshold((height / power).round() * power) } else { value(height) };
        let _ = write!(out, "<text class=\"tick mid\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", x(height), bottom + 14.0, label);
    }
    out
}

fn caption(links: &[LinkRow], n_leaves: u32) -> String {
    let mut out = String::from(
        "Which segments lie near one another: their centres joined two by two (Ward's linkage). The further right two meet, the more their \
         joining costs: distances in scaled units, which weigh more where there are more rows.",
    );
    if let Some(first) = links.first() {
        let _ = write!(out, " Segments {} and {} meet first, at {}.", first.left, first.right, value(first.height));
    }
    let n_segments = links.len() + 1;
    if (n_leaves as usize) < n_segments {
        let _ = write!(
            out,
            " Shown are the last {} of {} joins: +2 after a segment stands for two more that were joined with it before.",
            n_leaves - 1,
            count(links.len() as u64)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments that are joined with the first, one after another.
    fn chain(n_segments: u64) -> Vec<LinkRow> {
        let right = |at: u64| if at == 0 { n_segments - 1 } else { n_segments + at };
        let left = |at: u64| if at == 0 { n_segments } else { n_segments - 1 - at };
        (0..n_segments - 1).map(|at| LinkRow { left: left(at), right: right(at), height: (at + 1) as f64, n: 10 * (at + 2) }).collect()
    }

    #[test]
    fn segments_that_are_joined_lie_side_by_side() {
        let link = |left, right, height, n| LinkRow { left, right, height, n };
        let (svg, caption) = plot(&[link(2, 4, 1.5, 30), link(1, 3, 2.0, 40), link(5, 6, 12.0, 70)]).expect("it is drawn");
        let at = |text: &str| svg.0.find(text).unwrap_or_else(|| panic!("no {text} in {}", svg.0));
        let labels = [">2</text>", ">4</text>", ">1</text>", ">3</text>"].map(at);
        assert!(labels.is_sorted(), "{}", svg.0);
        at("4 segments joined at 12: 70 rows");
        at("2 segments joined at 1.5: 30 rows");
        assert!(caption.contains("Segments 2 and 4 meet first, at 1.5.") && !caption.contains("Shown are"), "{caption}");
        // Steps of 2: 0 to 12, the last at the right end.
        at(&format!("x=\"{RIGHT:.1}\" y=\"92.0\">12</text>"));
        assert_eq!(svg.0.matches("class=\"axis\"").count(), 7);
    }

    #[test]
    fn a_tree_of_many_segments_is_cut_and_says_so() {
        let (svg, caption) = plot(&chain(60)).expect("it is drawn");
        assert_eq!(svg.0.matches("class=\"tree\"").count(), KEPT - 1);
        assert_eq!(svg.0.matches("<rect").count(), KEPT);
        assert!(svg.0.contains(" +36</text>") && caption.contains("the last 23 of 59 joins"), "{caption}");
        assert_eq!(plot(&chain(KEPT as u64)).expect("it is drawn").0.0.matches("<rect").count(), KEPT);
    }

    #[test]
    fn what_is_no_tree_is_not_drawn() {
        let good = chain(5);
        assert!(plot(&good).is_some() && plot(&[]).is_none());
        let with = |at: usize, wrong: fn(&mut LinkRow)| {
            let mut links = good.clone();
            wrong(&mut links[at]);
            plot(&links)
        };
        assert!(with(0, |link| link.left = 0).is_none(), "there is no segment 0");
        assert!(with(0, |link| link.right = link.left).is_none(), "nothing is joined with itself");
        assert!(with(1, |link| link.right = 9).is_none(), "a link of its own");
        assert!(with(3, |link| link.left = u64::MAX).is_none());
        assert!(with(3, |link| link.height = f64::INFINITY).is_none());
        assert!(with(1, |link| link.height = f64::NEG_INFINITY).is_some());
    }
}
