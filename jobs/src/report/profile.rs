//! The silhouette plot: how near the rows of every segment are to their own and to the next, from the table `profile`.

use std::fmt::Write as _;
use std::path::Path;

use super::segments::{KEPT, colour};
use super::tables::{Batch, TableError, each_batch};
use super::text::{Html, correlation, count, counted, escape, ratio, threshold};

/// Quantiles of a segment that are taken in: more than the engine makes.
const MOST_QUANTILES: usize = 200;

/// Silhouettes of a segment's rows.
#[derive(Debug, Clone, PartialEq)]
struct ProfileRow {
    segment: u64,
    n: u64,
    /// Share of the rows and their quantile, in order.
    quantiles: Vec<(f64, f64)>,
}

/// Silhouettes of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProfileData {
    /// Of the first segments.
    segments: Vec<ProfileRow>,
    /// Segments with silhouettes, and their rows.
    n_segments: u64,
    n_rows: u64,
    last: Option<u64>,
}

/// Reads the table `profile`; empty where there is none.
pub(super) fn read(path: &Path) -> Result<ProfileData, TableError> {
    let mut data = ProfileData::default();
    each_batch(path, |batch| absorb(batch, &mut data))?;
    Ok(data)
}

fn absorb(batch: &Batch<'_>, data: &mut ProfileData) -> Result<(), String> {
    batch.require(&["segment", "n", "share", "silhouette"])?;
    let (segment, n, share, silhouette) = (batch.count("segment"), batch.count("n"), batch.number("share"), batch.number("silhouette"));
    for row in 0..batch.n_rows() {
        let (Some(segment), Some(n), Some(share), Some(silhouette)) = (segment.at(row), n.at(row), share.at(row), silhouette.at(row))
        else {
            continue;
        };
        if data.last.replace(segment) != Some(segment) {
            data.n_segments += 1;
            data.n_rows = data.n_rows.saturating_add(n);
            if data.segments.len() < KEPT {
                data.segments.push(ProfileRow { segment, n, quantiles: Vec::new() });
            }
        }
        if let Some(of) = data.segments.last_mut().filter(|of| of.segment == segment && of.quantiles.len() < MOST_QUANTILES) {
            of.quantiles.push((share.clamp(0.0, 1.0), silhouette.clamp(-1.0, 1.0)));
        }
    }
    Ok(())
}

const WIDTH: f64 = 340.0;
const LEFT: f64 = 32.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 20.0;
/// Height of all rows together, the least of a segment, and what lies between two.
const ROWS: f64 = 200.0;
const LEAST: f64 = 13.0;
const GAP: f64 = 5.0;

/// Draws silhouettes, segment below segment; `n_rows` are all rows of segments, `mean` is the mean of silhouettes.
pub(super) fn plot(data: &ProfileData, n_rows: u64, mean: Option<f64>) -> Option<(Html, String)> {
    let least = data.segments.iter().flat_map(|of| &of.quantiles).map(|(_, s)| *s).reduce(f64::min)?;
    // From a whole quarter below the least to 1: rows below 0 have as much room as they take.
    let low = (4.0 * least.min(0.0)).floor() / 4.0;
    let x = |s: f64| LEFT + (RIGHT - LEFT) * (s - low) / (1.0 - low);
    let shown = data.segments.iter().fold(0, |sum: u64, of| sum.saturating_add(of.n));
    let (mut bands, mut top) = (String::new(), TOP);
    for of in &data.segments {
        let height = height(of.n, shown);
        bands.push_str(&band(of, (top, height), x));
        top += height + GAP;
    }
    let bottom = top;
    let mut out = String::new();
    for quarter in (low * 4.0).round() as i8..=4 {
        let s = f64::from(quarter) / 4.0;
        let _ = write!(out, "<path class=\"axis\" d=\"M{0:.1} {TOP}V{bottom:.1}\"/>", x(s));
        if quarter % 2 == 0 || low >= -0.25 {
            let _ = write!(out, "<text class=\"tick mid\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", x(s), bottom + 14.0, threshold(s));
        }
    }
    out.push_str(&bands);
    let _ = write!(out, "<path class=\"zero\" d=\"M{0:.1} {TOP}V{bottom:.1}\"/>", x(0.0));
    if let Some(mean) = mean {
        let at = x(mean.clamp(low, 1.0));
        let line = format!("d=\"M{at:.1} {}V{bottom:.1}\"/>", TOP - 4.0);
        let _ = write!(out, "<path class=\"under\" {line}<path class=\"mean\" {line}");
        let middle = at.clamp(LEFT + 30.0, RIGHT - 20.0);
        let _ = write!(out, "<text class=\"tick mid\" x=\"{middle:.1}\" y=\"{}\">mean {}</text>", TOP - 8.0, correlation(mean, 2));
    }
    let caption = caption(data, (n_rows, shown), mean);
    let svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">{out}</svg>",
        bottom + 20.0,
        escape(&caption)
    );
    Some((Html(svg), caption))
}

