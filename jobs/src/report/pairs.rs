//! What the report keeps of a table of pairs, which may be far larger than memory.
//!
//! The table is read twice in batches. The first pass counts verdicts, fills the histogram of |r|, keeps the
//! strongest pairs and learns how strong each column is; the second fetches the cells between the columns that are
//! drawn. Memory is one entry for each column plus what is drawn.
//!
//! Nulls    a pair without r (constant column, too few rows) is counted and drawn as missing.
//! Ties     the earlier row, or the column that comes first in the table, wins.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;

use gristmill_engine::correlate::Method;

use super::tables::{Batch, TableError, each_batch};

/// Columns of the largest heat map: beyond it cells are too small to point at.
pub(super) const HEAT_COLUMNS: usize = 60;
/// Pairs kept for the table.
pub(super) const TOP_PAIRS: usize = 50;
/// Bars of the histogram over |r|.
pub(super) const BINS: usize = 20;
/// Different verdicts counted; a table that holds more words is not ours.
const MOST_VERDICTS: usize = 16;
/// The verdict of a pair that became a finding.
pub(super) const SURVIVES: &str = "survives";
/// The report's word for a pair that is sure but smaller than the minimum effect, and so no finding.
pub(super) const TOO_WEAK: &str = "too_weak";

/// What a pair has to reach to be a finding.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    pub(super) alpha: f64,
    pub(super) min_effect: f64,
}

impl Level {
    /// Returns the verdict, told apart where the table's word leaves open whether a pair is unsure or merely small.
    fn judge<'a>(self, verdict: &'a str, method: &str, r: Option<f64>, q: Option<f64>) -> &'a str {
        let small = r.is_some_and(|r| effect_size(method, r) < self.min_effect);
        let sure = verdict == SURVIVES || (verdict == "not_significant" && q.is_some_and(|q| q <= self.alpha));
        if small && sure { TOO_WEAK } else { verdict }
    }
}

/// Returns the size of a coefficient's value on the scale of |r|, which the minimum effect is compared with.
fn effect_size(method: &str, value: f64) -> f64 {
    Method::ALL.into_iter().find(|known| known.word() == method).map_or_else(|| value.abs(), |method| method.effect_size(value))
}

/// One row of a table of pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct PairRow {
    /// First column.
    pub x: String,
    /// Second column.
    pub y: String,
    /// Group within which the pair was correlated.
    pub group: Option<String>,
    /// Rows by which the second column was shifted.
    pub lag: Option<i64>,
    /// Name of the statistic.
    pub method: String,
    /// Correlation, none where it is not defined.
    pub r: Option<f64>,
    /// Rows in which both were present.
    pub n: u64,
    /// Lower end of the interval.
    pub lo: Option<f64>,
    /// Upper end of the interval.
    pub hi: Option<f64>,
    /// P-value of the pair alone.
    pub p: Option<f64>,
    /// P-value adjusted by permutation.
    pub p_perm: Option<f64>,
    /// P-value adjusted over the family.
    pub q: Option<f64>,
    /// What became of the pair.
    pub verdict: String,
}

/// A bar of the histogram over |r|.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bin {
    /// Pairs that became findings.
    pub survive: u64,
    /// The others.
    pub other: u64,
}

/// A cell of the heat map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Correlation.
    pub r: f64,
    /// Rows in which both were present.
    pub n: u64,
    /// Whether the pair became a finding.
    pub survives: bool,
}

/// The columns drawn and the correlations between them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heat {
    /// Columns drawn, strongest first.
    pub columns: Vec<String>,
    /// Lower triangle by rows: cell (i, j), j < i, at i (i - 1) / 2 + j.
    pub cells: Vec<Option<Cell>>,
    /// Columns with any correlation.
    pub n_candidates: usize,
    /// Columns without any.
    pub n_without: usize,
    /// Whether a cell is the strongest of several rows (groups, lags or methods).
    pub strongest: bool,
}

