//! What the best findings look like: cells, boxes and shares, drawn from the table `pictures` of a step.
//!
//! Names of columns and levels are cut and escaped; a table that a newer or older version wrote, or none, draws less.

use std::fmt::Write as _;
use std::path::Path;

use super::data::StepData;
use super::svg;
use super::tables::{Batch, TableError, each_batch};
use super::text::{self, Html, count, cut, escape, name, ratio};
use super::{Limits, text::value};

/// Rows taken in: those of six pictures, and of many more than the report draws.
const MOST_ROWS: usize = 20_000;

/// Size of a picture, and of the frame in it.
const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 8.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 166.0;

/// Height of a line of boxes or shares, and where its bars start.
const LINE: f64 = 19.0;
const NAMED: f64 = 112.0;

/// Steps of colour.
const TONES: u64 = 10;

/// The pictures of one finding.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// Subject of the finding.
    pub subject: String,
    /// Names of the columns.
    pub columns: [String; 2],
    /// Rows of the table.
    pub rows: Vec<Mark>,
}

/// One row of the table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mark {
    shape: String,
    at: [u64; 2],
    levels: [String; 2],
    n: u64,
    /// Where a cell lies: from and to along x, and along y.
    edges: [f64; 4],
    quantiles: [f64; 5],
    mean: f64,
}

/// Reads the pictures of a step; none where the run left no such table.
pub(super) fn read(path: &Path) -> Result<Vec<Look>, TableError> {
    let (mut looks, mut n_rows): (Vec<Look>, usize) = (Vec::new(), 0);
    each_batch(path, |batch| {
        batch.require(&["subject", "x", "y", "shape", "n"])?;
        for row in 0..batch.n_rows() {
            n_rows += 1;
            if n_rows <= MOST_ROWS {
                absorb(batch, row, &mut looks);
            }
        }
        Ok(())
    })?;
    Ok(looks)
}

fn absorb(batch: &Batch<'_>, row: usize, looks: &mut Vec<Look>) {
    let text = |name: &str| batch.text(name).owned(row);
    let number = |name: &str| batch.number(name).at(row).unwrap_or(f64::NAN);
    let subject = text("subject");
    if looks.last().is_none_or(|look| look.subject != subject) {
        looks.push(Look { subject, columns: [text("x"), text("y")], rows: Vec::new() });
    }
    let mark = Mark {
        shape: text("shape"),
        at: ["i", "j"].map(|name| batch.count(name).at(row).unwrap_or(0)),
        levels: [text("x_level"), text("y_level")],
        n: batch.count("n").at(row).unwrap_or(0),
        edges: ["x_lo", "x_hi", "y_lo", "y_hi"].map(number),
        quantiles: ["q05", "q25", "q50", "q75", "q95"].map(number),
        mean: number("mean"),
    };
    if let Some(look) = looks.last_mut() {
        look.rows.push(mark);
    }
}

/// A picture with its title and what it shows.
pub(super) struct LookView {
    pub(super) rank: usize,
    pub(super) subject: Html,
    pub(super) svg: Html,
    pub(super) caption: Html,
}

impl LookView {
    /// Draws the findings of a step that have a picture.
    pub(super) fn of_step(step: &StepData, limits: &Limits) -> Vec<Self> {
        let shown = step.findings.iter().take(limits.cards).enumerate();
        shown.filter_map(|(at, finding)| Self::new(at + 1, step.looks.iter().find(|look| look.subject == finding.subject)?, step)).collect()
    }

    fn new(rank: usize, look: &Look, step: &StepData) -> Option<Self> {
        let shows = Shows::of(look, step);
        let has = |shape: &str| look.rows.iter().any(|mark| mark.shape == shape);
        let (svg, caption) = if has("cells") {
            shows.cells()?
        } else if has("boxes") {
            shows.boxes()?
        } else {
            shows.shares()?
        };
        Some(Self { rank, subject: name(&look.subject, 80), svg, caption })
    }
}

/// A picture, and how the values of its columns are written.
struct Shows<'a> {
    look: &'a Look,
    show: [fn(f64) -> String; 2],
    /// Whether the first column is one of categories.
    first_is_text: bool,
    /// Smallest and largest value of the columns: cells of few values reach beyond them.
    range: [[f64; 2]; 2],
}

