//! Segments as cards, by silhouettes, as a tree, on a map, and what their number was judged by: the tables that `cluster` writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::data::StepData;
use super::links::{self, LinkRow};
use super::profile::{self, ProfileData};
use super::splits::{self, SplitData, SplitView};
use super::svg;
use super::tables::{Batch, TableError, each_batch};
use super::text::{self, Html, count, counted, name, value};

/// Segments kept for each step; the table beside the report has them all.
pub(super) const KEPT: usize = 24;

/// Columns of a card.
const COLUMNS: usize = 5;

/// Cells of a map that are taken in: more than the engine makes.
const MOST_CELLS: usize = 60_000;

/// Segments that have a colour of their own.
const COLOURS: u64 = 8;

/// Steps of opacity.
const SHADES: u64 = 4;

/// One row of a table `segments`, with what other tables say of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SegmentRow {
    /// Number of the segment.
    pub segment: u64,
    /// Its rows.
    pub n: u64,
    /// Its share of all rows.
    pub share: Option<f64>,
    /// Its stability.
    pub stability: Option<f64>,
    /// Whether it can be trusted.
    pub trust: String,
    /// Its silhouette.
    pub silhouette: Option<f64>,
    /// Share of its rows that are nearer to another segment.
    pub below_zero: Option<f64>,
    /// Columns with the largest effects: name, effect, mean, mean of the rest, whether it took part.
    pub apart: Vec<Apart>,
    /// Rows that stand for it: role, and the row or its `id`.
    pub exemplars: Vec<(String, String)>,
}

/// How a column sets a segment apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Apart {
    /// The column.
    pub column: String,
    /// Difference of means in pooled standard deviations.
    pub effect: f64,
    /// Mean of the segment.
    pub mean: f64,
    /// Mean of all other rows.
    pub rest: f64,
    /// Whether it made the segments; else it was tested.
    pub took_part: bool,
}

/// A cell of the map: where it lies, its segment (0: none), its rows.
type MapCell = ([f64; 4], u64, u64);

/// Rows by segment.
type Counts = BTreeMap<u64, u64>;

/// Number of segments, what it was judged by, and whether it was taken.
type Point = (u64, f64, bool);

/// The segments of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SegmentData {
    /// The first segments.
    pub segments: Vec<SegmentRow>,
    /// All of them.
    pub n_segments: u64,
    /// Their rows.
    pub n_rows: u64,
    /// Mean of the silhouettes.
    pub silhouette: Option<f64>,
    /// How silhouettes are spread.
    pub profile: ProfileData,
    /// How segments are joined.
    pub links: Vec<LinkRow>,
    /// Why there are as many.
    pub reason: String,
    cells: Vec<MapCell>,
    /// Loadings of either axis, and the share of its variance.
    axes: Vec<(Vec<(String, f64)>, f64)>,
    /// Method and criterion with number of segments, value, and whether it was taken.
    sweep: BTreeMap<(String, String), Vec<Point>>,
    /// What the segments fall into.
    pub splits: SplitData,
}

/// Reads the tables of a step; empty where there are none.
pub(super) fn read(folder: &Path) -> Result<SegmentData, TableError> {
    let mut data = SegmentData::default();
    let table = |name: &str| folder.join(format!("{name}.parquet"));
    each_batch(&table("segments"), |batch| segments(batch, &mut data))?;
    each_batch(&table("features"), |batch| features(batch, &mut data))?;
    each_batch(&table("exemplars"), |batch| exemplars(batch, &mut data))?;
    each_batch(&table("verdict"), |batch| {
        if batch.n_rows() > 0 {
            data.reason = batch.text("reason").owned(0);
            data.silhouette = batch.number("silhouette").at(0);
        }
        Ok(())
    })?;
    data.profile = profile::read(&table("profile"))?;
    data.links = links::read(&table("links"))?;
    each_batch(&table("map"), |batch| cells(batch, &mut data))?;
    each_batch(&table("axes"), |batch| axes(batch, &mut data))?;
    each_batch(&table("sweep"), |batch| sweep(batch, &mut data))?;
    each_batch(&table("splits"), |batch| splits::absorb(batch, &mut data.splits))?;
    Ok(data)
}

