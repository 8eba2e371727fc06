//! k-means of rows that come block by block, as often as they are asked for: of a table in memory, or of a file that is larger.
//!
//! ```text
//! pass 1      cells present, complete rows
//! pass 2      means; rows drawn: SAMPLE for k, seeds and stability, at most DRAWN for all that looks at rows side by side
//! pass 3      standard deviations
//! passes      Lloyd: one for each iteration, labels held in two bytes each; in batches: one, and one for labels
//! last pass   places, inertia, what sets segments apart, how columns are spread: given out block by block
//! ```
//!
//! The same code for both, in the order of the rows: what comes out does not depend on where rows are, nor on how they are cut.
//!
//! Drawn    exemplars, rules, silhouettes and the map are of at most [`DRAWN`] rows, fewer where there are many columns; robust scales too.
//! Memory   rows drawn (8 bytes a cell, and as much again twice), a label of 2 bytes a row, three blocks.

use std::io;

use arrow::array::Float64Array;
use rayon::prelude::*;

use super::assign::{Assign, AssignInput, Centres};
use super::batches::Batches;
use super::describe::Describing;
use super::fit::{Fits, Fitted, Recipe};
use super::kmeans::{self, LABEL_BYTES, Lloyd, Moved};
use super::model::{Model, ModelColumn, with_rows};
use super::partial::{self, Partial};
use super::points::{Points, Scale, Scaled, Scaler, is_whole, scaled_by, weigh_categories};
use super::splits::{Counts, Growing, Splits};
use super::{ClusterOptions, Clustering, Order, Place, SAMPLE, choose, exemplars, links, map, place, rules, silhouette, stability};
use crate::backend::{Backend, Place as BackendPlace};
use crate::columns::{Cells, Table, TableColumn};
use crate::drift::{Spread, Sums};
use crate::stats::Purpose;

/// Rows of a block.
pub const BLOCK_ROWS: usize = 1 << 16;

/// Most rows that are looked at side by side.
pub const DRAWN: usize = 1 << 18;

/// Most cells of them.
const DRAWN_CELLS: usize = 1 << 24;

/// Rows of columns of numbers that can be read again and again.
pub trait RowBlocks: Sync {
    /// Returns the number of rows.
    fn n_rows(&self) -> usize;
    /// Returns the number of columns that take part; they come first.
    fn n_used(&self) -> usize;
    /// Returns the number of all columns.
    fn n_columns(&self) -> usize;
    /// Returns all columns of [`BLOCK_ROWS`] rows, fewer in the last block; NaN is missing.
    ///
    /// # Errors
    /// When they cannot be read.
    fn block(&self, at: usize) -> io::Result<Table>;
}

/// A table in memory.
pub(super) struct Held<'a> {
    pub(super) table: &'a Table,
    pub(super) others: &'a Table,
}

impl RowBlocks for Held<'_> {
    fn n_rows(&self) -> usize {
        self.table.n_rows
    }

    fn n_used(&self) -> usize {
        self.table.columns.len()
    }

    fn n_columns(&self) -> usize {
        self.table.columns.len() + self.others.columns.len()
    }

    fn block(&self, at: usize) -> io::Result<Table> {
        let first = at * BLOCK_ROWS;
        let n_rows = BLOCK_ROWS.min(self.n_rows().saturating_sub(first));
        let columns = self.table.columns.iter().chain(&self.others.columns).map(|column| column.window(first, n_rows));
        Ok(Table { n_rows, columns: columns.collect() })
    }
}

/// Takes the first row of a block, its rows, and the places of those that have all cells.
pub type Emit<'a> = &'a mut dyn FnMut(usize, usize, Vec<Place>) -> io::Result<()>;

