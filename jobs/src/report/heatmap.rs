//! The clustered heat map of r as inline SVG.
//!
//! Only the lower triangle is drawn: the other half repeats it, and its place takes the names of the columns, which
//! run off the diagonal. Each cell carries its pair, r and n as a title; survivors carry a mark, a pair without r is
//! hatched. Small maps write r into the cells.

use std::fmt::Write as _;

use super::order::clustered;
use super::pairs::{Cell, Heat};
use super::text::{Html, correlation, count, cut, escape};

/// Characters of a name beside the map, and inside the titles of cells.
const LABEL_CHARS: usize = 24;
const TITLE_CHARS: usize = 40;
/// Width of a character of a label, rounded up: long names must not leave the picture.
const CHAR_WIDTH: f64 = 7.3;
/// Rise and run of a name that is turned by 45 degrees.
const SLANT: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// Width that a map may fill before it has to be scrolled.
const PAGE_WIDTH: f64 = 1060.0;

/// Returns the heat map of the first `most` columns, or nothing for fewer than three.
pub(super) fn draw(heat: &Heat, most: usize, hatch: &str) -> Option<Html> {
    let p = heat.columns.len().min(most);
    if p < 3 {
        return None;
    }
    let order = clustered(p, &|i, j| heat.cell(i, j).map_or(1.0, |cell| 1.0 - cell.r.abs().min(1.0)));
    let map = Map::new(heat, order, hatch);
    Some(Html(map.svg()))
}

struct Map<'a> {
    heat: &'a Heat,
    order: Vec<usize>,
    hatch: &'a str,
    /// Names as written into titles, by place in the order.
    names: Vec<String>,
    /// Side of a cell.
    side: f64,
    left: f64,
    top: f64,
    /// Right edge of the longest name on the diagonal.
    width: f64,
}

impl<'a> Map<'a> {
    fn new(heat: &'a Heat, order: Vec<usize>, hatch: &'a str) -> Self {
        let names: Vec<String> = order.iter().map(|&column| escape(&cut(&heat.columns[column], TITLE_CHARS))).collect();
        let widths: Vec<f64> = order.iter().map(|&at| cut(&heat.columns[at], LABEL_CHARS).chars().count() as f64 * CHAR_WIDTH).collect();
        let longest = widths.iter().copied().fold(0.0, f64::max);
        let left = (longest + 12.0).ceil();
        let columns = (order.len() - 1) as f64;
        let side = ((PAGE_WIDTH - left - longest * SLANT) / columns).floor().clamp(13.0, 46.0);
        let mut map = Self { heat, order, hatch, names, side, left, top: 0.0, width: 0.0 };
        for (place, width) in widths.iter().enumerate().take(map.order.len() - 1) {
            let reach = width * SLANT + 14.0;
            map.top = map.top.max((reach - map.y(place + 1)).ceil());
            map.width = map.width.max((map.x(place) + side / 2.0 + reach).ceil());
        }
        map.width = map.width.max(map.x(map.order.len() - 1));
        map
    }

    fn x(&self, column: usize) -> f64 {
        self.left + column as f64 * self.side
    }

    /// Returns the top of a row; the first place has no cells of its own.
    fn y(&self, row: usize) -> f64 {
        self.top + (row as f64 - 1.0) * self.side
    }

    fn svg(&self) -> String {
        let p = self.order.len();
        let (width, height) = (self.width, self.y(p) + 4.0);
        let mut out = format!(
            "<svg class=\"heat{}\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" \
             aria-label=\"Heat map of the correlations between {p} columns, neighbours move together\">",
            if self.side < 18.0 { " tight" } else { "" }
        );
        for row in 1..p {
            for column in 0..row {
                self.cell(&mut out, row, column);
            }
        }
        self.marks(&mut out);
        if self.side > 30.0 {
            self.numbers(&mut out);
        }
        self.labels(&mut out);
        out.push_str("</svg>");
        out
    }

    fn at(&self, row: usize, column: usize) -> Option<Cell> {
        self.heat.cell(self.order[row], self.order[column])
    }

    fn cell(&self, out: &mut String, row: usize, column: usize) {
        let (x, y, side) = (self.x(column), self.y(row), self.side - 1.0);
        let _ = match self.at(row, column) {
            Some(cell) => write!(out, "<rect class=\"{}\" x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\">", class(cell.r)),
            None => write!(out, "<rect fill=\"url(#{})\" x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\">", self.hatch),
        };
        let _ = write!(out, "<title>{} ~ {}: ", self.names[row], self.names[column]);
        let _ = match self.at(row, column) {
            Some(cell) => {
                write!(out, "r {}, n {}{}", correlation(cell.r, 3), count(cell.n), if cell.survives { ", survives" } else { "" })
            }
            None => write!(out, "no r"),
        };
        out.push_str("</title></rect>");
    }

    /// Draws a dot on each survivor: one path of zero-length strokes with round ends, a fraction of as many circles.
    fn marks(&self, out: &mut String) {
        let small = self.side < 30.0;
        for (tone, strong) in [("mark", false), ("mark on", true)] {
            let mut path = String::new();
            for row in 1..self.order.len() {
                for column in 0..row {
                    if self.at(row, column).is_some_and(|cell| cell.survives && (step(cell.r) > 7) == strong) {
                        let inset = if small { self.side / 2.0 } else { 6.0 };
                        let _ = write!(path, "M{:.1} {:.1}h0", self.x(column) + self.side - 0.5 - inset, self.y(row) - 0.5 + inset);
                    }
                }
            }
            if !path.is_empty() {
                let _ = write!(out, "<path class=\"{tone}\" stroke-width=\"{}\" d=\"{path}\"/>", if self.side < 20.0 { 4 } else { 5 });
            }
        }
    }

