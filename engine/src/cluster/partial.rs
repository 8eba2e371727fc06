//! Rows that lack some of their cells, placed by those that they have.
//!
//! ```text
//! distance^2 = columns / columns present * sum over those present of (x - c)^2        Dixon 1979 (scikit-learn: nan_euclidean)
//! component    likeliest by the normal distribution of the columns present
//! ```
//!
//! They make no segment: centres, components and the rows that hold segments are of rows that have all cells. So a row is placed here as the
//! model places it later.
//!
//! Nulls    a row that lacks more than `most_missing` of the columns, or all of them, has no segment. A missing text is a category of its own.
//! Cost     k d multiply-adds a row, in f64.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::assign::Centres;
use super::mixture::Mixture;
use super::points::{Scaler, scaled_cell};
use super::{Place, place};
use crate::columns::Table;

/// Rows that lack cells.
pub(super) struct Partial {
    /// Rows in order.
    pub(super) rows: Vec<usize>,
    /// Their cells, scaled; NaN is missing.
    cells: Vec<f32>,
    d: usize,
    /// Cells that a row may lack.
    most: usize,
}

impl Partial {
    /// Finds the rows of a table that lack a cell.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of few columns")]
    pub(super) fn of(table: &Table, scalers: &[Scaler], most_missing: f64) -> Self {
        let columns: Vec<&[f64]> = table.columns.iter().filter_map(|column| column.numbers()).collect();
        let lacks = |row: &usize| columns.iter().any(|cells| !cells[*row].is_finite());
        let rows: Vec<usize> = (0..table.n_rows).filter(lacks).collect();
        let scaled = |row: usize| {
            columns.iter().zip(scalers).map(move |(cells, scaler)| match cells[row] {
                x if x.is_finite() => scaled_cell(x, scaler.centre, scaler.unit),
                _ => f32::NAN,
            })
        };
        let cells = rows.iter().flat_map(|&row| scaled(row)).collect();
        // All flags of a text are one column.
        let n_flags = scalers.iter().filter(|scaler| scaler.category_of.is_some()).count();
        let mut texts: Vec<u32> = scalers.iter().filter_map(|scaler| scaler.category_of).collect();
        texts.dedup();
        let n_columns = columns.len() - n_flags + texts.len();
        let most = ((most_missing * n_columns as f64 + 1e-9) as usize).min(columns.len().saturating_sub(1));
        Self { rows, cells, d: columns.len(), most }
    }

    fn point(&self, at: usize) -> &[f32] {
        &self.cells[at * self.d..][..self.d]
    }

    fn n_missing(&self, at: usize) -> usize {
        self.point(at).iter().filter(|x| x.is_nan()).count()
    }

    /// Places every row; `find` names the segment of its cells, and how much it belongs there.
    pub(super) fn places(
        &self,
        centres: &Centres,
        find: impl Fn(usize, &[f32], &mut Vec<f64>) -> (Option<u32>, Option<f64>) + Sync,
    ) -> Vec<Place> {
        let of_row = |room: &mut Vec<f64>, (at, &row): (usize, &usize)| {
            let n_missing = self.n_missing(at);
            let (segment, membership) = if n_missing > self.most { (None, None) } else { find(at, self.point(at), room) };
            #[allow(clippy::cast_possible_truncation, reason = "columns are far fewer than 2^32")]
            let held = Place { membership, n_missing: n_missing as u32, ..Place::of(row, segment) };
            place(self.point(at), held, centres, room)
        };
        self.rows.par_iter().enumerate().map_init(Vec::new, of_row).collect()
    }

