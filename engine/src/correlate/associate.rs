//! Every coefficient over a table in memory, with nulls that can be trusted.
//!
//! ```text
//! table -> one coefficient a pair -> p alone -> family -> Westfall-Young permutations | BH | BY -> verdict
//! ```
//!
//! Shape    pairs of all columns, or of the first `n_targets` with the others, in every slice of a [`Frame`]: all rows, groups, lags.
//!          Directed coefficients give two rows. One family holds the pairs of all slices.
//! Nulls    pairwise: a row counts for a pair when both cells are present; ranks are taken among those rows.
//! Numbers  Pearson's r, and Spearman's where no cell is missing, come from the streaming engine (one loop in f64, the same
//!          bytes); the others from one pair at a time, in f64 or whole numbers, so that no answer depends on threads.
//! Family   pairs that could reach the level: at least `min_n` rows, and 5 outside of the most frequent value of a column of
//!          two values or of categories.
//! Cost     products at GEMM speed for Pearson and Spearman; O(n) to O(n log n) a pair for the others.
//! Absent   tables larger than memory: [`super::Correlate`] streams Pearson's r.

use rayon::prelude::*;

use super::categories::{self, Codes};
use super::choose::{FEWEST_CARRIERS, ln_least_p};
use super::finish::{self, ColumnRow, Correlation, PairRow};
use super::frame::{Frame, Slice};
use super::method::{Method, MethodChoice};
use super::partial::{Basis, partial};
use super::permute::{self, Null};
use super::plan::{Asked, Parts, pairs_of};
use super::ranks::{self, Sorter};
use super::stat::Stat;
use super::{
    Correlate, CorrelateOptions, Precision, bootstrap, distance, effective, guards, kendall, permuted, pictures, simpson, weighted, xi,
};
use crate::EngineError;
use crate::analysis::run_on_batches;
use crate::backend::{Backend, Cost};
use crate::columns::{Cells, Levels, MISSING, TableColumn, Width, batch_of};
use crate::stats::{fisher_interval, ln_pearson_p, normal_quantile};
use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::{DataType, Field};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is asked for beyond the streaming engine's options.
#[derive(Debug, Clone, PartialEq)]
pub struct AssociateOptions {
    /// Level, family and schedule.
    pub correlate: CorrelateOptions,
    /// Which coefficient pairs get.
    pub method: MethodChoice,
    /// Permutations of the Westfall-Young adjustment; 0 for none.
    pub permutations: u32,
    /// Turns of the bootstrap behind the intervals; 0 for analytic ones.
    pub bootstrap: u32,
    /// Effect with a target above which a column tells it rather than goes with it.
    pub leak: f64,
    /// Columns, by position, that are known only after the target.
    pub known_after: Vec<usize>,
    /// Seed of the permutations and of the bootstrap.
    pub seed: u64,
}

impl AssociateOptions {
    /// Effect with a target above which a column is taken to tell it.
    pub const LEAK: f64 = 0.95;

    /// Returns plain options: no permutations, no bootstrap.
    #[must_use]
    pub const fn of(correlate: CorrelateOptions, method: MethodChoice) -> Self {
        Self { correlate, method, permutations: 0, bootstrap: 0, leak: Self::LEAK, known_after: Vec::new(), seed: 0 }
    }
}

/// Says that the work should stop.
pub(super) type Stop<'a> = dyn Fn() -> bool + Sync + 'a;