/// Returns the rows of a segment: the area between 0 and their silhouettes, the largest on top.
fn band(of: &ProfileRow, (top, height): (f64, f64), x: impl Fn(f64) -> f64) -> String {
    let mut path = format!("M{:.1} {top:.1}", x(0.0));
    for (share, s) in of.quantiles.iter().rev() {
        let _ = write!(path, "L{:.1} {:.1}", x(*s), top + height * (1.0 - share));
    }
    let middle = of.quantiles.get(of.quantiles.len() / 2).map_or(0.0, |(_, s)| *s);
    format!(
        "<g><title>segment {segment}: {rows}, half of them above {half}</title><path class=\"s{colour}\" d=\"{path}L{zero:.1} {end:.1}z\"/></g>\
         <text class=\"tick end\" x=\"{label:.1}\" y=\"{y:.1}\">{segment}</text>",
        segment = of.segment,
        rows = counted(of.n, "row"),
        half = correlation(middle, 2),
        colour = colour(of.segment),
        zero = x(0.0),
        end = top + height,
        label = LEFT - 7.0,
        y = top + height / 2.0 + 4.0,
    )
}

/// Returns the height of a segment of n rows; those of few rows are high enough for their numbers.
fn height(n: u64, shown: u64) -> f64 {
    (ROWS * ratio(n, shown)).max(LEAST)
}

fn caption(data: &ProfileData, (n_rows, shown): (u64, u64), mean: Option<f64>) -> String {
    let mut out = String::from(
        "Silhouettes of the rows, sorted within every segment: near 1 a row lies deep in its own segment, below 0 it is nearer to another.",
    );
    let drawn = if data.n_rows < n_rows { " drawn at random" } else { "" };
    if let Some(mean) = mean {
        let _ = write!(out, " Dashed: the mean of {}{drawn}, {}.", counted(data.n_rows, "row"), correlation(mean, 2));
    }
    if data.segments.iter().any(|of| height(of.n, shown) <= LEAST) {
        out.push_str(" Segments of few rows are drawn higher than their share.");
    }
    if data.n_segments > data.segments.len() as u64 {
        let _ = write!(out, " Shown are the first {} of {} segments.", data.segments.len(), count(data.n_segments));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(segments: &[(u64, u64, [f64; 3])]) -> ProfileData {
        let row =
            |&(segment, n, of): &(u64, u64, [f64; 3])| ProfileRow { segment, n, quantiles: [0.0, 0.5, 1.0].into_iter().zip(of).collect() };
        ProfileData {
            segments: segments.iter().take(KEPT).map(row).collect(),
            n_segments: segments.len() as u64,
            n_rows: segments.iter().map(|of| of.1).sum(),
            last: None,
        }
    }

    #[test]
    fn bands_are_as_high_as_their_rows_and_reach_as_far_as_silhouettes() {
        let (svg, caption) = plot(&data(&[(1, 300, [0.2, 0.5, 1.0]), (2, 100, [-0.1, 0.0, 0.5])]), 400, Some(0.375)).expect("it is drawn");
        // From -0.25 to 1 in 294 units; 0 is at 90.8. 150 units of 300 rows, 50 of 100.
        assert!(svg.0.contains("d=\"M90.8 20.0L326.0 20.0L208.4 95.0L137.8 170.0L90.8 170.0z\""), "{}", svg.0);
        assert!(svg.0.contains("d=\"M90.8 175.0L208.4 175.0L90.8 200.0L67.3 225.0L90.8 225.0z\""), "{}", svg.0);
        assert!(svg.0.contains("segment 1: 300 rows, half of them above 0.50") && svg.0.contains(">mean 0.38</text>"), "{}", svg.0);
        assert!(caption.ends_with("the mean of 400 rows, 0.38."), "{caption}");
    }

    #[test]
    fn what_is_not_shown_is_said() {
        let many: Vec<(u64, u64, [f64; 3])> = (1..=30).map(|segment| (segment, 31 - segment, [0.1, 0.2, 0.3])).collect();
        let (svg, caption) = plot(&data(&many), 10_000, Some(0.2)).expect("it is drawn");
        assert_eq!(svg.0.matches("<title>").count(), KEPT);
        assert!(caption.contains("465 rows drawn at random") && caption.contains("higher than their share"), "{caption}");
        assert!(caption.ends_with("Shown are the first 24 of 30 segments."), "{caption}");
        assert_eq!(plot(&ProfileData::default(), 0, None), None);
        // Rows far below 0 have room, and ticks that do not run into one another.
        let wide = plot(&data(&[(1, 5, [-1.0, 0.0, 1.0])]), 5, None).expect("it is drawn").0.0;
        assert!(wide.contains(">-1</text>") && !wide.contains(">-0.75</text>") && !wide.contains("mean"), "{wide}");
    }
}