impl Heat {
    /// Returns the cell between two columns.
    #[must_use]
    pub fn cell(&self, a: usize, b: usize) -> Option<Cell> {
        let (i, j) = (a.max(b), a.min(b));
        if i == j { None } else { self.cells.get(i * (i - 1) / 2 + j).copied().flatten() }
    }
}

/// What is kept of a table of pairs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PairData {
    /// Rows of the table.
    pub n_rows: u64,
    /// Rows whose numbers were settled in f64.
    pub n_settled: u64,
    /// Rows without a correlation.
    pub n_undefined: u64,
    /// Smallest and largest number of rows behind a pair.
    pub n_range: Option<(u64, u64)>,
    /// Rows by verdict, most first.
    pub verdicts: Vec<(String, u64)>,
    /// Rows at or below alpha by p alone, by q and by permutations, of the family; none where the table has no such value.
    pub passed: [Option<u64>; 3],
    /// Pairs by |r| in steps of 0.05.
    pub histogram: [Bin; BINS],
    /// Strongest pairs first.
    pub top: Vec<PairRow>,
    /// The heat map.
    pub heat: Heat,
    /// The one column that every pair has, where there is one.
    pub target: Option<String>,
}

impl PairData {
    /// Returns the number of rows with this verdict.
    #[must_use]
    pub fn n_with(&self, verdict: &str) -> u64 {
        self.verdicts.iter().find(|(word, _)| word == verdict).map_or(0, |(_, n)| *n)
    }
}

/// Reads what is kept of the table of pairs at `path`; none where there is no such file.
///
/// # Errors
/// When the file cannot be decoded or lacks a column that the report needs.
pub(super) fn read(path: &Path, level: Level) -> Result<Option<PairData>, TableError> {
    let mut scan = Scan { level, ..Scan::default() };
    if !each_batch(path, |batch| scan.absorb(batch))? {
        return Ok(None);
    }
    let plain = scan.n_plain > 0;
    let mut data = scan.finish();
    each_batch(path, |batch| fill_cells(batch, plain, level, &mut data.heat))?;
    Ok(Some(data))
}

/// How strong a column is, over its pairs.
#[derive(Debug, Clone, Copy, Default)]
struct Strength {
    survive: u64,
    largest: f64,
    defined: bool,
}

impl Strength {
    fn add(&mut self, size: f64, survives: bool) {
        self.survive += u64::from(survives);
        self.largest = self.largest.max(size);
        self.defined = true;
    }
}

/// A column seen in the first pass.
#[derive(Debug, Clone, Default)]
struct Seen {
    name: String,
    rows: u64,
    /// Over rows without group and lag, and over all rows.
    plain: Strength,
    all: Strength,
}

/// State of the first pass.
#[derive(Default)]
struct Scan {
    data: PairData,
    seen: Vec<Seen>,
    index: HashMap<String, usize>,
    n_plain: u64,
    level: Level,
    /// |r| that a row must pass to be kept, once enough are.
    bar: Option<f64>,
}

impl Scan {
    fn absorb(&mut self, batch: &Batch<'_>) -> Result<(), String> {
        batch.require(&["x", "y", "r", "n", "verdict"])?;
        let (x, y, group, method, verdict) =
            (batch.text("x"), batch.text("y"), batch.text("group"), batch.text("method"), batch.text("verdict"));
        let (r, lo, hi) = (batch.number("r"), batch.number("lo"), batch.number("hi"));
        let (p, p_perm, q) = (batch.number("p"), batch.number("p_perm"), batch.number("q"));
        let (n, lag, settled) = (batch.count("n"), batch.integer("lag"), batch.flag("settled"));
        for row in 0..batch.n_rows() {
            let (rows, word) = (n.at(row).unwrap_or(0), verdict.at(row).unwrap_or("no verdict"));
            let word = self.level.judge(word, method.at(row).unwrap_or(""), r.at(row), q.at(row));
            self.count_levels([p.at(row).filter(|_| q.at(row).is_some()), q.at(row), p_perm.at(row)]);
            self.count(rows, settled.at(row).unwrap_or(true), word);
            let plain = group.at(row).is_none() && lag.at(row).unwrap_or(0) == 0;
            self.n_plain += u64::from(plain);
            self.weigh([x.at(row).unwrap_or(""), y.at(row).unwrap_or("")], r.at(row), word == SURVIVES, plain);
            if self.is_strong(r.at(row)) {
                self.data.top.push(PairRow {
                    x: x.owned(row),
                    y: y.owned(row),
                    group: group.at(row).map(ToOwned::to_owned),
                    lag: lag.at(row),
                    method: method.owned(row),
                    r: r.at(row),
                    n: rows,
                    lo: lo.at(row),
                    hi: hi.at(row),
                    p: p.at(row),
                    p_perm: p_perm.at(row),
                    q: q.at(row),
                    verdict: word.to_owned(),
                });
                self.shorten_top(4 * TOP_PAIRS);
            }
        }
        Ok(())
    }