/// Relates the columns of a table in each of its slices; `stop` is asked now and then, and true ends the work with none.
///
/// # Errors
/// When fewer than two columns can be paired, or the rows of the result do not fit the memory.
pub fn associate(
    frame: &Frame,
    options: &AssociateOptions,
    on: &Backend,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Option<Correlation>, EngineError> {
    let pairs: Vec<Vec<Asked>> = frame.slices.iter().map(|slice| pairs_of(slice, options)).collect();
    let n_pairs: usize = pairs.iter().map(Vec::len).sum();
    if n_pairs == 0 {
        return Err(EngineError::TooFewColumns { found: frame.table.columns.len(), needed: 2 });
    }
    let (needed_bytes, budget_bytes) = (n_pairs as u64 * BYTES_PER_ROW, options.correlate.memory_bytes);
    if needed_bytes > budget_bytes / 2 {
        return Err(EngineError::Budget { what: format!("{n_pairs} pairs in memory"), needed_bytes: 2 * needed_bytes, budget_bytes });
    }
    let works: Vec<Work<'_>> = (frame.slices.iter().enumerate()).map(|(at, slice)| Work::new(at, slice, options, on, stop)).collect();
    let mut rows = Vec::with_capacity(n_pairs);
    for (work, pairs) in works.iter().zip(&pairs) {
        let Some(found) = work.rows(pairs)? else { return Ok(None) };
        let first = rows.len();
        rows.extend(found.into_iter().map(|row| PairRow { slice: work.at, ..row }));
        work.count_effective(&mut rows[first..]);
    }
    let null = if options.permutations > 0 { permute::null(&works, &rows) } else { Some(Null::default()) };
    let Some(null) = null else { return Ok(None) };
    let mut found = judge(frame, &works, rows, &null);
    found.simpson = simpson::check(&found, frame);
    found.pairs.truncate(options.correlate.top.unwrap_or(found.pairs.len()));
    if options.bootstrap > 0 && !works.iter().all(|work| bootstrap::apply(work, &mut found.pairs)) {
        return Ok(None);
    }
    let places: Vec<(usize, usize)> = found.pairs.iter().map(|row| (row.x, row.y)).collect();
    for row in &mut found.pairs {
        let slice = &frame.slices[row.slice];
        (row.group, row.lag) = (slice.group, slice.lag_of(row.x));
        (row.x, row.y) = (slice.origin(row.x), slice.origin(row.y));
    }
    found.pictures = pictures::of_findings(&found, |pair| {
        let columns = &frame.slices[found.pairs[pair].slice].table.columns;
        (&columns[places[pair].0], &columns[places[pair].1])
    });
    Ok(Some(found))
}

/// Returns the cost of what a device can do of the work on all rows; none where the CPU does all of it.
#[must_use]
pub fn device_cost(frame: &Frame, options: &AssociateOptions) -> Option<Cost> {
    let shape = (frame.n_rows(), frame.n_columns(), options.correlate.n_targets);
    likely_device_cost(options.method, options.correlate.precision, shape, options.permutations)
}

/// Returns the same before the rows are read: of rows, columns and targets.
#[must_use]
pub fn likely_device_cost(
    method: MethodChoice,
    precision: Precision,
    (n, p, n_targets): (usize, usize, usize),
    permutations: u32,
) -> Option<Cost> {
    let n_pairs = if n_targets > 0 { n_targets * (p - n_targets.min(p)) } else { p * p.saturating_sub(1) / 2 };
    if method == MethodChoice::One(Method::Kendall) {
        return Some(kendall::cost(n, p, n_pairs));
    }
    // Targets are permuted in f64; screening in f32 is one product more.
    let n_turns = if n_targets > 0 { 0 } else { permutations } + u32::from(precision.width(p) == Width::F32);
    (n_turns > 0).then(|| permuted::cost(n, p, n_pairs, n_turns))
}

/// Bytes of a row from its statistic to the table.
const BYTES_PER_ROW: u64 = 288;

/// What the parts of the work on one slice share.
pub(super) struct Work<'a> {
    /// Position of the slice.
    pub(super) at: usize,
    pub(super) slice: &'a Slice,
    pub(super) options: &'a AssociateOptions,
    pub(super) on: &'a Backend,
    pub(super) stop: &'a Stop<'a>,
    /// Spans the controls, or their ranks, over all rows; none where nothing is held fixed.
    basis: Option<Basis>,
    /// What columns are to permutations, and which have all rows.
    pub(super) parts: Parts,
    /// Average ranks of every column of numbers, where the coefficient takes them; empty elsewhere.
    ranks: Vec<Float64Array>,
}

