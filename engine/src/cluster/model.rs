//! What labels new rows as a clustering labelled its own.
//!
//! ```text
//! row -> scaled as before -> nearest of some points -> the segment of that point        kmeans: the points are its centres
//!                         -> likeliest component    -> its segment                      mixture
//! ```
//!
//! Segments of any shape (`genie`, `hdbscan`, `dbscan`) are held by rows: all of them, or a draw of [`SAMPLE`]. A row goes with the nearest
//! of them; where the method knows noise, only within the segment's reach: the farthest that one of its rows held lies from the next.
//!
//! Shape    a table of the model's columns in, a place for every row that has all cells out.
//! Nulls    a row that lacks cells is placed by those that it has (partial.rs).
//! Numbers  the labels of the rows that a model was made of come back as they were, those of rows held by a draw as often as
//!          [`Model::agreement`] says. Neither threads, places nor cuts of the rows change a byte.
//! Cost     n k d multiply-adds for k points.

use rayon::prelude::*;

use super::assign::{Assign, AssignInput, Centres, cost_of_scores};
use super::density::NOISE;
use super::fit::Fitted;
use super::mixture::{Component, Mixture};
use super::partial::{self, Partial};
use super::points::{Points, Scale, Scaled, Scaler, scaled_by};
use super::tree::Tree;
use super::{ClusterOptions, Method, Order, Place, SAMPLE, Segment, Trust, place, stability};
use crate::backend::{Backend, Cost};
use crate::columns::Table;
use crate::drift::Spread;
use crate::stats::Purpose;

/// A clustering, kept for rows to come.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// How segments were made.
    pub method: Method,
    /// Columns in the order of the cells of points.
    pub columns: Vec<ModelColumn>,
    /// Segments, largest first; none where there was no structure.
    pub segments: Vec<ModelSegment>,
    /// How a row finds its segment.
    pub rule: Rule,
    /// Rows that had all cells and were in no segment.
    pub n_noise: u64,
    /// Rows that lacked a cell.
    pub n_incomplete: u64,
    /// Largest share of the columns that a row may lack to be placed by the others.
    pub most_missing: f64,
    /// Whether rows are brought to length 1.
    pub is_unit: bool,
    /// Share of rows not held that find the segment which they were given; none where all rows are held, or none had to be.
    pub agreement: Option<f64>,
}

/// A column of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelColumn {
    /// Its name.
    pub name: String,
    /// The text that it flags; none for a column of numbers.
    pub level: Option<String>,
    /// How its cells are scaled.
    pub scaler: Scaler,
    /// How its cells were spread.
    pub spread: Spread,
}

/// A segment of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSegment {
    /// Rows that it had.
    pub n: u64,
    /// Whether it could be trusted.
    pub trust: Trust,
    /// Its stability; none where it was not examined.
    pub stability: Option<f64>,
    /// Its centre, in scaled units.
    pub centre: Vec<f64>,
    /// Distance from the nearest row held beyond which a row is noise, in scaled units; none where the method knows no noise.
    pub reach: Option<f64>,
}

/// How a row finds its segment.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// That of the nearest point, the first of equals.
    Nearest {
        /// Cells in scaled units, one point after another.
        points: Vec<f64>,
        /// Segment of every point; none for noise.
        segments: Vec<Option<u32>>,
    },
    /// That of the likeliest component, the first of equals.
    Likeliest {
        /// Components of the mixture.
        components: Vec<Component>,
        /// Segment of every component; none where no row of the model was in it.
        segments: Vec<Option<u32>>,
    },
}

/// Places of new rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Every row, in order.
    pub places: Vec<Place>,
    /// Labels that were settled in f64.
    pub n_settled: u64,
}

/// A model at work.
pub struct Scorer<'a> {
    model: &'a Model,
    /// Centres of the segments.
    centres: Centres,
    by: By<'a>,
}