impl<'a> Shows<'a> {
    fn of(look: &'a Look, step: &StepData) -> Self {
        let row_of = |column: &String| step.columns.iter().flat_map(|columns| &columns.used).find(|row| &row.name == column);
        let type_of = |column: &String| row_of(column).map_or("", |row| row.data_type.as_str());
        let range = |column: &String| {
            let (low, high) = row_of(column).map_or((None, None), |row| (row.min, row.max));
            [low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY)]
        };
        let show = |column: &String| -> fn(f64) -> String {
            match type_of(column) {
                "date" => text::date,
                "timestamp" => text::instant,
                _ => value,
            }
        };
        Self {
            look,
            show: look.columns.each_ref().map(show),
            first_is_text: type_of(&look.columns[0]).starts_with("text"),
            range: look.columns.each_ref().map(range),
        }
    }

    fn marks(&self, shape: &'a str) -> impl Iterator<Item = &'a Mark> {
        self.look.rows.iter().filter(move |mark| mark.shape == shape)
    }

    fn cells(&self) -> Option<(Html, Html)> {
        let [x0, x1] = reach(self.marks("cells").flat_map(|mark| [mark.edges[0], mark.edges[1]]))?;
        let [y0, y1] = reach(self.marks("cells").flat_map(|mark| [mark.edges[2], mark.edges[3]]))?;
        let x = |v: f64| LEFT + (v - x0) / (x1 - x0) * (WIDTH - 2.0 * LEFT);
        let y = |v: f64| BOTTOM - (v - y0) / (y1 - y0) * (BOTTOM - TOP);
        let most = self.marks("cells").map(|mark| mark.n).max()?;
        let mut paths = vec![String::new(); TONES as usize + 1];
        for mark in self.marks("cells") {
            let [left, right, low, high] = mark.edges;
            let _ = write!(
                paths[tone(mark.n, most)],
                "M{:.1} {:.1}h{:.1}v{:.1}h{:.1}z",
                x(left),
                y(high),
                x(right) - x(left) - 0.5,
                y(low) - y(high) - 0.5,
                -(x(right) - x(left) - 0.5)
            );
        }
        let mut out = svg::axes(LEFT, TOP, BOTTOM, WIDTH - LEFT);
        for (tone, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
            let _ = write!(out, "<path class=\"p{tone}\" d=\"{path}\"/>");
        }
        let means = self.marks("means").filter(|mark| mark.mean.is_finite());
        let points: Vec<String> =
            means.map(|mark| format!("{:.1} {:.1}", x(mark.edges[0].midpoint(mark.edges[1])), y(mark.mean).clamp(TOP, BOTTOM))).collect();
        if points.len() > 1 {
            let _ = write!(out, "<path class=\"mean under\" d=\"M{0}\"/><path class=\"mean\" d=\"M{0}\"/>", points.join("L"));
        }
        let ([show_x, show_y], end) = (self.show, WIDTH - LEFT);
        let (x_ends, y_ends) = (ends([x0, x1], self.range[0]), ends([y0, y1], self.range[1]));
        let _ = write!(out, "<text class=\"tick\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>", BOTTOM + 14.0, escape(&show_x(x_ends[0])));
        let _ = write!(out, "<text class=\"tick end\" x=\"{end}\" y=\"{:.1}\">{}</text>", BOTTOM + 14.0, escape(&show_x(x_ends[1])));
        let _ = write!(
            out,
            "<text class=\"mid\" x=\"{:.1}\" y=\"{:.1}\">{} \u{2192}</text>",
            WIDTH / 2.0,
            BOTTOM + 29.0,
            escape(&cut(&self.look.columns[0], 38))
        );
        let range = format!("{} to {}", show_y(y_ends[0]), show_y(y_ends[1]));
        let _ = write!(
            out,
            "<text x=\"{LEFT}\" y=\"12\">\u{2191} {}</text><text class=\"tick end\" x=\"{end}\" y=\"12\">{}</text>",
            escape(&cut(&self.look.columns[1], 30)),
            escape(&range)
        );
        let n: u64 = self.marks("cells").map(|mark| mark.n).sum();
        let beyond: u64 = self.marks("beyond").map(|mark| mark.n).sum();
        let beyond = if beyond > 0 { format!("; {} lie beyond the frame", count(beyond)) } else { String::new() };
        let line = if points.len() > 1 { ", line: their mean" } else { "" };
        let caption = format!("{} rows, the stronger the colour the more of them{line}{beyond}.", count(n));
        Some((picture(HEIGHT, &self.label("cells"), &out), Html(escape(&caption))))
    }

    fn boxes(&self) -> Option<(Html, Html)> {
        let [from, to] = reach(self.marks("boxes").flat_map(|mark| mark.quantiles))?;
        let right = WIDTH - 52.0;
        let x = |v: f64| NAMED + (v - from) / (to - from) * (right - NAMED);
        let (mut out, mut n, mut lines) = (String::new(), 0, 0.0);
        for mark in self.marks("boxes") {
            let middle = 12.0 + LINE * lines;
            let [low, first, median, third, high] = mark.quantiles.map(x);
            let _ = write!(
                out,
                "<g><title>{}: n {}, median {}, mean {}</title>{}\
                 <path class=\"whisker\" d=\"M{low:.1} {middle:.1}H{high:.1}\"/><rect class=\"p4\" x=\"{first:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"10\"/>\
                 <path class=\"mean\" d=\"M{median:.1} {:.1}v12\"/><text class=\"tick end\" x=\"{WIDTH}\" y=\"{:.1}\">{}</text></g>",
                escape(&cut(&mark.levels[0], 60)),
                count(mark.n),
                escape(&value(mark.quantiles[2])),
                escape(&value(mark.mean)),
                level(&mark.levels[0], middle),
                middle - 5.0,
                (third - first).max(1.0),
                middle - 6.0,
                middle + 4.0,
                count(mark.n)
            );
            n += mark.n;
            lines += 1.0;
        }
        let foot = 12.0 + LINE * lines;
        let axis = [(from, "tick", NAMED), (to, "tick end", right)];
        for (v, class, at) in axis {
            let _ = write!(out, "<text class=\"{class}\" x=\"{at:.1}\" y=\"{foot:.1}\">{}</text>", escape(&self.of_numbers()(v)));
        }
        let caption = format!("{} rows; box: the middle half, line: 5 to 95 %, mark: the median; on the right the rows of each.", count(n));
        Some((picture(foot + 6.0, &self.label("boxes"), &out), Html(escape(&caption))))
    }

    fn shares(&self) -> Option<(Html, Html)> {
        let most = self.marks("shares").map(|mark| mark.at[0]).max()?;
        let right = WIDTH - 52.0;
        let (mut out, mut legend, mut n) = (String::new(), Vec::new(), 0);
        for line in 0..=most.min(99) {
            let marks: Vec<&Mark> = self.marks("shares").filter(|mark| mark.at[0] == line).collect();
            let all: u64 = marks.iter().map(|mark| mark.n).sum();
            let middle = 12.0 + LINE * line as f64;
            let Some(first) = marks.first() else { continue };
            out.push_str(&level(&first.levels[0], middle));
            let mut x = NAMED;
            for (at, mark) in marks.iter().enumerate() {
                let width = ratio(mark.n, all) * (right - NAMED);
                let tone = shade(at, marks.len());
                if width > 0.0 {
                    let _ = write!(
                        out,
                        "<rect class=\"{tone}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"13\"><title>{}, {}: {} rows, {}</title></rect>",
                        middle - 6.5,
                        (width - 0.7).max(0.3),
                        escape(&cut(&mark.levels[0], 40)),
                        escape(&cut(&mark.levels[1], 40)),
                        count(mark.n),
                        text::percent(mark.n, all)
                    );
                }
                if line == 0 {
                    legend.push(format!("<span class=\"swatch {tone}\"></span>{}", name(&mark.levels[1], 20)));
                }
                x += width;
            }
            let _ = write!(out, "<text class=\"tick end\" x=\"{WIDTH}\" y=\"{:.1}\">{}</text>", middle + 4.0, count(all));
            n += all;
        }
        let caption = format!(
            "{} rows: how {} is spread within each {}. <span class=\"keys\">{}</span>",
            count(n),
            name(&self.look.columns[1], 40),
            name(&self.look.columns[0], 40),
            legend.join(" ")
        );
        Some((picture(14.0 + LINE * (most.min(99) + 1) as f64, &self.label("shares"), &out), Html(caption)))
    }

    /// Returns how the numbers beside categories are written: the column that is no category.
    fn of_numbers(&self) -> fn(f64) -> String {
        self.show[usize::from(self.first_is_text)]
    }

    fn label(&self, what: &str) -> String {
        let [x, y] = self.look.columns.each_ref().map(|column| cut(column, 60));
        match what {
            "boxes" => format!("Box plots of {x} and {y}"),
            "shares" => format!("Shares of {y} by {x}"),
            _ => format!("Rows by {x} and {y}"),
        }
    }
}