/// Returns the bytes that k-means of rows needs which do not fit into memory.
#[must_use]
pub fn streamed_bytes(n_rows: u64, n_columns: usize) -> u64 {
    let drawn = n_drawn(usize::try_from(n_rows).unwrap_or(usize::MAX), n_columns) as u64;
    let block = n_rows.min(BLOCK_ROWS as u64);
    LABEL_BYTES * n_rows + (3 * drawn + 4 * block) * 8 * n_columns as u64
}

fn n_drawn(n_rows: usize, n_columns: usize) -> usize {
    (DRAWN_CELLS / n_columns.max(1)).clamp(SAMPLE, DRAWN).min(n_rows)
}

/// Clusters rows by k-means, and gives places to `emit` in the order of the rows; [`Clustering::places`] stays empty. None where the work was
/// stopped, or no row has all cells.
///
/// # Errors
/// When a block cannot be read, or `emit` refuses one.
///
/// # Panics
/// When another method is asked for.
pub fn cluster_rows(
    rows: &dyn RowBlocks,
    options: &ClusterOptions,
    on: &Backend,
    stop: &(dyn Fn() -> bool + Sync),
    emit: Emit<'_>,
) -> io::Result<Option<Clustering>> {
    kmeans(rows, None, options, on, stop, emit)
}

/// The same; `held` is the table where it is in memory, so that its points are made once.
pub(super) fn kmeans(
    rows: &dyn RowBlocks,
    held: Option<&Held<'_>>,
    options: &ClusterOptions,
    on: &Backend,
    stop: &(dyn Fn() -> bool + Sync),
    emit: Emit<'_>,
) -> io::Result<Option<Clustering>> {
    let host = on.pinned(BackendPlace::Cpu);
    let fits = Fits { seed: options.seed, restarts: options.restarts, max_iterations: options.max_iterations, on, host: &host, stop };
    let pass = Pass { rows, stop };
    let Some(seen) = Seen::of(&pass, options)? else { return Ok(None) };
    let points = held.map(|held| seen.points(held.table, held.others.columns.last()));
    let mut found = Clustering::of_nothing(options, rows.n_rows(), seen.n_complete);
    found.scalers.clone_from(&seen.scalers);
    found.n_sample = seen.sample.n() as u64;
    found.n_drawn = seen.drawn.points.n() as u64;
    let Some(recipe) = choose::recipe(&seen.sample, seen.n_complete, options, &mut found, fits) else { return Ok(None) };
    let Some(recipe) = recipe else {
        let Some(last) = Last::of(&pass, &seen, None, options.most_missing(), emit)? else { return Ok(None) };
        found.map = map::map(&seen.drawn.points, &[], options.seed);
        found.model = Model::without_segments(last.columns(&seen), options, (seen.n_complete, rows.n_rows()));
        return Ok(Some(found));
    };
    let Recipe::KMeans { k } = recipe else { panic!("only k-means is made of rows block by block") };
    let Some(start) = kmeans::best_of(&seen.sample, k, options.restarts, options.max_iterations, (options.seed, 0), &host, stop) else {
        return Ok(None);
    };
    let blocks = |take: &mut dyn FnMut(&Points)| match &points {
        Some(scaled) => {
            take(&scaled.points);
            Ok(())
        }
        None => pass.points(&seen, take),
    };
    let d = rows.n_used();
    let lloyd = Lloyd { blocks: &blocks, d, max_iterations: options.max_iterations, skips: points.is_some(), on, stop };
    let moved = match options.batch_size {
        Some(size) => Batches { blocks: &blocks, size, on, host: &host, stop }.run(&seen.sample, start)?,
        None => lloyd.run(start.centres)?,
    };
    let Some(moved) = moved else { return Ok(None) };
    drop(points);
    (found.iterations, found.converged, found.n_settled) = (moved.iterations, moved.converged, moved.n_settled);
    let of_sample = host.run(&Assign, AssignInput { points: &seen.sample, centres: &moved.centres }).output.labels();
    #[allow(clippy::cast_precision_loss, reason = "a share")]
    let share = seen.sample.n() as f64 / seen.n_complete as f64;
    let stability = match options.bootstrap {
        0 => None,
        turns => match stability::stability(&seen.sample, &of_sample, k, (recipe, share), turns, fits) {
            None => return Ok(None),
            stability => stability,
        },
    };
    let mut parted = Parted::of(moved, k);
    if options.levels > 1 {
        let growing = Growing { points: &seen.drawn.points, like: recipe, options, fits };
        let Some(splits) = parted.split(&growing, stability.as_deref()) else { return Ok(None) };
        parted.splits = splits;
    }
    let Some(last) = Last::of(&pass, &seen, Some(&parted), options.most_missing(), emit)? else { return Ok(None) };
    parted.tell(&mut found, &seen, last, stability.as_deref(), options, (&host, rows.n_rows()));
    Ok(Some(found))
}