    /// Counts a row by p alone, by q and by permutations.
    fn count_levels(&mut self, values: [Option<f64>; 3]) {
        for (passed, value) in self.data.passed.iter_mut().zip(values) {
            if let Some(value) = value {
                *passed = Some(passed.unwrap_or(0) + u64::from(value <= self.level.alpha));
            }
        }
    }

    /// Counts a row.
    fn count(&mut self, rows: u64, settled: bool, verdict: &str) {
        let data = &mut self.data;
        data.n_rows += 1;
        data.n_settled += u64::from(settled);
        data.n_range = Some(data.n_range.map_or((rows, rows), |(low, high)| (low.min(rows), high.max(rows))));
        if let Some((_, n)) = data.verdicts.iter_mut().find(|(word, _)| word == verdict) {
            *n += 1;
        } else if data.verdicts.len() < MOST_VERDICTS {
            data.verdicts.push((verdict.to_owned(), 1));
        }
    }

    /// Adds a row to the histogram and to the strength of its two columns.
    fn weigh(&mut self, names: [&str; 2], r: Option<f64>, survives: bool, plain: bool) {
        for name in names {
            let at = self.column(name);
            self.seen[at].rows += 1;
            if let Some(r) = r {
                self.seen[at].all.add(r.abs(), survives);
                if plain {
                    self.seen[at].plain.add(r.abs(), survives);
                }
            }
        }
        match r {
            Some(r) => {
                let bin = &mut self.data.histogram[bin_of(r)];
                *(if survives { &mut bin.survive } else { &mut bin.other }) += 1;
            }
            None => self.data.n_undefined += 1,
        }
    }

    /// Returns the place of a column, giving it one at first sight.
    fn column(&mut self, name: &str) -> usize {
        if let Some(&at) = self.index.get(name) {
            return at;
        }
        self.index.insert(name.to_owned(), self.seen.len());
        self.seen.push(Seen { name: name.to_owned(), ..Seen::default() });
        self.seen.len() - 1
    }

    /// Says whether a row may be among the strongest.
    fn is_strong(&self, r: Option<f64>) -> bool {
        self.bar.is_none_or(|bar| size_of(r) > bar)
    }

    /// Cuts the strongest pairs back once there are `most`; the sort is stable, so the earlier of equals stays.
    fn shorten_top(&mut self, most: usize) {
        let top = &mut self.data.top;
        if top.len() >= most {
            top.sort_by(|a, b| size_of(b.r).total_cmp(&size_of(a.r)));
            top.truncate(TOP_PAIRS);
            self.bar = top.get(TOP_PAIRS - 1).map(|last| size_of(last.r));
        }
    }

    /// Ends the first pass: sorts what is shown and chooses the columns to draw.
    fn finish(mut self) -> PairData {
        self.shorten_top(0);
        self.data.verdicts.sort_by_key(|(word, n)| (word != SURVIVES, Reverse(*n)));
        self.data.target = self.target();
        self.data.heat = self.choose();
        self.data
    }

    /// Returns the one column that every row has; two columns alone have no target.
    fn target(&self) -> Option<String> {
        let mut everywhere = self.seen.iter().filter(|seen| seen.rows == self.data.n_rows);
        match (everywhere.next(), everywhere.next()) {
            (Some(one), None) if self.seen.len() > 2 => Some(one.name.clone()),
            _ => None,
        }
    }