fn segments(batch: &Batch<'_>, data: &mut SegmentData) -> Result<(), String> {
    batch.require(&["segment", "n"])?;
    let (segment, n, trust) = (batch.count("segment"), batch.count("n"), batch.text("trust"));
    let (share, stability, silhouette) = (batch.number("share"), batch.number("stability"), batch.number("silhouette"));
    let below_zero = batch.number("below_zero");
    data.n_segments += batch.n_rows() as u64;
    data.n_rows = (0..batch.n_rows()).filter_map(|row| n.at(row)).fold(data.n_rows, u64::saturating_add);
    let room = KEPT.saturating_sub(data.segments.len());
    data.segments.extend((0..batch.n_rows()).take(room).map(|row| SegmentRow {
        segment: segment.at(row).unwrap_or(0),
        n: n.at(row).unwrap_or(0),
        share: share.at(row),
        stability: stability.at(row),
        trust: trust.owned(row),
        silhouette: silhouette.at(row),
        below_zero: below_zero.at(row),
        ..SegmentRow::default()
    }));
    Ok(())
}

impl SegmentData {
    fn of(&mut self, segment: Option<u64>) -> Option<&mut SegmentRow> {
        self.segments.iter_mut().find(|row| Some(row.segment) == segment)
    }
}

fn features(batch: &Batch<'_>, data: &mut SegmentData) -> Result<(), String> {
    batch.require(&["segment", "column"])?;
    let (segment, column, took_part) = (batch.count("segment"), batch.text("column"), batch.flag("took_part"));
    let (effect, mean, rest, q) = (batch.number("effect"), batch.number("mean"), batch.number("mean_rest"), batch.number("q"));
    for row in 0..batch.n_rows() {
        let (Some(effect), Some(mean), Some(rest)) = (effect.at(row), mean.at(row), rest.at(row)) else { continue };
        let took_part = took_part.at(row).unwrap_or(true);
        let is_told = took_part || q.at(row).is_some_and(|q| q <= 0.05);
        let Some(of) = data.of(segment.at(row)).filter(|_| is_told) else { continue };
        let at = of.apart.partition_point(|other| other.effect.abs() >= effect.abs());
        of.apart.insert(at, Apart { column: column.owned(row), effect, mean, rest, took_part });
        of.apart.truncate(COLUMNS);
    }
    Ok(())
}

fn exemplars(batch: &Batch<'_>, data: &mut SegmentData) -> Result<(), String> {
    batch.require(&["segment", "role", "row"])?;
    let (segment, role, at) = (batch.count("segment"), batch.text("role"), batch.count("row"));
    // The column of `id`, where there is one, names a row better than its place.
    let id = batch.text_beside(&["segment", "role", "row", "distance"]);
    for row in 0..batch.n_rows() {
        let of_row = match id.at(row) {
            Some(id) => (role.owned(row), text::cut(id, 24)),
            None => (role.owned(row), at.at(row).map_or_else(String::new, count)),
        };
        if let Some(of) = data.of(segment.at(row)) {
            of.exemplars.push(of_row);
        }
    }
    Ok(())
}

fn cells(batch: &Batch<'_>, data: &mut SegmentData) -> Result<(), String> {
    batch.require(&["x_lo", "x_hi", "y_lo", "y_hi", "n"])?;
    let edges = ["x_lo", "x_hi", "y_lo", "y_hi"].map(|name| batch.number(name));
    let (segment, n) = (batch.count("segment"), batch.count("n"));
    for row in 0..batch.n_rows() {
        let [Some(a), Some(b), Some(c), Some(d)] = edges.each_ref().map(|edge| edge.at(row)) else { continue };
        if data.cells.len() < MOST_CELLS && [a, b, c, d].iter().all(|edge| edge.is_finite()) {
            data.cells.push(([a, b, c, d], segment.at(row).unwrap_or(0), n.at(row).unwrap_or(0)));
        }
    }
    Ok(())
}

fn axes(batch: &Batch<'_>, data: &mut SegmentData) -> Result<(), String> {
    batch.require(&["axis", "column", "loading"])?;
    let (axis, column, loading, share) = (batch.count("axis"), batch.text("column"), batch.number("loading"), batch.number("share"));
    for row in 0..batch.n_rows() {
        let (Some(axis @ 1..=2), Some(loading)) = (axis.at(row), loading.at(row)) else { continue };
        while (data.axes.len() as u64) < axis {
            data.axes.push((Vec::new(), 0.0));
        }
        let of = &mut data.axes[usize::from(axis == 2)];
        of.1 = share.at(row).unwrap_or(0.0);
        let at = of.0.partition_point(|(_, other): &(String, f64)| other.abs() >= loading.abs());
        of.0.insert(at, (column.owned(row), loading));
        of.0.truncate(3);
    }
    Ok(())
}