/// One reading of all rows.
struct Pass<'a> {
    rows: &'a dyn RowBlocks,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl Pass<'_> {
    /// Gives every block with its first row; the next one is read meanwhile. False where the work was stopped.
    fn each(&self, take: &mut dyn FnMut(usize, &Table) -> io::Result<()>) -> io::Result<bool> {
        let n_blocks = self.rows.n_rows().div_ceil(BLOCK_ROWS);
        let mut next = if n_blocks > 0 { Some(self.rows.block(0)?) } else { None };
        let mut at = 0;
        while let Some(block) = next {
            if (self.stop)() {
                return Ok(false);
            }
            next = std::thread::scope(|scope| {
                let reading = (at + 1 < n_blocks).then(|| scope.spawn(|| self.rows.block(at + 1)));
                take(at * BLOCK_ROWS, &block)?;
                reading.map(|reading| reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).transpose()
            })?;
            at += 1;
        }
        Ok(true)
    }

    /// Gives the points of the complete rows of every block that has some.
    fn points(&self, seen: &Seen, take: &mut dyn FnMut(&Points)) -> io::Result<()> {
        let n_used = self.rows.n_used();
        self.each(&mut |_, block| {
            let scaled = seen.points(&used(block, n_used), block.columns.last());
            if !scaled.rows.is_empty() {
                take(&scaled.points);
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// Returns the columns of a block that take part.
fn used(block: &Table, n_used: usize) -> Table {
    Table { n_rows: block.n_rows, columns: block.columns[..n_used].to_vec() }
}

fn numbers(block: &Table, column: usize) -> &[f64] {
    block.columns[column].numbers().expect("blocks hold numbers")
}

/// Rows that were drawn, all their columns.
struct Drawn {
    /// Rows in order.
    rows: Vec<usize>,
    /// Columns that take part.
    table: Table,
    /// Points of those that have all cells.
    points: Points,
    /// Which of the rows those are.
    complete: Vec<usize>,
}

/// What the first passes see of the rows.
struct Seen {
    scalers: Vec<Scaler>,
    /// Whether rows are brought to length 1.
    is_unit: bool,
    /// Whether the last column of all holds weights.
    is_weighted: bool,
    n_complete: usize,
    /// Points that k, seeds and stability are judged on.
    sample: Points,
    /// Bins of every column that takes part.
    bins: Vec<Spread>,
    names: Vec<String>,
    drawn: Drawn,
}

/// Cells of some rows, column by column.
struct Gathered {
    rows: Vec<usize>,
    /// Which columns.
    from: Vec<usize>,
    columns: Vec<Vec<f64>>,
}

impl Gathered {
    fn new(rows: Vec<usize>, from: impl Iterator<Item = usize>) -> Self {
        let from: Vec<usize> = from.collect();
        let columns = vec![Vec::with_capacity(rows.len()); from.len()];
        Self { rows, from, columns }
    }

    /// Takes the cells of its rows from a block; `place` says where in the block a row lies.
    fn absorb(&mut self, block: &Table, from: usize, to: usize, place: impl Fn(usize) -> usize) {
        let own = self.rows.partition_point(|row| *row < from)..self.rows.partition_point(|row| *row < to);
        for (column, cells) in self.from.iter().zip(&mut self.columns) {
            let of_block = numbers(block, *column);
            cells.extend(self.rows[own.clone()].iter().map(|row| of_block[place(*row)]));
        }
    }
}

impl Seen {
    /// Returns the points of some rows, weighted by the last column where that is asked for.
    fn points(&self, table: &Table, last: Option<&TableColumn>) -> Scaled {
        let scaled = scaled_by(table, self.scalers.clone(), self.is_unit);
        let weights = last.filter(|_| self.is_weighted).and_then(TableColumn::numbers);
        let weights = weights.map(|cells| scaled.rows.iter().map(|&row| weight(cells[row])).collect());
        Scaled { points: scaled.points.weighted(weights), ..scaled }
    }

    fn of(pass: &Pass<'_>, options: &ClusterOptions) -> io::Result<Option<Self>> {
        let (n_used, n_rows, is_unit) = (pass.rows.n_used(), pass.rows.n_rows(), options.scale == Scale::Unit);
        let (mut n_present, mut first, mut names) = (vec![0_u64; n_used], vec![f64::NAN; n_used], Vec::new());
        let mut complete: Vec<usize> = Vec::new();
        let went_on = pass.each(&mut |_, block| {
            if names.is_empty() {
                names = block.columns.iter().map(|column| column.name.clone()).collect();
            }
            for column in 0..n_used {
                let present = numbers(block, column).iter().filter(|x| x.is_finite());
                if n_present[column] == 0 {
                    first[column] = present.clone().next().copied().unwrap_or(f64::NAN);
                }
                n_present[column] += present.count() as u64;
            }
            complete.push(whole(block, n_used, is_unit).len());
            Ok(())
        })?;
        let n_complete: usize = complete.iter().sum();
        if !went_on || n_complete == 0 || n_present.contains(&0) {
            return Ok(None);
        }
        let (seed, weights) = (options.seed, options.is_weighted.then(|| pass.rows.n_columns() - 1));
        let most = n_drawn(n_rows, pass.rows.n_columns());
        let mut edges = Gathered::new(stability::sample(n_rows, SAMPLE, seed), 0..n_used);
        let mut drawn = Gathered::new(stability::draw(n_rows, most, seed, Purpose::Drawn), 0..n_used);
        let mut sample = Gathered::new(stability::sample(n_complete, SAMPLE, seed), (0..n_used).chain(weights));
        let mut means = first.clone();
        let mut before = 0;
        #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
        let went_on = pass.each(&mut |first_row, block| {
            means.par_iter_mut().enumerate().for_each(|(column, mean)| {
                let (first, n) = (first[column], n_present[column] as f64);
                // The first cell is added at the end: the sum is that of what lies beside it.
                let start = if first_row == 0 { 0.0 } else { *mean };
                *mean = numbers(block, column).iter().filter(|x| x.is_finite()).fold(start, |sum, x| sum + (x - first) / n);
            });
            edges.absorb(block, first_row, first_row + block.n_rows, |row| row - first_row);
            drawn.absorb(block, first_row, first_row + block.n_rows, |row| row - first_row);
            let whole = whole(block, n_used, is_unit);
            sample.absorb(block, before, before + whole.len(), |row| whole[row - before]);
            before += whole.len();
            Ok(())
        })?;
        if !went_on {
            return Ok(None);
        }
        means.iter_mut().zip(&first).for_each(|(mean, first)| *mean += first);
        let Some(scalers) = scalers(pass, options, &means, &n_present, &drawn)? else { return Ok(None) };
        let bins = edges.columns.into_par_iter().map(Spread::bins).collect();
        let weights = weights.and_then(|_| sample.columns.pop()).map(|cells| cells.into_iter().map(weight).collect());
        let sample = scaled_by(&table(&names, sample), scalers.clone(), is_unit).points.weighted(weights);
        let rows = drawn.rows.clone();
        let table = table(&names, drawn);
        let Scaled { points, rows: complete, .. } = scaled_by(&table, scalers.clone(), is_unit);
        Ok(Some(Self {
            scalers,
            is_unit,
            is_weighted: options.is_weighted,
            n_complete,
            sample,
            bins,
            names,
            drawn: Drawn { rows, table, points, complete },
        }))
    }
}

/// Returns what a row counts as.
fn weight(cell: f64) -> f64 {
    if cell.is_finite() && cell > 0.0 { cell } else { 0.0 }
}

/// Returns the rows of a block that have points.
fn whole(block: &Table, n_used: usize, is_unit: bool) -> Vec<usize> {
    let columns: Vec<&[f64]> = (0..n_used).map(|column| numbers(block, column)).collect();
    (0..block.n_rows).filter(|&row| is_whole(&columns, row, is_unit)).collect()
}

fn table(names: &[String], cells: Gathered) -> Table {
    let column = |(name, cells): (&String, Vec<f64>)| TableColumn { name: name.clone(), cells: Cells::Numbers(Float64Array::from(cells)) };
    Table { n_rows: cells.rows.len(), columns: names.iter().zip(cells.columns).map(column).collect() }
}

/// Returns the scalers of the columns that take part; none where the work was stopped.
#[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
fn scalers(
    pass: &Pass<'_>,
    options: &ClusterOptions,
    means: &[f64],
    n_present: &[u64],
    drawn: &Gathered,
) -> io::Result<Option<Vec<Scaler>>> {
    let mut squares = vec![0.0; means.len()];
    let scale = options.scale;
    let is_needed = !matches!(scale, Scale::None | Scale::Unit);
    let went_on = !is_needed
        || pass.each(&mut |_, block| {
            squares.par_iter_mut().enumerate().for_each(|(column, squares)| {
                let (mean, present) = (means[column], numbers(block, column).iter().filter(|x| x.is_finite()));
                *squares = present.fold(*squares, |sum, x| sum + (x - mean) * (x - mean));
            });
            Ok(())
        })?;
    if !went_on {
        return Ok(None);
    }
    let scaler = |column: usize| {
        let present = drawn.columns[column].iter().copied().filter(|x| x.is_finite()).collect();
        Scaler::from_moments(scale, means[column], squares[column], n_present[column] as f64, present)
    };
    let mut scalers: Vec<Scaler> = (0..means.len()).into_par_iter().map(scaler).collect();
    weigh_categories(&mut scalers, &options.category_of, options.gamma);
    Ok(Some(scalers))
}

/// Rows as Lloyd's algorithm parted them.
struct Parted {
    /// Labels of the complete rows, block by block.
    labels: Vec<Vec<u16>>,
    order: Order,
    /// Centres of the segments, in their order.
    centres: Centres,
    /// What the model is made of.
    fitted: Fitted,
    /// Centres as the model has them, for rows that lack cells.
    nearest: (Centres, Vec<Option<u32>>),
    /// What the segments fall into.
    splits: Splits,
}

impl Parted {
    fn of(moved: Moved, k: usize) -> Self {
        let mut counts = vec![(0_u64, usize::MAX); k];
        for (at, label) in moved.labels.iter().flatten().enumerate() {
            let count = &mut counts[*label as usize];
            *count = (count.0 + 1, count.1.min(at));
        }
        let order = Order::by_counts(&counts);
        let cells = order.segments.iter().flat_map(|&(label, _)| moved.centres.centre(label)).copied().collect();
        let centres = Centres::new(cells, moved.centres.d);
        let nearest = with_rows(&moved.centres, &order);
        let fitted = Fitted { n_segments: k, ..Fitted::of_centres(moved.centres) };
        Self { labels: moved.labels, order, centres, fitted, nearest, splits: Splits::default() }
    }

    /// Splits the segments further by the rows drawn; none where the work was stopped.
    fn split(&self, drawn: &Growing<'_>, stability: Option<&[f64]>) -> Option<Splits> {
        let centres = self.fitted.centres.as_ref().expect("k-means has centres");
        let labels = drawn.fits.host.run(&Assign, AssignInput { points: drawn.points, centres }).output.labels();
        let of_rows: Vec<Option<u32>> = labels.into_iter().map(|label| Some(self.order.position[label as usize])).collect();
        let of_segment = |&(label, _): &(usize, u64)| stability.map(|stability| stability[label]);
        let of_segments: Vec<Option<f64>> = self.order.segments.iter().map(of_segment).collect();
        drawn.grow(&of_segments, &of_rows).map(|(splits, _)| splits)
    }

    /// Fills in what is known once all rows have been seen.
    fn tell(
        self,
        found: &mut Clustering,
        seen: &Seen,
        last: Last,
        stability: Option<&[f64]>,
        options: &ClusterOptions,
        (host, n_rows): (&Backend, usize),
    ) {
        let Self { order, centres, fitted, splits, .. } = self;
        let n_segments = order.segments.len();
        found.inertia = last.inertia.iter().sum();
        let drawn = &seen.drawn;
        let silhouettes = silhouette::silhouettes(&drawn.points, &last.drawn, n_segments, options.seed);
        found.silhouette = silhouettes.of_all;
        found.segments = order.told(&centres, &seen.scalers, (&last.inertia, stability), silhouettes);
        for (segment, (n_placed, weight)) in found.segments.iter_mut().zip(last.n_placed.iter().zip(&last.weights)) {
            (segment.n_placed, segment.weight) = (*n_placed, seen.is_weighted.then_some(*weight));
        }
        found.splits = splits.told(&last.counts);
        found.links = links::links(&found.segments, &centres);
        found.map = map::map(&drawn.points, &last.drawn, options.seed);
        let model = Model::without_segments(last.columns(seen), options, (seen.n_complete, n_rows));
        let of_segments = (&found.segments[..], &centres);
        found.model = model.with_segments(&drawn.points, &fitted, &order, of_segments, (found.method, options.seed, host));
        found.rules = rules::rules(&drawn.table, (&found.scalers, seen.is_unit), &last.drawn, &found.segments, options.seed);
        let of_rows: Vec<Place> = last.drawn.iter().map(|place| Place { row: drawn.rows[place.row], ..*place }).collect();
        found.exemplars = exemplars::exemplars(&drawn.points, &of_rows, n_segments, options.seed);
        found.features = last.described.finish(&seen.names, seen.scalers.len());
    }
}

/// What the last pass sees.
struct Last {
    inertia: Vec<f64>,
    counts: Counts,
    described: Describing,
    spreads: Vec<(Spread, Sums)>,
    /// Weight of every segment.
    weights: Vec<f64>,
    /// Rows of every segment that lack cells.
    n_placed: Vec<u64>,
    /// Places of the rows drawn that have all cells; their rows are places among the rows drawn.
    drawn: Vec<Place>,
}

impl Last {
    /// Reads all rows and gives out their places; none where the work was stopped.
    fn of(pass: &Pass<'_>, seen: &Seen, parted: Option<&Parted>, most_missing: f64, emit: Emit<'_>) -> io::Result<Option<Self>> {
        let n_segments = parted.map_or(0, |parted| parted.order.segments.len());
        let mut last = Self {
            inertia: vec![0.0; n_segments],
            counts: Counts::default(),
            weights: vec![0.0; n_segments],
            n_placed: vec![0; n_segments],
            described: Describing::new(pass.rows.n_columns(), n_segments),
            spreads: seen.bins.iter().map(|bins| (bins.emptied(), Sums::default())).collect(),
            drawn: Vec::new(),
        };
        let mut labels = parted.map(|parted| parted.labels.iter().flatten());
        let went_on = pass.each(&mut |first, block| {
            last.spreads.par_iter_mut().enumerate().for_each(|(column, (spread, sums))| spread.absorb(numbers(block, column), sums));
            let (Some(parted), Some(labels)) = (parted, &mut labels) else { return emit(first, block.n_rows, Vec::new()) };
            let places = parted.places(block, seen, labels);
            for place in &places {
                if let (Some(segment), Some(distance)) = (place.segment, place.distance) {
                    let of_row = block.columns.last().filter(|_| seen.is_weighted).and_then(TableColumn::numbers);
                    let weight = of_row.map_or(1.0, |cells| weight(cells[place.row]));
                    last.weights[segment as usize] += weight;
                    last.inertia[segment as usize] += weight * distance * distance;
                }
            }
            if parted.splits.is_asked() {
                last.counts.absorb(&places);
            }
            last.described.absorb(block, &places);
            last.draw(seen, first, block.n_rows, &places);
            let partial = parted.partial(block, seen, most_missing);
            for segment in partial.iter().filter_map(|place| place.segment) {
                last.n_placed[segment as usize] += 1;
            }
            let places = partial::merged(places, partial);
            emit(first, block.n_rows, places.into_iter().map(|place| Place { row: place.row + first, ..place }).collect())
        })?;
        Ok(went_on.then_some(last))
    }

    /// Keeps the places of the rows drawn.
    fn draw(&mut self, seen: &Seen, first: usize, n_rows: usize, places: &[Place]) {
        let drawn = &seen.drawn;
        let from = drawn.complete.partition_point(|at| drawn.rows[*at] < first);
        let own = drawn.complete[from..].iter().take_while(|at| drawn.rows[**at] < first + n_rows);
        for &at in own {
            let row = drawn.rows[at] - first;
            let place = places.binary_search_by_key(&row, |place| place.row).expect("a complete row has a place");
            self.drawn.push(Place { row: at, ..places[place] });
        }
    }

    fn columns(&self, seen: &Seen) -> Vec<ModelColumn> {
        let all = self.spreads.iter().zip(&seen.scalers).zip(&seen.names);
        let column = |(((spread, sums), scaler), name): ((&(Spread, Sums), &Scaler), &String)| ModelColumn {
            name: name.clone(),
            level: None,
            scaler: *scaler,
            spread: Spread { mean: sums.mean(), ..spread.clone() },
        };
        all.map(column).collect()
    }
}

impl Parted {
    /// Returns the places of the complete rows of a block, with rows counted from its first.
    fn places<'a>(&self, block: &Table, seen: &Seen, mut labels: impl Iterator<Item = &'a u16>) -> Vec<Place> {
        let scaled = scaled_by(&used(block, seen.scalers.len()), seen.scalers.clone(), seen.is_unit);
        let rows: Vec<(usize, u32)> = scaled
            .rows
            .iter()
            .map(|&row| (row, self.order.position[*labels.next().expect("every complete row has a label") as usize]))
            .collect();
        let of_row = |room: &mut Vec<f64>, (at, &(row, segment)): (usize, &(usize, u32))| {
            let point = scaled.points.point(at);
            let finer = self.splits.finer(segment, point, room);
            let bare = Place { finer, ..Place::of(row, Some(segment)) };
            place(point, bare, &self.centres, room)
        };
        rows.par_iter().enumerate().map_init(Vec::new, of_row).collect()
    }

    /// Returns the places of the rows of a block that lack cells.
    fn partial(&self, block: &Table, seen: &Seen, most_missing: f64) -> Vec<Place> {
        let (centres, segments) = &self.nearest;
        let partial = Partial::of(&used(block, seen.scalers.len()), &seen.scalers, most_missing);
        partial.places(&self.centres, |_, point, room| (segments[centres.nearest(point, room) as usize], None))
    }
}

#[cfg(test)]
mod tests;