/// Returns the least and the largest of some numbers; none where they do not differ.
fn reach(numbers: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let (low, high) =
        numbers.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    (low < high && (high - low).is_finite()).then_some([low, high])
}

/// Returns the ends of an axis as they are written: within what the column holds, and without the halves round whole numbers.
fn ends([low, high]: [f64; 2], [least, most]: [f64; 2]) -> [f64; 2] {
    let is_half = |edge: f64| (edge - 0.5).fract() == 0.0;
    let (low, high) = if is_half(low) && is_half(high) { (low.ceil(), high.floor()) } else { (low, high) };
    [low.max(least), high.min(most)]
}

/// Returns the step of colour of a cell: by the root, so that cells of few rows are told from empty ones.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most TONES")]
fn tone(n: u64, most: u64) -> usize {
    ((ratio(n, most).sqrt() * TONES as f64).ceil() as usize).clamp(1, TONES as usize)
}

/// Returns the colour of one of several levels, from dark to light.
fn shade(at: usize, of: usize) -> String {
    let step = if of > 1 { at * 8 / (of - 1) } else { 0 };
    format!("p{}", 9 - step.min(8))
}

fn level(text: &str, middle: f64) -> String {
    format!("<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", NAMED - 8.0, middle + 4.0, escape(&cut(text, 16)))
}