fn sweep(batch: &Batch<'_>, data: &mut SegmentData) -> Result<(), String> {
    batch.require(&["method", "k", "criterion", "value"])?;
    let (method, criterion, k) = (batch.text("method"), batch.text("criterion"), batch.count("k"));
    let (value, chosen) = (batch.number("value"), batch.flag("chosen"));
    for row in 0..batch.n_rows().min(1000) {
        let (Some(k), Some(value)) = (k.at(row), value.at(row).filter(|value| value.is_finite())) else { continue };
        let key = (method.owned(row), criterion.owned(row));
        data.sweep.entry(key).or_default().push((k, value, chosen.at(row).unwrap_or(false)));
    }
    Ok(())
}

/// Segments of a step as they are shown.
pub(super) struct SegmentsView {
    pub(super) step: Option<Html>,
    pub(super) reason: Html,
    pub(super) cards: Vec<CardView>,
    pub(super) rest: Option<String>,
    pub(super) shapes: Vec<(Html, String)>,
    pub(super) map: Option<Html>,
    pub(super) map_caption: Html,
    pub(super) sweeps: Vec<(Html, String)>,
    pub(super) splits: Vec<SplitView>,
    pub(super) more_splits: Option<String>,
}

/// A segment.
pub(super) struct CardView {
    pub(super) segment: String,
    pub(super) colour: u64,
    pub(super) trust: String,
    pub(super) chip: &'static str,
    pub(super) size: String,
    pub(super) bar: Html,
    pub(super) facts: String,
    pub(super) apart: Vec<ApartView>,
    pub(super) exemplars: Vec<(String, String)>,
}

/// A column of a card.
pub(super) struct ApartView {
    pub(super) column: Html,
    pub(super) bar: Html,
    pub(super) words: String,
}

/// Returns the class of a segment's colour: 0 for none, and for those beyond the colours.
pub(super) const fn colour(segment: u64) -> u64 {
    if segment <= COLOURS { segment } else { 0 }
}

impl SegmentsView {
    /// Draws the segments of a step, at most so many; maps and plots only where the page has room.
    pub(super) fn new(step: &StepData, heading: Option<Html>, most: usize, has_room: bool) -> Option<Self> {
        let data = &step.segments;
        if data.reason.is_empty() && data.segments.is_empty() {
            return None;
        }
        let cards: Vec<CardView> = data.segments.iter().take(most).map(card).collect();
        Some(Self {
            step: heading,
            reason: text::marked(&data.reason, 400),
            rest: text::rest(data.n_segments, cards.len(), "more segment", "segments"),
            cards,
            shapes: if has_room { shapes(data) } else { Vec::new() },
            map: (has_room && !data.cells.is_empty()).then(|| map(data)),
            map_caption: map_caption(data),
            sweeps: if has_room { data.sweep.iter().filter_map(|(key, points)| plot(key, points)).collect() } else { Vec::new() },
            splits: data.splits.rows.iter().map(SplitView::new).collect(),
            more_splits: text::rest(data.splits.n_rows, data.splits.rows.len(), "more line", "splits"),
        })
    }
}

/// Draws silhouettes and links.
fn shapes(data: &SegmentData) -> Vec<(Html, String)> {
    profile::plot(&data.profile, data.n_rows, data.silhouette).into_iter().chain(links::plot(&data.links)).collect()
}

fn card(row: &SegmentRow) -> CardView {
    let share = row.share.unwrap_or(0.0);
    let mut facts = Vec::new();
    facts.extend(row.stability.map(|stability| format!("stability {stability:.2}")));
    facts.extend(row.silhouette.map(|silhouette| format!("silhouette {silhouette:.2}")));
    facts.extend(row.below_zero.filter(|share| *share > 0.0).map(|share| format!("{} nearer to another segment", percent(share))));
    CardView {
        segment: count(row.segment),
        colour: colour(row.segment),
        trust: text::cut(&row.trust, 20),
        chip: match row.trust.as_str() {
            "stable" => "good",
            "doubtful" => "warn",
            "refused" => "bad",
            _ => "",
        },
        size: format!("{}, {}", counted(row.n, "row"), percent(share)),
        bar: share_bar(share, colour(row.segment)),
        facts: facts.join(", "),
        apart: row.apart.iter().filter(|apart| apart.effect.abs() >= 0.2).map(apart).collect(),
        exemplars: row.exemplars.iter().map(|(role, at)| (text::cut(role, 20), at.clone())).collect(),
    }
}

fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.01 { format!("{:.1}\u{a0}%", 100.0 * share) } else { format!("{:.0}\u{a0}%", 100.0 * share) }
}

fn share_bar(share: f64, colour: u64) -> Html {
    let width = (240.0 * share.clamp(0.0, 1.0)).max(1.0);
    Html(format!(
        "<svg class=\"share\" viewBox=\"0 0 240 6\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{} of the rows\"><rect class=\"track\" width=\"240\" height=\"6\"/>\
         <rect class=\"s{colour}\" width=\"{width:.1}\" height=\"6\"/></svg>",
        percent(share)
    ))
}

/// Largest effect that a bar shows whole.
const MOST_EFFECT: f64 = 3.0;

fn apart(of: &Apart) -> ApartView {
    let half = 40.0;
    let long = half * (of.effect.abs() / MOST_EFFECT).min(1.0);
    let (sign, x) = if of.effect < 0.0 { ("neg", half - long) } else { ("pos", half) };
    let side = if of.effect < 0.0 { "lower" } else { "higher" };
    let tested = if of.took_part { "" } else { ", tested" };
    ApartView {
        column: name(&of.column, 34),
        bar: Html(format!(
            "<svg class=\"apart\" viewBox=\"0 0 80 10\" width=\"60\" height=\"10\" role=\"img\" aria-label=\"{side} by {:.2} standard deviations\">\
             <path class=\"axis\" d=\"M40 0V10\"/><rect class=\"{sign}\" x=\"{x:.1}\" y=\"2\" width=\"{long:.1}\" height=\"6\"/></svg>",
            of.effect.abs()
        )),
        words: format!("{} against {}{tested}", value(of.mean), value(of.rest)),
    }
}

const MAP_WIDTH: f64 = 560.0;
const MAP_HEIGHT: f64 = 420.0;

/// Returns the map: every cell in the colour of the segment with most rows in it, darker where there are more.
fn map(data: &SegmentData) -> Html {
    let mut places: BTreeMap<[u64; 2], ([f64; 4], Counts)> = BTreeMap::new();
    let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
    for (edges, segment, n) in &data.cells {
        low = [low[0].min(edges[0]), low[1].min(edges[2])];
        high = [high[0].max(edges[1]), high[1].max(edges[3])];
        let place = places.entry([edges[0].to_bits(), edges[2].to_bits()]).or_insert_with(|| (*edges, BTreeMap::new()));
        *place.1.entry(*segment).or_default() += n;
    }
    let x = |at: f64| MAP_WIDTH * (at - low[0]) / (high[0] - low[0]);
    let y = |at: f64| if high[1] > low[1] { MAP_HEIGHT * (high[1] - at) / (high[1] - low[1]) } else { MAP_HEIGHT / 2.0 };
    let most = places.values().map(|(_, of)| of.values().sum::<u64>()).max().unwrap_or(1).max(1);
    let mut paths: BTreeMap<(u64, u64), String> = BTreeMap::new();
    let mut middles: BTreeMap<u64, (f64, f64, f64)> = BTreeMap::new();
    for (edges, of) in places.values() {
        let n: u64 = of.values().sum();
        let (segment, _) = of.iter().fold((0, 0), |best, (segment, n)| if *n > best.1 { (*segment, *n) } else { best });
        // By the logarithm: rows of a cell differ by orders of magnitude.
        let shade = (SHADES as f64 * ((n + 1) as f64).ln() / ((most + 1) as f64).ln()).ceil().clamp(1.0, SHADES as f64) as u64;
        let (left, top) = (x(edges[0]), y(edges[3]));
        let (width, height) = (x(edges[1]) - left, if high[1] > low[1] { y(edges[2]) - top } else { 12.0 });
        let path = paths.entry((colour(segment), shade)).or_default();
        let _ = write!(path, "M{left:.1} {top:.1}h{width:.1}v{height:.1}h-{width:.1}z");
        for (segment, n) in of.iter().filter(|(segment, _)| **segment > 0) {
            let (n, middle) = (*n as f64, middles.entry(*segment).or_default());
            *middle = (middle.0 + n * (left + width / 2.0), middle.1 + n * (top + height / 2.0), middle.2 + n);
        }
    }
    let mut out = String::new();
    for ((colour, shade), path) in &paths {
        let _ = write!(out, "<path class=\"s{colour} o{shade}\" d=\"{path}\"/>");
    }
    for (segment, (x, y, n)) in middles.iter().take(KEPT) {
        let (x, y) = (x / n, y / n);
        let _ = write!(
            out,
            "<circle class=\"spot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"11\"/><text class=\"mid\" x=\"{x:.1}\" y=\"{:.1}\">{segment}</text>",
            y + 4.0
        );
    }
    let rows: u64 = data.cells.iter().map(|(_, _, n)| n).sum();
    let label = format!("Map of {} on two principal components", counted(rows, "row"));
    svg::picture("map", &format!("-12 -12 {} {}", MAP_WIDTH + 24.0, MAP_HEIGHT + 24.0), &label, &out)
}