enum By<'a> {
    Points(Centres, &'a [Option<u32>]),
    Components(Mixture, &'a [Option<u32>]),
}

impl Model {
    /// Keeps columns, and no structure.
    pub(super) fn without_segments(columns: Vec<ModelColumn>, options: &ClusterOptions, (n_complete, n_rows): (usize, usize)) -> Self {
        Self {
            method: options.method,
            most_missing: options.most_missing(),
            is_unit: options.scale == Scale::Unit,
            columns,
            segments: Vec::new(),
            rule: Rule::Nearest { points: Vec::new(), segments: Vec::new() },
            n_noise: n_complete as u64,
            n_incomplete: (n_rows - n_complete) as u64,
            agreement: None,
        }
    }

    /// Keeps what points were fitted to.
    pub(super) fn with_segments(
        mut self,
        points: &Points,
        fitted: &Fitted,
        order: &Order,
        (segments, centres): (&[Segment], &Centres),
        (method, seed, on): (Method, u64, &Backend),
    ) -> Self {
        let position = |label: u32| (label != NOISE && order.has(label)).then(|| order.position[label as usize]);
        let held = stability::sample(points.n(), SAMPLE, seed);
        let is_held = fitted.mixture.is_none() && fitted.centres.is_none();
        self.method = method;
        self.rule = match (&fitted.mixture, &fitted.centres) {
            (Some(mixture), _) => {
                Rule::Likeliest { components: mixture.components.clone(), segments: (0..).take(fitted.n_segments).map(position).collect() }
            }
            (None, Some(centres)) => {
                let (centres, segments) = with_rows(centres, order);
                Rule::Nearest { points: centres.cells, segments }
            }
            (None, None) => Rule::Nearest {
                points: held.iter().flat_map(|&at| points.point(at)).map(|x| f64::from(*x)).collect(),
                segments: held.iter().map(|&at| position(fitted.labels[at])).collect(),
            },
        };
        let segment = |(at, segment): (u32, &Segment)| ModelSegment {
            n: segment.n,
            trust: segment.trust,
            stability: segment.stability,
            centre: centres.centre(at as usize).to_vec(),
            reach: (is_held && method.finds_k()).then(|| reach(points, &held, |row| position(fitted.labels[row]) == Some(at))),
        };
        self.segments = (0..).zip(segments).map(segment).collect();
        self.n_noise = fitted.labels.iter().filter(|label| **label == NOISE).count() as u64;
        if is_held && held.len() < points.n() {
            self.agreement = Some(self.agreement_with(points, &held, |row| position(fitted.labels[row]), seed, on));
        }
        self
    }

    /// Returns how often rows that are not held find the segment which they were given.
    #[allow(clippy::cast_precision_loss, reason = "a share of few rows")]
    fn agreement_with(&self, points: &Points, held: &[usize], segment: impl Fn(usize) -> Option<u32>, seed: u64, on: &Backend) -> f64 {
        let mut rest: Vec<usize> = (0..points.n()).collect();
        rest.retain(|row| held.binary_search(row).is_err());
        let drawn: Vec<usize> = stability::draw(rest.len(), SAMPLE, seed, Purpose::Agreement).into_iter().map(|at| rest[at]).collect();
        let found = Scorer::new(self).labels(&points.some(&drawn), on);
        let same = drawn.iter().zip(&found.0).filter(|(row, found)| segment(**row) == **found).count();
        same as f64 / drawn.len() as f64
    }
}

/// Returns the centres that have rows, in the order of their labels, and the segment of each.
pub(super) fn with_rows(centres: &Centres, order: &Order) -> (Centres, Vec<Option<u32>>) {
    let labels: Vec<u32> = (0..).take(centres.k()).filter(|&label| order.has(label)).collect();
    let cells = labels.iter().flat_map(|&label| centres.centre(label as usize)).copied().collect();
    (Centres::new(cells, centres.d), labels.iter().map(|&label| Some(order.position[label as usize])).collect())
}

/// Returns the columns of a model, and how the cells of all rows were spread.
pub(super) fn columns(table: &Table, scaled: &Scaled, seed: u64) -> Vec<ModelColumn> {
    let drawn = stability::sample(table.n_rows, SAMPLE, seed);
    let columns: Vec<_> = table.columns.iter().filter_map(|column| Some((column, column.numbers()?))).collect();
    let all = columns.into_par_iter().zip(&scaled.scalers);
    all.map(|((column, cells), scaler)| ModelColumn {
        name: column.name.clone(),
        level: None,
        scaler: *scaler,
        spread: Spread::of(cells, &drawn),
    })
    .collect()
}

/// Returns the farthest that a row of those held that are in a segment lies from the next of them; 0 where there is one.
fn reach(points: &Points, held: &[usize], is_in: impl Fn(usize) -> bool) -> f64 {
    let own: Vec<usize> = held.iter().copied().filter(|&row| is_in(row)).collect();
    if own.len() < 2 {
        return 0.0;
    }
    let own = points.some(&own);
    libm::sqrt(Tree::new(&own).neighbours(1).reach(1, own.n()).into_iter().fold(0.0, f64::max))
}

impl<'a> Scorer<'a> {
    /// Makes a model ready for rows.
    #[must_use]
    pub fn new(model: &'a Model) -> Self {
        let d = model.columns.len();
        let by = match &model.rule {
            Rule::Nearest { points, segments } => By::Points(Centres::new(points.clone(), d), segments),
            Rule::Likeliest { components, segments } => By::Components(Mixture::of(components.clone()), segments),
        };
        let centres = model.segments.iter().flat_map(|segment| &segment.centre).copied().collect();
        Self { model, centres: Centres::new(centres, d), by }
    }

    /// Returns the model.
    #[must_use]
    pub const fn model(&self) -> &'a Model {
        self.model
    }

    /// Returns the cost of labelling so many rows.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a cost is a rough figure")]
    pub fn cost(&self, n_rows: u64) -> Cost {
        let d = self.model.columns.len() as u64;
        let n_points = match &self.by {
            By::Points(centres, _) => centres.k(),
            // Components are weighed on the CPU.
            By::Components(..) => 0,
        };
        let flops = 2.0 * n_rows as f64 * n_points as f64 * d as f64;
        Cost { bytes_up: 4 * n_rows * d, bytes_down: 12 * n_rows, ..cost_of_scores(flops) }
    }

    /// Returns the places of the rows of a table whose columns are those of the model, in its order.
    #[must_use]
    pub fn score(&self, table: &Table, on: &Backend) -> Scored {
        let scaled = scaled_by(table, self.scalers(), self.model.is_unit);
        let partial = self.partial(table);
        if scaled.rows.is_empty() {
            return Scored { places: partial, n_settled: 0 };
        }
        let points = &scaled.points;
        let (labels, membership, n_settled) = self.labels(points, on);
        let of_row = |room: &mut Vec<f64>, (at, &row): (usize, &usize)| {
            let held = Place::of(row, labels[at]);
            let membership = labels[at].and(membership.as_ref()).map(|membership| membership[at]);
            place(points.point(at), Place { membership, ..held }, &self.centres, room)
        };
        let places = scaled.rows.par_iter().enumerate().map_init(Vec::new, of_row).collect();
        Scored { places: partial::merged(places, partial), n_settled }
    }

    fn scalers(&self) -> Vec<Scaler> {
        self.model.columns.iter().map(|column| column.scaler).collect()
    }

    /// Returns the places of the rows that lack cells.
    pub(super) fn partial(&self, table: &Table) -> Vec<Place> {
        let partial = Partial::of(table, &self.scalers(), self.model.most_missing);
        if self.model.segments.is_empty() {
            return partial.places(&self.centres, |_, _, _| (None, None));
        }
        match &self.by {
            By::Points(points, segments) => partial.places(&self.centres, |_, point, room| {
                let nearest = points.nearest(point, room) as usize;
                (segments[nearest].filter(|&segment| self.is_near(segment, room[nearest])), None)
            }),
            By::Components(mixture, segments) => {
                let likeliest = partial.likeliest(mixture);
                partial.places(&self.centres, |at, _, _| match likeliest[at] {
                    Some((component, membership)) => (segments[component as usize], Some(membership)),
                    None => (None, None),
                })
            }
        }
    }

    /// Says whether a segment reaches as far as a squared distance from the nearest row held.
    fn is_near(&self, segment: u32, square: f64) -> bool {
        self.model.segments[segment as usize].reach.is_none_or(|reach| square <= reach * reach)
    }

    /// Returns segments and memberships of points, and how many were settled in f64.
    fn labels(&self, points: &Points, on: &Backend) -> (Vec<Option<u32>>, Option<Vec<f64>>, u64) {
        if self.model.segments.is_empty() {
            return (vec![None; points.n()], None, 0);
        }
        match &self.by {
            By::Components(mixture, segments) => {
                let (labels, membership) = mixture.labels(points);
                (labels.into_iter().map(|label| segments[label as usize]).collect(), Some(membership), 0)
            }
            By::Points(centres, segments) => {
                let found = on.run(&Assign, AssignInput { points, centres }).output;
                let segment = |(at, label): (usize, &u32)| {
                    let square = || Points::distance(points.point(at), centres.centre(*label as usize));
                    segments[*label as usize].filter(|&segment| self.is_near(segment, square()))
                };
                (found.labels().par_iter().enumerate().map(segment).collect(), None, found.n_settled)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{OPTIONS, blobs, found, table};
    use super::super::{Choice, ClusterOptions, Covariance};
    use super::*;

    const METHODS: [Method; 8] = [
        Method::KMeans,
        Method::Medoids,
        Method::Mixture(Covariance::Full),
        Method::Mixture(Covariance::Diagonal),
        Method::Mixture(Covariance::Tied),
        Method::Genie,
        Method::Hdbscan,
        Method::Dbscan(0.2),
    ];

    fn options(method: Method) -> ClusterOptions {
        ClusterOptions { method, k: Choice::Given(3), bootstrap: 0, ..OPTIONS }
    }

    fn scored(model: &Model, columns: &[Vec<f64>], rows_at_once: usize) -> Vec<Place> {
        let on = Backend::cpu();
        let scorer = Scorer::new(model);
        let mut places = Vec::new();
        for first in (0..columns[0].len()).step_by(rows_at_once) {
            let rows = first..(first + rows_at_once).min(columns[0].len());
            let part: Vec<Vec<f64>> = columns.iter().map(|cells| cells[rows.clone()].to_vec()).collect();
            let found = scorer.score(&table(&part), &on).places;
            places.extend(found.into_iter().map(|place| Place { row: place.row + first, ..place }));
        }
        places
    }

    #[test]
    fn the_rows_of_a_model_get_their_segments_again() {
        let (mut columns, _) = blobs(3000, 3, 2, 6.0, 5);
        columns[1][7] = f64::NAN;
        for method in METHODS {
            let found = found(&columns, &options(method));
            assert!(found.segments.len() >= 3, "{method:?}");
            // Membership of HDBSCAN and how far a row stands out are known of the tree alone.
            let is_mixture = matches!(method, Method::Mixture(_));
            let bare = |place: &Place| Place { outlier: None, membership: place.membership.filter(|_| is_mixture), ..*place };
            let due: Vec<Place> = found.places.iter().map(bare).collect();
            for rows_at_once in [3000, 701] {
                assert!(scored(&found.model, &columns, rows_at_once) == due, "{method:?} in cuts of {rows_at_once}");
            }
            assert_eq!((due.len(), found.model.n_incomplete, found.model.agreement), (3000, 1, None), "{method:?}");
            // A wrong twin: another scale.
            let mut wrong = found.model.clone();
            wrong.columns[0].scaler.unit *= 1.1;
            assert!(scored(&wrong, &columns, 3000) != due, "{method:?}");
        }
    }

    #[test]
    fn rows_held_by_a_draw_agree_as_often_as_the_model_says() {
        let (columns, _) = blobs(30_000, 3, 2, 4.0, 6);
        for method in [Method::Genie, Method::Hdbscan] {
            let found = found(&columns, &options(method));
            let said = found.model.agreement.expect("rows are left");
            let again = scored(&found.model, &columns, 8192);
            let same = again.iter().zip(&found.places).filter(|(a, b)| a.segment == b.segment).count();
            // Two of three rows are held, and find themselves.
            let due = 1.0 - (30_000 - same) as f64 / 10_000.0;
            assert!((said - due).abs() < 1e-9 && said > 0.9 && said < 1.0, "{method:?}: {said}, {due}");
        }
    }

    #[test]
    fn far_rows_are_noise_to_methods_that_know_it() {
        let (columns, _) = blobs(600, 3, 2, 8.0, 8);
        let far = [vec![1e3], vec![-1e3]];
        for method in METHODS {
            let found = found(&columns, &options(method));
            assert_eq!(scored(&found.model, &far, 1)[0].segment.is_none(), method.finds_k(), "{method:?}");
        }
        // Without structure nothing has a segment.
        let (columns, _) = blobs(600, 1, 2, 0.0, 9);
        let none = found(&columns, &ClusterOptions { k: Choice::Auto(6), ..options(Method::KMeans) });
        assert_eq!((none.model.segments.len(), none.model.n_noise), (0, 600));
        assert!(scored(&none.model, &columns, 600).iter().all(|place| place.segment.is_none()));
    }
}