impl<'a> Work<'a> {
    fn new(at: usize, slice: &'a Slice, options: &'a AssociateOptions, on: &'a Backend, stop: &'a Stop<'a>) -> Self {
        let ranked = options.method == MethodChoice::One(Method::Spearman);
        let basis = (!slice.controls.is_empty()).then(|| {
            let controls: Vec<Vec<f64>> =
                slice.controls.iter().map(|control| if ranked { ranks::average_ranks(control) } else { control.clone() }).collect();
            Basis::of(&controls, slice.table.n_rows)
        });
        let of_column = |sorter: &mut Sorter, column: &TableColumn| {
            Float64Array::from(column.numbers().map(|cells| sorter.average_ranks(cells)).unwrap_or_default())
        };
        let ranks = if ranked { slice.table.columns.par_iter().map_init(Sorter::default, of_column).collect() } else { Vec::new() };
        Self { at, slice, options, on, stop, basis, parts: Parts::of(&slice.table), ranks }
    }

    /// Returns one row a pair, not yet adjusted; none where the work was stopped.
    fn rows(&self, pairs: &[Asked]) -> Result<Option<Vec<PairRow>>, EngineError> {
        if let Some(weights) = &self.slice.weights {
            return Ok(weighted::rows(self, pairs, weights));
        }
        let mut streamed = HashMap::new();
        for method in [Method::Pearson, Method::Spearman] {
            if pairs.iter().any(|pair| pair.method == method) {
                streamed.extend(self.products(method)?);
            }
        }
        let Some(tau) = self.tau(pairs) else { return Ok(None) };
        let parts = &self.parts;
        let stopped = AtomicBool::new(false);
        let row = |(at, pair): (usize, &Asked)| {
            if stopped.load(Ordering::Relaxed) || (at % 64 == 0 && (self.stop)()) {
                stopped.store(true, Ordering::Relaxed);
                return None;
            }
            let whole = parts.is_complete(pair.x) && parts.is_complete(pair.y);
            let known = match pair.method {
                Method::Pearson if whole || self.basis.is_none() => streamed.get(&(pair.method, pair.x, pair.y)),
                Method::Spearman if whole => streamed.get(&(pair.method, pair.x, pair.y)),
                _ => None,
            };
            match (known, tau.get(&at)) {
                (Some(row), _) => Some(row.clone()),
                (None, Some(stat)) => Some(self.row(*pair, *stat)),
                (None, None) => Some(self.row(*pair, self.statistic(*pair))),
            }
        };
        let rows: Vec<Option<PairRow>> = pairs.par_iter().enumerate().map(row).collect();
        Ok(rows.into_iter().collect())
    }

    /// Returns the rows of a coefficient that is a product of columns: of the numbers, or of their ranks.
    fn products(&self, method: Method) -> Result<HashMap<(Method, usize, usize), PairRow>, EngineError> {
        let columns = &self.slice.table.columns;
        let positions: Vec<usize> = (0..columns.len()).filter(|&at| columns[at].numbers().is_some()).collect();
        let batch = match (method, &self.basis) {
            (Method::Pearson, None) => self.slice.table.batch(&positions),
            _ => batch_of(self.prepared(&positions, method == Method::Spearman)),
        };
        let n_first = positions.iter().filter(|&&at| at < self.slice.n_first).count();
        // First columns that are all categories have no pair here; all others would be paired with each other.
        if positions.len() < 2 || (n_first == 0) != (self.slice.n_first == 0) || n_first == positions.len() {
            return Ok(HashMap::new());
        }
        let options = CorrelateOptions { top: None, n_targets: n_first, ..self.options.correlate.clone() };
        let mut analysis = Correlate::new(&batch.schema(), (0..positions.len()).collect(), options)?;
        let found = run_on_batches(&mut analysis, self.on, &[batch])?;
        let row = |row: PairRow| {
            let (x, y) = (positions[row.x], positions[row.y]);
            let interval = if method == Method::Spearman { self.interval(method, row.r, row.n) } else { row.interval };
            ((method, x, y), self.with_controls(PairRow { x, y, method, interval, ..row }))
        };
        Ok(found.pairs.into_iter().map(row).collect())
    }