fn map_caption(data: &SegmentData) -> Html {
    let axis = |at: usize| {
        let (loadings, share) = data.axes.get(at)?;
        let sign = |loading: f64| if loading < 0.0 { "\u{2212}" } else { "" };
        let names: Vec<String> = loadings
            .iter()
            .filter(|(_, loading)| loading.abs() >= 0.2)
            .map(|(column, loading)| format!("{}{}", sign(*loading), name(column, 30).0))
            .collect();
        Some((names.join(", "), percent(*share)))
    };
    let mut out =
        String::from("Every row by its first two principal components; darker cells hold more rows, outermost cells what lies beyond.");
    if let Some((names, share)) = axis(0) {
        let _ = write!(out, " To the right: {names} ({share} of the variance).");
    }
    if let Some((names, share)) = axis(1) {
        let _ = write!(out, " Up: {names} ({share}).");
    }
    Html(out)
}

const PLOT_WIDTH: f64 = 300.0;
const PLOT_HEIGHT: f64 = 150.0;
const PLOT_LEFT: f64 = 52.0;
const PLOT_TOP: f64 = 10.0;
const PLOT_BOTTOM: f64 = 122.0;

/// Returns a criterion by number of segments, where there are enough numbers for a line.
fn plot((method, criterion): &(String, String), points: &[Point]) -> Option<(Html, String)> {
    if points.len() < 3 {
        return None;
    }
    let mut points = points.to_vec();
    points.sort_by_key(|point| point.0);
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    let threshold = (criterion == "prediction_strength").then_some(0.8);
    let values = || points.iter().map(|point| point.1).chain(threshold);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if first == last || low >= high {
        return None;
    }
    let x = |k: u64| PLOT_LEFT + (PLOT_WIDTH - PLOT_LEFT - 12.0) * (k - first) as f64 / (last - first) as f64;
    let y = |at: f64| PLOT_BOTTOM - (PLOT_BOTTOM - PLOT_TOP) * (at - low) / (high - low);
    let mut out = svg::axes(PLOT_LEFT, PLOT_TOP, PLOT_BOTTOM, PLOT_WIDTH - 8.0);
    for at in [low, high] {
        let _ = write!(out, "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", PLOT_LEFT - 6.0, y(at) + 4.0, value(at));
    }
    for k in [first, last] {
        let _ = write!(out, "<text class=\"tick mid\" x=\"{:.1}\" y=\"{:.1}\">{k}</text>", x(k), PLOT_BOTTOM + 15.0);
    }
    if let Some(at) = threshold {
        let _ = write!(out, "<path class=\"limit\" d=\"M{PLOT_LEFT} {0:.1}H{1:.1}\"/>", y(at), PLOT_WIDTH - 8.0);
    }
    let line: Vec<String> = points.iter().map(|point| format!("{:.1} {:.1}", x(point.0), y(point.1))).collect();
    let _ = write!(out, "<path class=\"line\" d=\"M{}\"/>", line.join("L"));
    for (k, at, chosen) in &points {
        let (class, r) = if *chosen { ("pick", 5.0) } else { ("dot", 2.6) };
        let _ = write!(out, "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{r}\"/>", x(*k), y(*at));
    }
    let chosen = points.iter().find(|point| point.2).map_or_else(|| "none was taken".to_owned(), |point| format!("{} were taken", point.0));
    let words = criterion.replace('_', " ");
    let caption = format!("{} of {method} by number of segments; {chosen}", text::cut(&words, 40));
    Some((svg::picture("plot", &format!("0 0 {PLOT_WIDTH} {PLOT_HEIGHT}"), &caption, &out), caption))
}