    /// Chooses the columns with the most findings, then with the strongest pair.
    fn choose(&self) -> Heat {
        let strength = |seen: &Seen| if self.n_plain > 0 { seen.plain } else { seen.all };
        let mut ranked: Vec<&Seen> = self.seen.iter().filter(|seen| strength(seen).defined).collect();
        ranked.sort_by(|a, b| {
            let (a, b) = (strength(a), strength(b));
            b.survive.cmp(&a.survive).then(b.largest.total_cmp(&a.largest))
        });
        let (n_candidates, n_without) = (ranked.len(), self.seen.len() - ranked.len());
        ranked.truncate(HEAT_COLUMNS);
        let p = ranked.len();
        let columns = ranked.into_iter().map(|seen| seen.name.clone()).collect();
        Heat { columns, cells: vec![None; p * p.saturating_sub(1) / 2], n_candidates, n_without, strongest: false }
    }
}

/// Fills the cells from one batch; of several rows of one pair the strongest is drawn.
fn fill_cells(batch: &Batch<'_>, plain_only: bool, level: Level, heat: &mut Heat) -> Result<(), String> {
    batch.require(&["x", "y", "r", "n", "verdict"])?;
    let places: HashMap<String, usize> = heat.columns.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
    let (x, y, group, verdict) = (batch.text("x"), batch.text("y"), batch.text("group"), batch.text("verdict"));
    let method = batch.text("method");
    let (r, n, lag) = (batch.number("r"), batch.count("n"), batch.integer("lag"));
    for row in 0..batch.n_rows() {
        let skip = plain_only && (group.at(row).is_some() || lag.at(row).unwrap_or(0) != 0);
        let (Some(x), Some(y), Some(r), false) = (x.at(row), y.at(row), r.at(row), skip) else { continue };
        let (Some(&a), Some(&b)) = (places.get(x), places.get(y)) else { continue };
        if a == b {
            continue;
        }
        let (i, j) = (a.max(b), a.min(b));
        let cell = &mut heat.cells[i * (i - 1) / 2 + j];
        heat.strongest |= cell.is_some();
        if cell.is_none_or(|old| r.abs() > old.r.abs()) {
            *cell = Some(Cell {
                r,
                n: n.at(row).unwrap_or(0),
                survives: level.judge(verdict.at(row).unwrap_or(""), method.at(row).unwrap_or(""), Some(r), None) == SURVIVES,
            });
        }
    }
    Ok(())
}

/// Returns |r|, or less than any where there is none.
fn size_of(r: Option<f64>) -> f64 {
    r.map_or(-1.0, f64::abs)
}

/// Returns the bar of a correlation; 1 belongs to the last.
fn bin_of(r: f64) -> usize {
    ((r.abs() * BINS as f64) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_cover_nothing_to_one() {
        assert_eq!((bin_of(0.0), bin_of(-0.049), bin_of(0.05), bin_of(1.0), bin_of(-1.0)), (0, 0, 1, 19, 19));
    }

    #[test]
    fn a_scan_knows_the_target() {
        let mut scan = Scan::default();
        for feature in ["a", "b", "c"] {
            scan.count(10, true, "survives");
            scan.weigh([feature, "spend"], Some(0.5), true, true);
        }
        assert_eq!(scan.target().as_deref(), Some("spend"));
        scan.count(10, true, "survives");
        scan.weigh(["a", "b"], None, false, true);
        assert_eq!(scan.target(), None);
    }

    #[test]
    fn columns_with_findings_are_drawn_first() {
        let mut scan = Scan::default();
        for (x, y, r, survives) in [("a", "b", Some(0.9), false), ("a", "c", Some(0.3), true), ("a", "d", None, false)] {
            scan.count(10, true, "x");
            scan.weigh([x, y], r, survives, true);
            scan.n_plain += 1;
        }
        let heat = scan.choose();
        assert_eq!(heat.columns, ["a", "c", "b"]);
        assert_eq!((heat.n_candidates, heat.n_without, heat.cells.len()), (3, 1, 3));
    }
}