    /// Returns columns of numbers as products take them: their ranks where asked, and what controls leave of them.
    fn prepared(&self, positions: &[usize], ranked: bool) -> Vec<(Field, ArrayRef)> {
        let prepare = |&at: &usize| {
            let column = &self.slice.table.columns[at];
            let cells = match self.ranks.get(at) {
                Some(ranks) if ranked && self.basis.is_none() => ranks.clone(),
                _ => Float64Array::from(self.residual_of(at, ranked).into_owned()),
            };
            (Field::new(&column.name, DataType::Float64, true), Arc::new(cells) as ArrayRef)
        };
        positions.par_iter().map(prepare).collect()
    }

    /// Returns the numbers of a column, or their ranks, less what the controls explain; zeros where they explain everything.
    /// A column with missing cells is regressed over its own rows.
    pub(super) fn residual_of(&self, at: usize, ranked: bool) -> Cow<'_, [f64]> {
        let cells: &[f64] = match self.ranks.get(at) {
            Some(ranks) if ranked => ranks.values(),
            _ => self.slice.table.columns[at].numbers().unwrap_or_default(),
        };
        let Some(basis) = &self.basis else { return Cow::Borrowed(cells) };
        let rows: Vec<usize> = (0..cells.len()).filter(|&row| cells[row].is_finite()).collect();
        if rows.len() == cells.len() {
            return Cow::Owned(basis.residual(cells).unwrap_or_else(|| vec![0.0; cells.len()]));
        }
        let part = |cells: &[f64]| rows.iter().map(|&row| cells[row]).collect::<Vec<f64>>();
        let controls: Vec<Vec<f64>> = self.slice.controls.iter().map(|control| part(control)).collect();
        let mut left = vec![f64::NAN; cells.len()];
        let residual = Basis::of(&controls, rows.len()).residual(&part(cells)).unwrap_or_else(|| vec![0.0; rows.len()]);
        rows.iter().zip(residual).for_each(|(&row, x)| left[row] = x);
        Cow::Owned(left)
    }

    /// Gives a row of residuals the p and interval that the controls leave it.
    fn with_controls(&self, row: PairRow) -> PairRow {
        let Some(basis) = &self.basis else { return row };
        let n = row.n.saturating_sub(basis.n_controls());
        let ln_p = row.r.and_then(|r| ln_pearson_p(r, n));
        let interval = row.r.and_then(|r| fisher_interval(r, n, self.options.correlate.alpha));
        PairRow { p: ln_p.map(libm::exp), ln_p: row.ln_p.and(ln_p), interval, ..row }
    }

    /// Returns Kendall's tau of the complete pairs, by position among the pairs; none where the work was stopped.
    fn tau(&self, pairs: &[Asked]) -> Option<HashMap<usize, Stat>> {
        let parts = &self.parts;
        let is_wanted = |pair: &Asked| pair.method == Method::Kendall && parts.is_complete(pair.x) && parts.is_complete(pair.y);
        let wanted: Vec<usize> = (0..pairs.len()).filter(|&at| is_wanted(&pairs[at])).collect();
        if wanted.is_empty() {
            return Some(HashMap::new());
        }
        let mut place = HashMap::new();
        let mut columns: Vec<&[f64]> = Vec::new();
        let mut at = |column: usize| {
            *place.entry(column).or_insert_with(|| {
                columns.push(self.slice.table.columns[column].numbers().unwrap_or_default());
                u32::try_from(columns.len() - 1).expect("columns are counted in u32")
            })
        };
        let places: Vec<(u32, u32)> = wanted.iter().map(|&pair| (at(pairs[pair].x), at(pairs[pair].y))).collect();
        let stats = kendall::all_pairs(self.on, &columns, &places, &|| (self.stop)())?;
        Some(wanted.into_iter().zip(stats).collect())
    }

    /// Computes one coefficient of one pair of whole columns.
    fn statistic(&self, pair: Asked) -> Stat {
        self.of_views(pair.method, View::of(&self.slice.table.columns[pair.x]), View::of(&self.slice.table.columns[pair.y]))
    }

    /// Computes one coefficient of one pair, with the controls held fixed where there are any.
    pub(super) fn of_views(&self, method: Method, x: View<'_>, y: View<'_>) -> Stat {
        match (&self.basis, x, y) {
            (Some(_), View::Numbers(x), View::Numbers(y)) => partial(x, y, &self.slice.controls, method == Method::Spearman),
            _ => statistic(method, x, y),
        }
    }

    /// Turns a statistic into a row; pairs that could not reach the level leave the family here.
    pub(super) fn row(&self, pair: Asked, stat: Stat) -> PairRow {
        let views = [View::of(&self.slice.table.columns[pair.x]), View::of(&self.slice.table.columns[pair.y])];
        let minors = minors(views);
        let n_minor = stat.n_minor.into_iter().chain(minors.into_iter().flatten()).min();
        let ln_p_min = ln_least_p(stat.n, minors);
        let options = &self.options.correlate;
        let enough = stat.n >= options.min_n.max(3)
            && n_minor.is_none_or(|k| k >= FEWEST_CARRIERS)
            && ln_p_min.is_none_or(|p| p <= libm::log(options.alpha));
        let ln_p = stat.ln_p.filter(|_| enough && stat.value.is_some());
        PairRow {
            x: pair.x,
            y: pair.y,
            group: None,
            lag: None,
            slice: self.at,
            n: stat.n,
            effective_n: None,
            method: pair.method,
            r: stat.value,
            interval: self.interval(pair.method, stat.value, stat.n),
            p: stat.ln_p.filter(|_| stat.value.is_some()).map(libm::exp),
            ln_p,
            p_perm: None,
            q: None,
            n_minor,
            p_min_attainable: ln_p_min.map(libm::exp),
            leverage_max: None,
            confirmed: None,
            settled: true,
            verdict: finish::Verdict::TooFew,
        }
    }

    /// Returns the interval of a rank correlation on Fisher's scale: Bonett and Wright 2000 for Spearman, Fieller, Hartley
    /// and Pearson 1957 for Kendall. Others have none without a bootstrap.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    fn interval(&self, method: Method, value: Option<f64>, n: u64) -> Option<(f64, f64)> {
        let r = value.filter(|_| n > 4)?;
        let variance = match method {
            Method::Spearman => (1.0 + r * r / 2.0) / (n - 3) as f64,
            Method::Kendall => 0.437 / (n - 4) as f64,
            _ => return None,
        };
        if r.abs() >= 1.0 {
            return Some((r, r));
        }
        let reach = normal_quantile(1.0 - self.options.correlate.alpha / 2.0) * libm::sqrt(variance);
        Some((libm::tanh(libm::atanh(r) - reach), libm::tanh(libm::atanh(r) + reach)))
    }

    /// Gives r of rows in time its effective n, and the p that follows from it.
    fn count_effective(&self, rows: &mut [PairRow]) {
        let exchange = &self.slice.exchange;
        if !exchange.shifts() {
            return;
        }
        let of_column = |column: &TableColumn| column.numbers().map(|cells| effective::autocorrelations(&exchange.arranged(cells)));
        let known: Vec<Option<Vec<f64>>> = self.slice.table.columns.par_iter().map(of_column).collect();
        rows.par_iter_mut().filter(|row| matches!(row.method, Method::Pearson | Method::Spearman)).for_each(|row| {
            if let (Some(x), Some(y)) = (&known[row.x], &known[row.y]) {
                effective::apply(row, x, y, self.options.correlate.alpha);
            }
        });
    }
}