    fn numbers(&self, out: &mut String) {
        for row in 1..self.order.len() {
            for column in 0..row {
                if let Some(cell) = self.at(row, column) {
                    let (x, y) = (self.x(column) + self.side / 2.0, self.y(row) + self.side / 2.0 + 4.5);
                    let _ = write!(out, "<text class=\"num k{}\" x=\"{x:.1}\" y=\"{y:.1}\">{:.2}</text>", step(cell.r), rounded(cell.r));
                }
            }
        }
    }

    fn labels(&self, out: &mut String) {
        let p = self.order.len();
        for place in 0..p {
            let column = &self.heat.columns[self.order[place]];
            let label = escape(&cut(column, LABEL_CHARS));
            let title = if self.names[place] == label { String::new() } else { format!("<title>{}</title>", self.names[place]) };
            if place > 0 {
                let (x, y) = (self.left - 7.0, self.y(place) + self.side / 2.0 + 3.5);
                let _ = write!(out, "<text class=\"name end\" x=\"{x:.1}\" y=\"{y:.1}\">{title}{label}</text>");
            }
            if place + 1 < p {
                let (x, y) = (self.x(place) + self.side / 2.0 + 2.0, self.y(place + 1) - 5.0);
                let _ = write!(
                    out,
                    "<text class=\"name\" x=\"{x:.1}\" y=\"{y:.1}\" transform=\"rotate(-45 {x:.1} {y:.1})\">{title}{label}</text>"
                );
            }
        }
    }
}

/// Returns |r| in tenths.
fn step(r: f64) -> u8 {
    (r.abs().min(1.0) * 10.0).round() as u8
}

/// Returns the class that carries a cell's colour.
fn class(r: f64) -> String {
    match step(r) {
        0 => "z".to_owned(),
        step => format!("{}{step}", if r < 0.0 { 'n' } else { 'p' }),
    }
}

/// Returns r without the sign of a rounded nothing.
fn rounded(r: f64) -> f64 {
    if r.abs() < 0.005 { 0.0 } else { r }
}

/// Returns the legend: the scale of colours, the mark and the hatching.
pub(super) fn legend(hatch: &str) -> Html {
    let mut out = String::from(
        "<svg class=\"legend\" viewBox=\"0 0 430 34\" width=\"430\" height=\"34\" role=\"img\" \
         aria-label=\"Colours from r -1 (orange) over 0 (grey) to r 1 (blue); a dot marks a finding, hatching a pair without r\">",
    );
    for at in 0..=20_u8 {
        let r = f64::from(at) / 10.0 - 1.0;
        let _ = write!(out, "<rect class=\"{}\" x=\"{}\" y=\"2\" width=\"10\" height=\"12\"/>", class(r), 6 + u32::from(at) * 10);
    }
    for (x, label) in [(11, "-1"), (61, "-0.5"), (111, "0"), (161, "0.5"), (211, "1")] {
        let _ = write!(out, "<text class=\"tick mid\" x=\"{x}\" y=\"28\">{label}</text>");
    }
    let _ = write!(
        out,
        "<rect class=\"p3\" x=\"248\" y=\"1\" width=\"14\" height=\"14\"/><path class=\"mark\" stroke-width=\"5\" d=\"M255 8h0\"/>\
         <text class=\"tick\" x=\"268\" y=\"12\">finding</text>\
         <rect fill=\"url(#{hatch})\" x=\"336\" y=\"1\" width=\"14\" height=\"14\"/><text class=\"tick\" x=\"356\" y=\"12\">no r</text></svg>"
    );
    Html(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heat(p: usize) -> Heat {
        let cell = |at: usize| {
            (!at.is_multiple_of(5)).then_some(Cell { r: if at.is_multiple_of(2) { 0.8 } else { -0.31 }, n: 1_000, survives: true })
        };
        Heat {
            columns: (0..p).map(|at| format!("<c{at}>")).collect(),
            cells: (0..p * (p - 1) / 2).map(cell).collect(),
            n_candidates: p,
            n_without: 0,
            strongest: false,
        }
    }

    #[test]
    fn every_pair_has_one_cell_with_a_title() {
        for p in [3, 12, 30, 60] {
            let svg = draw(&heat(p), 60, "h").expect("three columns or more").0;
            assert_eq!(svg.matches("</title></rect>").count(), p * (p - 1) / 2);
            assert!(svg.contains("no r") && svg.contains("r -0.310, n 1,000, survives") && !svg.contains("<c0>"));
        }
    }

    #[test]
    fn two_columns_are_no_map_and_more_than_asked_for_are_not_drawn() {
        assert!(draw(&heat(2), 60, "h").is_none());
        assert_eq!(draw(&heat(30), 10, "h").expect("a map").0.matches("</title></rect>").count(), 45);
    }

    #[test]
    fn colours_follow_sign_and_size() {
        assert_eq!((class(0.04), class(-0.04), class(-1.0), class(0.96)), ("z".into(), "z".into(), "n10".into(), "p10".into()));
    }
}