    /// Returns the likeliest component of every row that may be placed, and its responsibility; none where rounding leaves none.
    pub(super) fn likeliest(&self, mixture: &Mixture) -> Vec<Option<(u32, f64)>> {
        let present = |at: usize| -> Vec<usize> { (0..self.d).filter(|column| !self.point(at)[*column].is_nan()).collect() };
        let may_be = |at: &usize| self.n_missing(*at) <= self.most;
        let mut patterns: BTreeMap<Vec<usize>, Option<Mixture>> =
            (0..self.rows.len()).filter(may_be).map(|at| (present(at), None)).collect();
        patterns.par_iter_mut().for_each(|(columns, of_columns)| *of_columns = mixture.of_columns(columns));
        let of_row = |at: usize| {
            let columns = present(at);
            let of_columns = patterns.get(&columns)?.as_ref()?;
            let cells: Vec<f32> = columns.iter().map(|&column| self.point(at)[column]).collect();
            Some(of_columns.likeliest(&cells, &mut Vec::new()))
        };
        (0..self.rows.len()).into_par_iter().map(of_row).collect()
    }
}

/// Puts places of rows that lack cells among those of the others, by row.
pub(super) fn merged(mut whole: Vec<Place>, partial: Vec<Place>) -> Vec<Place> {
    whole.extend(partial);
    // Two runs: merged, not sorted.
    whole.sort_by_key(|place| place.row);
    whole
}

#[cfg(test)]
mod tests {
    use super::super::tests::{OPTIONS, blobs, found, table};
    use super::super::{Choice, ClusterOptions, Clustering, Covariance, Method, Scorer};
    use super::*;

    #[test]
    fn distances_are_those_of_scikit_learn() {
        let centres = Centres::new(vec![0.5, 9.0, 1.0, -1.0, 2.0, -1.0, -2.5, 0.0], 4);
        let mut room = Vec::new();
        // nan_euclidean_distances of scikit-learn 1.7, squared.
        for (point, due) in
            [([1.5, f32::NAN, -2.0, 0.25], [15.416_666_666_666_666, 0.75]), ([f32::NAN, f32::NAN, 3.0, f32::NAN], [16.0, 121.0])]
        {
            centres.distances(&point, &mut room);
            assert!(room.iter().zip(due).all(|(found, due)| (found - due).abs() < 1e-12), "{room:?}, due {due:?}");
        }
    }

    /// Blobs far apart in every column, of which every fourth row lacks one cell of four, and every 50th all but one.
    fn lacking(n: usize) -> (Vec<Vec<f64>>, Vec<usize>) {
        let (mut columns, truth) = blobs(n, 3, 4, 0.0, 6);
        for (column, cells) in columns.iter_mut().enumerate() {
            for (row, x) in cells.iter_mut().enumerate() {
                *x += [0.0, 12.0, -12.0][(truth[row] + column) % 3];
                if row % 4 == 1 && row / 4 % 4 == column || row % 50 == 0 && column != 2 {
                    *x = f64::NAN;
                }
            }
        }
        (columns, truth)
    }

    fn segment_of(found: &Clustering, row: usize) -> Option<u32> {
        found.places[row].segment
    }

    #[test]
    fn rows_that_lack_cells_go_where_the_others_of_their_blob_are() {
        let (columns, truth) = lacking(1200);
        for method in [Method::KMeans, Method::Medoids, Method::Mixture(Covariance::Full), Method::Genie, Method::Hdbscan, Method::Auto] {
            let k = if method == Method::Auto { Choice::Auto(10) } else { Choice::Given(3) };
            let options = ClusterOptions { method, k, bootstrap: 0, ..OPTIONS };
            let found = found(&columns, &options);
            assert_eq!((found.segments.len(), found.places.len()), (3, 1200), "{method:?}");
            let whole = |row: &usize| found.places[*row].n_missing == 0 && found.places[*row].segment.is_some();
            let of_blob = |blob: usize| segment_of(&found, (0..1200).find(|row| truth[*row] == blob && whole(row)).expect("a whole row"));
            let placed: Vec<usize> = (0..1200).filter(|&row| found.places[row].n_missing == 1).collect();
            let right = placed.iter().filter(|&&row| segment_of(&found, row) == of_blob(truth[row])).count();
            assert!(placed.len() > 280 && right * 100 >= placed.len() * 97, "{method:?}: {right} of {} rows", placed.len());
            assert_eq!(
                found.segments.iter().map(|segment| segment.n_placed).sum::<u64>(),
                placed.iter().filter(|row| segment_of(&found, **row).is_some()).count() as u64
            );
            // Three cells of four are more than half.
            assert!((0..1200).step_by(50).all(|row| found.places[row].n_missing >= 3 && segment_of(&found, row).is_none()), "{method:?}");
            // The model says the same of them, and of all rows when fewer cells are asked for.
            let model = Scorer::new(&found.model).score(&table(&columns), &crate::backend::Backend::cpu()).places;
            assert!(model.iter().zip(&found.places).all(|(a, b)| a.segment == b.segment && a.n_missing == b.n_missing), "{method:?}");
            let strict = super::super::tests::found(&columns, &ClusterOptions { most_missing: 0.2, ..options });
            assert!(strict.places.iter().all(|place| place.n_missing == 0 || place.segment.is_none()), "{method:?}");
            // What the others made does not depend on them.
            assert!(strict.segments.iter().zip(&found.segments).all(|(a, b)| (a.n, &a.centre) == (b.n, &b.centre)));
        }
    }