/// Adjusts, judges and orders the rows of all slices.
fn judge(frame: &Frame, works: &[Work<'_>], mut rows: Vec<PairRow>, null: &Null) -> Correlation {
    let asked = works[0].options;
    let options = &asked.correlate;
    for (row, p) in rows.iter_mut().zip(&null.p) {
        row.p_perm = *p;
    }
    rows.par_sort_by(better);
    let ln_p: Vec<f64> = rows.iter().map_while(|row| row.ln_p).collect();
    let family = ln_p.len() as u64;
    for (row, q) in rows.iter_mut().zip(finish::adjusted(&ln_p, family, options.adjust)) {
        row.q = Some(q);
    }
    for row in &mut rows {
        let adjusted = if asked.permutations > 0 { row.p_perm } else { row.q };
        row.verdict = finish::verdict(adjusted.filter(|_| row.ln_p.is_some()), options.alpha);
    }
    let mut copies = Vec::new();
    for work in works {
        let first_copies = guards::guard(work, &mut rows);
        if work.at == 0 && work.slice.lag.is_none() {
            copies = first_copies;
        }
    }
    let n_rows = frame.table.n_rows as u64;
    Correlation {
        columns: frame.table.columns.par_iter().map(|column| column_row(column, n_rows)).collect(),
        n_pairs: rows.len() as u64,
        pairs: rows,
        n_rows,
        family,
        width: options.precision.width(frame.table.columns.len()),
        wide: false,
        adjust: options.adjust,
        permutations: asked.permutations,
        n_targets: options.n_targets,
        groups: frame.groups.clone(),
        copies,
        simpson: Vec::new(),
        pictures: Vec::new(),
        alpha: options.alpha,
        min_effect: options.min_effect,
    }
}

/// Best first: tested before untested, then by p, by size of the value, by column.
fn better(a: &PairRow, b: &PairRow) -> std::cmp::Ordering {
    let size = |row: &PairRow| row.r.map_or(0.0, |r| row.method.effect_size(r));
    let ln_p = |row: &PairRow| row.ln_p.unwrap_or(f64::INFINITY);
    ln_p(a).total_cmp(&ln_p(b)).then(size(b).total_cmp(&size(a))).then((a.slice, a.x, a.y).cmp(&(b.slice, b.x, b.y)))
}

/// The cells of one column, as they are or permuted.
#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a> {
    Numbers(&'a [f64]),
    Levels(Codes<'a>),
}

impl<'a> View<'a> {
    pub(super) fn of(column: &'a TableColumn) -> Self {
        match &column.cells {
            Cells::Numbers(numbers) => Self::Numbers(numbers.values()),
            Cells::Levels(Levels { codes, names }) => Self::Levels(Codes { codes, n_levels: names.len() }),
        }
    }
}

/// Computes one coefficient of one pair.
pub(super) fn statistic(method: Method, x: View<'_>, y: View<'_>) -> Stat {
    match (method, x, y) {
        (Method::Pearson, View::Numbers(x), View::Numbers(y)) => product_moment(x, y),
        (Method::Spearman, View::Numbers(x), View::Numbers(y)) => spearman(x, y),
        (Method::Kendall, View::Numbers(x), View::Numbers(y)) => kendall::tau_b(x, y),
        (Method::Xi, View::Numbers(x), View::Numbers(y)) => xi::xi(x, y),
        (Method::Distance, View::Numbers(x), View::Numbers(y)) => distance::distance_correlation(x, y),
        (Method::CramersV, View::Levels(x), View::Levels(y)) => categories::cramers_v(x, y),
        (Method::TheilsU, View::Levels(x), View::Levels(y)) => categories::theils_u(x, y),
        (Method::MutualInformation, View::Levels(x), View::Levels(y)) => categories::mutual_information(x, y),
        (Method::EtaSquared, View::Levels(x), View::Numbers(y)) | (Method::EtaSquared, View::Numbers(y), View::Levels(x)) => {
            categories::correlation_ratio(x, y)
        }
        // A pair gets a coefficient of its types alone.
        _ => Stat::default(),
    }
}

/// Spearman's rho over the rows where both are present: Pearson's r of ranks among those rows.
fn spearman(x: &[f64], y: &[f64]) -> Stat {
    let (x, y): (Vec<f64>, Vec<f64>) = x.iter().zip(y).filter(|(x, y)| x.is_finite() && y.is_finite()).map(|(x, y)| (*x, *y)).unzip();
    product_moment(&ranks::average_ranks(&x), &ranks::average_ranks(&y))
}

/// Pearson's r of one pair: two passes in fixed lanes over the rows where both are present.
pub(super) fn product_moment(x: &[f64], y: &[f64]) -> Stat {
    use crate::simd::{dot, reach, write_deviations};
    let both: Vec<(f64, f64)> = x.iter().zip(y).filter(|(x, y)| x.is_finite() && y.is_finite()).map(|(x, y)| (*x, *y)).collect();
    let (x, y): (Vec<f64>, Vec<f64>) = both.into_iter().unzip();
    let n = x.len() as u64;
    let (Some(x_reach), Some(y_reach)) = (reach(&x), reach(&y)) else { return Stat::default() };
    let (mut dx, mut dy) = (vec![0.0; x.len()], vec![0.0; y.len()]);
    let (x_sum, x_squares) = write_deviations(&x, &mut dx, x_reach.origin());
    let (y_sum, y_squares) = write_deviations(&y, &mut dy, y_reach.origin());
    let moments = super::pair::PairMoments::of_sums(n, [x_sum, y_sum], [x_squares, y_squares], dot(&dx, &dy));
    let value = moments.r();
    Stat { n, value, ln_p: value.and_then(|r| ln_pearson_p(r, n)), n_minor: None }
}

/// Returns, for each side of two values, the rows of the rarer one among those of the pair.
fn minors(sides: [View<'_>; 2]) -> [Option<u64>; 2] {
    let present = |side: View<'_>, row: usize| match side {
        View::Numbers(cells) => cells[row].is_finite(),
        View::Levels(levels) => levels.codes[row] != MISSING,
    };
    [0, 1].map(|side| two_valued(sides[side], |row| present(sides[1 - side], row)))
}

/// Returns the rows of the rarer of two values; none where a column has more values, or one.
#[allow(clippy::float_cmp, reason = "cells are compared with cells")]
fn two_valued(side: View<'_>, counts: impl Fn(usize) -> bool) -> Option<u64> {
    fn rarer<T: Copy + PartialEq>(cells: impl Iterator<Item = (usize, T)>, counts: impl Fn(usize) -> bool) -> Option<u64> {
        let (mut first, mut second): (Option<T>, Option<T>) = (None, None);
        let mut n = [0_u64; 2];
        for (row, cell) in cells {
            let at = match (first, second) {
                (None, _) => {
                    first = Some(cell);
                    0
                }
                (Some(a), _) if a == cell => 0,
                (_, None) => {
                    second = Some(cell);
                    1
                }
                (_, Some(b)) if b == cell => 1,
                _ => return None,
            };
            n[at] += u64::from(counts(row));
        }
        second.map(|_| n[0].min(n[1]))
    }
    match side {
        View::Numbers(cells) => rarer(cells.iter().copied().enumerate().filter(|(_, x)| x.is_finite()), counts),
        View::Levels(levels) => rarer(levels.codes.iter().copied().enumerate().filter(|(_, code)| *code != MISSING), counts),
    }
}

/// Rows of a column that are looked at at a time: they stay in the second-level cache.
const ROWS_AT_ONCE: usize = 16_384;

fn column_row(column: &TableColumn, n_rows: u64) -> ColumnRow {
    let n = column.n_present() as u64;
    let of_levels = || {
        // One level alone is a constant column; other categories have no smallest one.
        let one = column.levels().is_some_and(|levels| levels.names.len() == 1);
        ColumnRow {
            name: column.name.clone(),
            n,
            missing: n_rows - n,
            mean: None,
            sd: None,
            min: one.then_some(0.0),
            max: one.then_some(0.0),
        }
    };
    let Some(cells) = column.numbers() else { return of_levels() };
    let Some(reach) = crate::simd::reach(cells) else {
        return ColumnRow { name: column.name.clone(), n, missing: n_rows - n, mean: None, sd: None, min: None, max: None };
    };
    let origin = reach.origin();
    let mut deviations = vec![0.0; cells.len().min(ROWS_AT_ONCE)];
    let (mut sum, mut squares) = (0.0, 0.0);
    for cells in cells.chunks(ROWS_AT_ONCE) {
        let of_part = crate::simd::write_deviations(cells, &mut deviations[..cells.len()], origin);
        (sum, squares) = (sum + of_part.0, squares + of_part.1);
    }
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    let rows = n as f64;
    let spread = libm::sqrt((squares - sum * (sum / rows)).max(0.0) / (rows - 1.0));
    ColumnRow {
        name: column.name.clone(),
        n,
        missing: n_rows - n,
        mean: Some(origin.centre + libm::ldexp(sum / rows, origin.unit)),
        sd: (n > 1).then(|| libm::ldexp(spread, origin.unit)),
        min: Some(reach.min),
        max: Some(reach.max),
    }
}