fn picture(height: f64, label: &str, inside: &str) -> Html {
    svg::picture("look", &format!("0 0 {WIDTH} {height:.0}"), label, inside)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "ends of axes are taken from the cells, not computed")]
    use super::*;

    fn cell(i: u64, j: u64, n: u64) -> Mark {
        let edges = [i as f64, i as f64 + 1.0, j as f64, j as f64 + 1.0];
        Mark { shape: "cells".to_owned(), at: [i, j], n, edges, ..Mark::default() }
    }

    fn look(rows: Vec<Mark>) -> Look {
        Look { subject: "a ~ <b>".to_owned(), columns: ["a".to_owned(), "<script>".to_owned()], rows }
    }

    #[test]
    fn cells_are_drawn_to_scale_and_names_are_escaped() {
        let look = look(vec![cell(0, 0, 100), cell(1, 1, 1)]);
        let view = LookView::new(1, &look, &StepData::default());
        let Some(view) = view else { panic!("two cells are a picture") };
        assert!(view.svg.0.contains("class=\"p10\"") && view.svg.0.contains("class=\"p1\""), "{}", view.svg.0);
        assert!(view.svg.0.contains("&#60;script&#62;") && !view.svg.0.contains("<script"), "{}", view.svg.0);
        assert!(view.caption.0.starts_with("101 rows"));
        assert!(!view.subject.0.contains("<b>"));
    }

    #[test]
    fn a_picture_without_extent_is_none() {
        assert!(LookView::new(1, &look(Vec::new()), &StepData::default()).is_none());
        let mut flat = cell(0, 0, 1);
        flat.edges = [1.0, 1.0, f64::NAN, f64::INFINITY];
        assert!(LookView::new(1, &look(vec![flat]), &StepData::default()).is_none());
    }

    #[test]
    fn axes_end_where_the_column_does() {
        assert_eq!(ends([-0.5, 1.5], [0.0, 1.0]), [0.0, 1.0]);
        assert_eq!(ends([0.5, 756.5], [1.0, 900.0]), [1.0, 756.0]);
        assert_eq!(ends([0.25, 7.5], [0.0, 9.0]), [0.25, 7.5]);
    }

    #[test]
    fn tones_grow_with_the_rows() {
        assert_eq!([tone(1, 1_000_000), tone(250_000, 1_000_000), tone(1_000_000, 1_000_000)], [1, 5, 10]);
        assert_eq!([shade(0, 1), shade(0, 2), shade(1, 2), shade(9, 10)], ["p9", "p9", "p1", "p1"]);
    }
}