    #[test]
    fn what_is_missing_may_not_count_as_nothing() {
        // A wrong twin: a missing cell taken for the mean of its column.
        let (columns, truth) = lacking(1200);
        let filled: Vec<Vec<f64>> = columns.iter().map(|cells| cells.iter().map(|x| if x.is_nan() { 0.0 } else { *x }).collect()).collect();
        let options = ClusterOptions { method: Method::KMeans, k: Choice::Given(3), bootstrap: 0, ..OPTIONS };
        let (due, wrong) = (found(&columns, &options), found(&filled, &options));
        let distance = |found: &Clustering| found.places.iter().map(|place| place.distance.unwrap_or_default()).sum::<f64>();
        assert!(truth.len() == 1200 && distance(&wrong) > 1.2 * distance(&due), "{} and {}", distance(&wrong), distance(&due));
    }

    #[test]
    fn components_of_some_columns_are_marginal() {
        let (columns, _) = blobs(600, 2, 3, 4.0, 9);
        let options = ClusterOptions { method: Method::Mixture(Covariance::Full), k: Choice::Given(2), bootstrap: 0, ..OPTIONS };
        let found = found(&columns, &options);
        let super::super::ModelRule::Likeliest { components, .. } = &found.model.rule else { panic!("a mixture") };
        let some = Mixture::of(components.clone()).of_columns(&[0, 2]).expect("a normal distribution");
        for (whole, some) in components.iter().zip(some.components) {
            // By the book: the precision is inverse' inverse, and the covariance its inverse by cofactors.
            let m = &whole.inverse;
            let p = |a: usize, b: usize| (0..3).map(|row| m[row * 3 + a] * m[row * 3 + b]).sum::<f64>();
            let minor = |a: usize, b: usize| {
                let ([a0, a1], [b0, b1]) = ([(a + 1) % 3, (a + 2) % 3], [(b + 1) % 3, (b + 2) % 3]);
                p(a0, b0) * p(a1, b1) - p(a0, b1) * p(a1, b0)
            };
            let determinant: f64 = (0..3).map(|b| p(0, b) * minor(0, b)).sum();
            let covariance = |a: usize, b: usize| minor(a, b) / determinant;
            let (xx, xz, zz) = (covariance(0, 0), covariance(0, 2), covariance(2, 2));
            let of_two = xx * zz - xz * xz;
            let (x, z) = (0.75 - whole.mean[0], -0.5 - whole.mean[2]);
            let square = (zz * x * x - 2.0 * xz * x * z + xx * z * z) / of_two;
            let due = whole.ln_weight - libm::log(std::f64::consts::TAU) - 0.5 * libm::log(of_two) - 0.5 * square;
            let found = some.ln_density(&[0.75, -0.5], &mut Vec::new());
            assert!((found - due).abs() < 1e-9 * due.abs(), "{found}, due {due}");
        }
    }
}
