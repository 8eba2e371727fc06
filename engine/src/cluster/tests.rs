//! Segments against the book, against planted truth, and against nothing at all.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array};
use rayon::prelude::*;

use super::kmeans::{self, lloyd, seeds};
use super::points::{Points, scaled};
use super::{Choice, ClusterOptions, Clustering, Covariance, Method, Role, Scale, Trust, assign::Centres, cluster};
use crate::backend::{Backend, PlaceChoice};
use crate::columns::{Table, TableBuilder};

pub(super) const OPTIONS: ClusterOptions = ClusterOptions {
    method: Method::KMeans,
    k: Choice::Auto(8),
    min_size: None,
    min_samples: None,
    scale: Scale::Standard,
    category_of: Vec::new(),
    gamma: 0.5,
    most_missing: 0.5,
    is_weighted: false,
    batch_size: None,
    restarts: 5,
    max_iterations: 100,
    bootstrap: 20,
    levels: 1,
    most_parts: 8,
    alpha: 0.05,
    seed: 7,
};

pub(super) struct Noise(pub(super) u64);

impl Noise {
    pub(super) fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

pub(super) fn table(columns: &[Vec<f64>]) -> Table {
    let arrays: Vec<ArrayRef> = columns.iter().map(|cells| Arc::new(Float64Array::from(cells.clone())) as ArrayRef).collect();
    let named: Vec<_> = arrays.iter().enumerate().map(|(at, array)| (format!("c{at}"), array.data_type().clone())).collect();
    let builder = TableBuilder::new(&named, 1 << 30).unwrap();
    arrays.iter().enumerate().for_each(|(at, array)| builder.put(at, array).unwrap());
    builder.finish().unwrap().0
}

/// Blobs of unit spread `apart` units from one another on the axes, and the blob of every row.
pub(super) fn blobs(n: usize, n_blobs: usize, d: usize, apart: f64, seed: u64) -> (Vec<Vec<f64>>, Vec<usize>) {
    let mut noise = Noise(seed * 2 + 1);
    let truth: Vec<usize> = (0..n).map(|row| row % n_blobs).collect();
    let cell = |column: usize, blob: usize, noise: &mut Noise| noise.normal() + if column == blob { apart } else { 0.0 };
    let columns = (0..d).map(|column| truth.iter().map(|&blob| cell(column, blob, &mut noise)).collect()).collect();
    (columns, truth)
}

pub(super) fn found(columns: &[Vec<f64>], options: &ClusterOptions) -> Clustering {
    let table = table(columns);
    let others = Table { n_rows: table.n_rows, columns: Vec::new() };
    cluster(&table, &others, options, &Backend::cpu(), &|| false).unwrap()
}

/// Lloyd by the book: all distances and plain sums, in f64.
fn by_the_book(points: &Points, mut centres: Vec<Vec<f64>>) -> (Vec<usize>, f64) {
    let mut labels = Vec::new();
    loop {
        let nearest = |at: usize| {
            let distance = |centre: &Vec<f64>| Points::distance(points.point(at), centre);
            (0..centres.len()).min_by(|a, b| distance(&centres[*a]).total_cmp(&distance(&centres[*b])).then(a.cmp(b))).unwrap()
        };
        let new: Vec<usize> = (0..points.n()).map(nearest).collect();
        if new == labels {
            break;
        }
        labels = new;
        for (at, centre) in centres.iter_mut().enumerate() {
            let own: Vec<usize> = (0..points.n()).filter(|&row| labels[row] == at).collect();
            if !own.is_empty() {
                *centre =
                    (0..points.d).map(|c| own.iter().map(|&row| f64::from(points.point(row)[c])).sum::<f64>() / own.len() as f64).collect();
            }
        }
    }
    let inertia = (0..points.n()).map(|at| Points::distance(points.point(at), &centres[labels[at]])).sum();
    (labels, inertia)
}

#[test]
fn lloyd_is_that_of_the_book() {
    for (n, k, d, seed) in [(50, 3, 2, 1), (300, 5, 4, 2), (999, 12, 7, 3)] {
        let points = scaled(&table(&blobs(n, 3, d, 2.0, seed).0), Scale::Standard, (&[], 0.5)).unwrap().points;
        let start = seeds(&points, k, seed, 0);
        let (labels, inertia) = by_the_book(&points, start.cells.chunks(d).map(<[f64]>::to_vec).collect());
        let fit = lloyd(&points, start, 500, &Backend::cpu(), &|| false).unwrap();
        assert!(fit.converged);
        assert_eq!(fit.labels.iter().map(|label| *label as usize).collect::<Vec<_>>(), labels, "{n} x {d}, k = {k}");
        assert!((fit.inertia - inertia).abs() <= 1e-9 * inertia, "{} and {inertia}", fit.inertia);
        let other = seeds(&points, k, seed, 1);
        assert_ne!(lloyd(&points, other, 1, &Backend::cpu(), &|| false).unwrap().labels, fit.labels, "a wrong twin");
    }
}

#[test]
fn a_row_of_weight_three_is_three_rows() {
    let (columns, _) = blobs(300, 3, 2, 4.0, 21);
    let weights: Vec<f64> = (0..300).map(|row| (row * 7 % 4) as f64).collect();
    let repeated = |cells: &Vec<f64>| cells.iter().zip(&weights).flat_map(|(x, n)| vec![*x; *n as usize]).collect::<Vec<f64>>();
    let options = ClusterOptions { k: Choice::Given(3), scale: Scale::None, bootstrap: 0, restarts: 8, ..OPTIONS };
    let of = |columns: &[Vec<f64>], weights: Option<Vec<f64>>| {
        let is_weighted = weights.is_some();
        let others = weights.map_or_else(|| Table { n_rows: columns[0].len(), columns: Vec::new() }, |weights| table(&[weights]));
        cluster(&table(columns), &others, &ClusterOptions { is_weighted, ..options.clone() }, &Backend::cpu(), &|| false).unwrap()
    };
    let due = of(&columns.iter().map(repeated).collect::<Vec<_>>(), None);
    let found = of(&columns, Some(weights.clone()));
    // Centres are the same, in the order of their rows; a mean of columns is taken from all of them, weighted or not.
    let sorted = |found: &Clustering| {
        let mut centres: Vec<Vec<f64>> = found.segments.iter().map(|segment| segment.centre.clone()).collect();
        centres.sort_by(|a, b| a[0].total_cmp(&b[0]));
        centres.concat()
    };
    assert!(sorted(&found).iter().zip(sorted(&due)).all(|(a, b)| (a - b).abs() < 1e-6), "{:?} and {:?}", sorted(&found), sorted(&due));
    assert!((found.inertia - due.inertia).abs() < 1e-5 * due.inertia, "{} and {}", found.inertia, due.inertia);
    let of_segments = |of: fn(&super::Segment) -> f64| found.segments.iter().map(of).sum::<f64>();
    assert!((of_segments(|segment| segment.weight.unwrap()) - weights.iter().sum::<f64>()).abs() < 1e-9);
    assert_eq!(found.segments.iter().map(|segment| segment.n).sum::<u64>(), 300);
    // A wrong twin: weights left out.
    let wrong = of(&columns, None);
    assert!(sorted(&wrong).iter().zip(sorted(&due)).any(|(a, b)| (a - b).abs() > 1e-3));
    // What is no weight is none.
    let broken: Vec<f64> = weights.iter().enumerate().map(|(row, weight)| [f64::NAN, -2.0, *weight][row % 3]).collect();
    let due: f64 = weights.iter().skip(2).step_by(3).sum();
    let weight: f64 = of(&columns, Some(broken)).segments.iter().map(|segment| segment.weight.unwrap()).sum();
    assert!((weight - due).abs() < 1e-9, "{weight}, due {due}");
}

/// Spherical k-means by the book: rows and centres of length 1, each row with the centre of the largest cosine.
fn spherical(rows: &[Vec<f64>], mut centres: Vec<Vec<f64>>) -> Vec<usize> {
    let unit = |x: &[f64]| {
        let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        x.iter().map(|x| x / length).collect::<Vec<f64>>()
    };
    let rows: Vec<Vec<f64>> = rows.iter().map(|row| unit(row)).collect();
    let mut labels = Vec::new();
    for _ in 0..200 {
        let cosine = |row: &[f64], centre: &[f64]| row.iter().zip(centre).map(|(a, b)| a * b).sum::<f64>();
        let nearest = |row: &Vec<f64>| {
            let best = |best: usize, at: usize| if cosine(row, &centres[at]) > cosine(row, &centres[best]) { at } else { best };
            (0..centres.len()).fold(0, best)
        };
        labels = rows.iter().map(nearest).collect();
        for (at, centre) in centres.iter_mut().enumerate() {
            let own = || rows.iter().zip(&labels).filter(|(_, label)| **label == at).map(|(row, _)| row);
            *centre = unit(&(0..centre.len()).map(|c| own().map(|row| row[c]).sum()).collect::<Vec<f64>>());
        }
    }
    labels
}

#[test]
fn rows_of_length_one_are_parted_by_their_direction() {
    let (columns, _) = blobs(600, 3, 3, 4.0, 8);
    let mut noise = Noise(5);
    // Lengths say nothing: each row is stretched by up to a million.
    let stretched: Vec<Vec<f64>> = {
        let by: Vec<f64> = (0..600).map(|_| libm::exp(14.0 * noise.uniform())).collect();
        columns.iter().map(|cells| cells.iter().zip(&by).map(|(x, by)| x * by).collect()).collect()
    };
    let rows: Vec<Vec<f64>> = (0..600).map(|row| columns.iter().map(|cells| cells[row]).collect()).collect();
    let points = scaled(&table(&stretched), Scale::Unit, (&[], 0.5)).unwrap().points;
    assert!(points.cells.chunks(3).all(|point| (point.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6));
    let start = seeds(&points, 3, 4, 0);
    let due = spherical(&rows, start.cells.chunks(3).map(<[f64]>::to_vec).collect());
    let fit = lloyd(&points, start, 200, &Backend::cpu(), &|| false).unwrap();
    assert_eq!(fit.labels.iter().map(|label| *label as usize).collect::<Vec<_>>(), due);
    assert!((0..3).all(|at| (fit.centres.centre(at).iter().map(|c| c * c).sum::<f64>() - 1.0).abs() < 1e-12));
    let options = ClusterOptions { scale: Scale::Unit, k: Choice::Given(3), bootstrap: 5, ..OPTIONS };
    for method in [Method::KMeans, Method::Genie, Method::Auto] {
        let of = |columns: &[Vec<f64>]| {
            let found = found(
                columns,
                &ClusterOptions { method, k: if method == Method::Auto { Choice::Auto(9) } else { options.k }, ..options.clone() },
            );
            found.places.iter().map(|place| place.segment).collect::<Vec<_>>()
        };
        assert!(of(&columns) == of(&stretched), "{method:?}");
    }
    // A wrong twin: lengths left as they are.
    assert_ne!(found(&stretched, &ClusterOptions { scale: Scale::None, ..options.clone() }).places, found(&stretched, &options).places);
    // No direction, no segment; and half a row has another direction.
    let mut holes = columns;
    for cells in &mut holes {
        cells[7] = 0.0;
    }
    holes[1][9] = f64::NAN;
    let found = found(&holes, &options);
    assert_eq!((found.n_incomplete, found.places.len()), (2, 599));
    assert!(found.places.iter().all(|place| place.row != 7 && (place.row == 9) == place.segment.is_none()));
    assert!(found.rules.price.is_some_and(|price| (1.0..3.0).contains(&price)), "{:?}", found.rules.price);
}

#[test]
fn a_centre_without_points_moves_to_the_farthest() {
    let points = Points::new(vec![0.0, 0.1, 0.2, 5.0, 9.0], 1);
    // The second centre is nobody's.
    let fit = lloyd(&points, Centres::new(vec![0.0, 100.0, 5.0], 1), 50, &Backend::cpu(), &|| false).unwrap();
    assert_eq!(fit.labels, [0, 0, 0, 2, 1]);
    // More centres than different points: the rest stays empty.
    let same = Points::new(vec![1.0; 6], 1);
    let fit = lloyd(&same, seeds(&same, 3, 1, 0), 50, &Backend::cpu(), &|| false).unwrap();
    assert!(fit.converged && fit.inertia == 0.0);
}

#[test]
fn planted_blobs_are_found_and_trusted() {
    let (columns, truth) = blobs(600, 4, 4, 6.0, 5);
    let found = found(&columns, &OPTIONS);
    assert_eq!(found.segments.len(), 4, "{:?}", found.sweep);
    assert!(found.segments.iter().all(|segment| segment.trust == Trust::Stable), "{:?}", found.segments);
    let of_blob = |blob: usize| found.places.iter().find(|place| truth[place.row] == blob).unwrap().segment;
    let right = found.places.iter().filter(|place| place.segment == of_blob(truth[place.row])).count();
    assert!(right >= 590, "{right} of 600 rows lie in their blob's segment");
    assert_eq!(found.segments.iter().map(|segment| segment.n).sum::<u64>(), 600);
    assert!(found.places.iter().all(|place| place.margin.unwrap() >= 0.0));
    // What was planted is what sets a segment apart.
    let apart = |segment: usize| {
        let of = found.features.iter().filter(|feature| feature.segment == segment);
        of.max_by(|a, b| a.effect.unwrap().abs().total_cmp(&b.effect.unwrap().abs())).unwrap()
    };
    let names: std::collections::BTreeSet<String> = (0..4).map(|segment| apart(segment).column.clone()).collect();
    assert_eq!(names.len(), 4);
    assert!(found.features.iter().all(|feature| feature.p.is_none()), "columns that took part are not tested");
}

#[test]
fn nothing_is_found_where_there_is_nothing() {
    let claimed = |method: Method, draw: &(dyn Fn(&mut Noise) -> f64 + Sync), d: usize| {
        let claims = |seed: u64| {
            let mut noise = Noise(seed * 7919 + 1);
            let columns: Vec<Vec<f64>> = (0..d).map(|_| (0..300).map(|_| draw(&mut noise)).collect()).collect();
            let options = ClusterOptions { method, bootstrap: 0, restarts: 1, seed, ..OPTIONS };
            !found(&columns, &options).segments.is_empty()
        };
        (1..=100_u64).into_par_iter().filter(|&seed| claims(seed)).count()
    };
    let kinds = [Method::KMeans, Method::Mixture(Covariance::Full), Method::Auto];
    for (method, d) in kinds.into_iter().flat_map(|method| [1, 2, 5].map(|d| (method, d))) {
        let (uniform, normal) = (claimed(method, &|noise| noise.uniform(), d), claimed(method, &|noise| noise.normal(), d));
        assert!(
            uniform <= 5 && normal <= 5,
            "{method:?}, {d} columns: {uniform} of 100 uniform and {normal} of 100 normal draws are said to have segments"
        );
    }
}

#[test]
fn threads_and_places_change_no_byte() {
    let (columns, _) = blobs(3_000, 5, 6, 3.0, 9);
    let options = ClusterOptions { k: Choice::Given(7), ..OPTIONS };
    let of_threads = |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(|| found(&columns, &options));
    let one = of_threads(1);
    assert_eq!(one, of_threads(2));
    assert_eq!(one, of_threads(16));
    let Ok(software) = Backend::open(PlaceChoice::of_tests()) else { return };
    let table = table(&columns);
    let others = Table { n_rows: table.n_rows, columns: Vec::new() };
    let on_device = cluster(&table, &others, &ClusterOptions { bootstrap: 2, ..options.clone() }, &software, &|| false).unwrap();
    let on_cpu = cluster(&table, &others, &ClusterOptions { bootstrap: 2, ..options.clone() }, &Backend::cpu(), &|| false).unwrap();
    assert_eq!(on_device, on_cpu);
    assert!(software.place().is_device() && software.fallbacks().is_empty());
}

#[test]
fn rows_that_lack_a_cell_make_no_segment_and_are_counted() {
    let (mut columns, _) = blobs(200, 2, 2, 8.0, 3);
    columns[1][17] = f64::NAN;
    columns[0][40] = f64::INFINITY;
    let found = found(&columns, &OPTIONS);
    assert_eq!((found.n_rows, found.n_incomplete, found.places.len()), (200, 2, 200));
    assert!(found.places.iter().all(|place| (place.n_missing == 1) == (place.row == 17 || place.row == 40) && place.segment.is_some()));
    let of = |n: fn(&super::Segment) -> u64| found.segments.iter().map(n).sum::<u64>();
    assert_eq!((of(|segment| segment.n), of(|segment| segment.n_placed)), (198, 2));
}

#[test]
fn columns_that_took_no_part_are_tested() {
    let (mut columns, truth) = blobs(400, 2, 2, 8.0, 11);
    let mut noise = Noise(99);
    columns.push(truth.iter().map(|&blob| noise.normal() + blob as f64).collect());
    columns.push((0..400).map(|_| noise.normal()).collect());
    let all = table(&columns);
    let (used, others) = all.columns.split_at(2);
    let of = |columns: &[_]| Table { n_rows: 400, columns: columns.to_vec() };
    let found = cluster(&of(used), &of(others), &OPTIONS, &Backend::cpu(), &|| false).unwrap();
    let feature = |name: &str| found.features.iter().find(|feature| feature.segment == 0 && feature.column == name).unwrap();
    assert!(feature("c2").q.unwrap() < 1e-6 && feature("c3").q.unwrap() > 0.01 && feature("c0").p.is_none());
    // Student's t of two groups of 200 by the book.
    let (d, n) = (feature("c2").effect.unwrap(), 200.0_f64);
    let t = d / libm::sqrt(2.0 / n);
    let r = t / libm::sqrt(t * t + 398.0);
    let due = crate::stats::ln_pearson_p(r, 400).unwrap();
    assert!((libm::log(feature("c2").p.unwrap()) - due).abs() < 1e-9);
}

#[test]
fn scales_do_what_they_say() {
    let cells: Vec<f64> = (0..101).map(|row| f64::from(row) * 2.0).collect();
    let of = |scale: Scale| scaled(&table(&[cells.clone(), vec![3.0; 101]]), scale, (&[], 0.5)).unwrap();
    let close = |found: f64, due: f64| assert!((found - due).abs() < 1e-9, "{found}, due {due}");
    close(of(Scale::Standard).scalers[0].unit, 2.0 * libm::sqrt(101.0 * 102.0 / 12.0));
    close(of(Scale::Robust).scalers[0].centre, 100.0);
    close(of(Scale::Robust).scalers[0].unit, 100.0 / 1.349);
    close(of(Scale::None).scalers[0].unit, 1.0);
    close(of(Scale::Standard).scalers[1].unit, 1.0);
    assert!(scaled(&table(&[vec![f64::NAN; 3]]), Scale::Standard, (&[], 0.5)).is_none());
}

#[test]
fn every_method_is_the_same_on_any_number_of_threads() {
    let (columns, truth) = blobs(900, 3, 3, 7.0, 4);
    let methods = [Method::Auto, Method::Mixture(Covariance::Full), Method::Genie, Method::Hdbscan, Method::Dbscan(0.6)];
    for method in methods {
        let options =
            ClusterOptions { method, bootstrap: 8, k: if method == Method::Genie { Choice::Given(3) } else { Choice::Auto(6) }, ..OPTIONS };
        let of_threads = |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(|| found(&columns, &options));
        let one = of_threads(1);
        assert_eq!(one, of_threads(2), "{method:?}");
        assert_eq!(one, of_threads(16), "{method:?}");
        assert_eq!(one.segments.len(), 3, "{method:?}");
        assert!(one.segments.iter().all(|segment| segment.trust == Trust::Stable), "{method:?}: {:?}", one.segments);
        let of_blob = |blob: usize| one.places.iter().find(|place| truth[place.row] == blob && place.segment.is_some()).unwrap().segment;
        let wrong = one.places.iter().filter(|place| place.segment.is_some() && place.segment != of_blob(truth[place.row])).count();
        assert!(wrong <= 3 && one.n_noise <= 90, "{method:?}: {wrong} of 900 rows are wrong, {} are noise", one.n_noise);
        assert_eq!(one.segments.iter().map(|segment| segment.n).sum::<u64>() + one.n_noise, 900);
        let medoids = one.exemplars.iter().filter(|exemplar| exemplar.role == Role::Medoid);
        assert!(
            medoids.clone().count() == 3 && medoids.clone().all(|medoid| one.places[medoid.row].segment == Some(medoid.segment as u32))
        );
        let contrasts = one.exemplars.iter().filter(|exemplar| exemplar.role == Role::Contrast);
        assert!(contrasts.clone().count() == 3 && contrasts.clone().all(|row| one.places[row.row].segment != Some(row.segment as u32)));
    }
}

#[test]
fn bic_finds_the_components_and_one_normal_distribution_is_none() {
    let (columns, _) = blobs(600, 3, 2, 5.0, 8);
    let of = |columns: &[Vec<f64>]| found(columns, &ClusterOptions { method: Method::Mixture(Covariance::Full), bootstrap: 0, ..OPTIONS });
    let three = of(&columns);
    let chosen: Vec<_> = three.sweep.iter().filter(|sweep| sweep.chosen).map(|sweep| (sweep.criterion, sweep.k)).collect();
    assert_eq!((three.segments.len(), chosen), (3, vec![("bic", 3), ("by_chance", 3)]), "{:?}", three.sweep);
    let (one, _) = blobs(600, 1, 2, 0.0, 9);
    assert!(of(&one).segments.is_empty());
}

#[test]
fn a_stop_is_obeyed() {
    let points = scaled(&table(&blobs(100, 2, 2, 3.0, 1).0), Scale::None, (&[], 0.5)).unwrap().points;
    assert!(kmeans::best_of(&points, 3, 2, 10, (1, 0), &Backend::cpu(), &|| true).is_none());
}

#[test]
fn blobs_are_told_apart_by_bounds_that_cost_nothing() {
    let mut noise = Noise(5);
    let at = [(0.0, 0.0), (20.0, 0.0), (20.0, 20.0)];
    let points: Vec<(f64, f64)> = (0..900).map(|i| (at[i % 3].0 + noise.normal(), at[i % 3].1 + noise.normal())).collect();
    let columns: [Vec<f64>; 2] = [points.iter().map(|p| p.0).collect(), points.iter().map(|p| p.1).collect()];
    for method in [Method::KMeans, Method::Mixture(Covariance::Full), Method::Genie] {
        let found = found(&columns, &ClusterOptions { method, k: Choice::Given(3), ..OPTIONS });
        assert_eq!((found.rules.rules.len(), found.rules.accuracy, found.rules.price), (3, Some(1.0), Some(1.0)), "{}", method.word());
        assert!(found.rules.rules.iter().all(|rule| rule.n == 300 && rule.purity == Some(1.0) && rule.coverage == Some(1.0)));
        // The blob at (20, 20) needs no bound on the first column, nor the one at (0, 0) one on the second.
        assert_eq!(found.rules.rules.iter().map(|rule| rule.bounds.len()).sum::<usize>(), 5);
    }
    // One segment is told apart from nothing.
    let one: Vec<f64> = (0..500).map(|_| noise.normal()).collect();
    assert!(found(&[one], &ClusterOptions { method: Method::Dbscan(100.0), ..OPTIONS }).rules.rules.is_empty());
}

/// Numbers and texts in three kinds of rows: two columns of numbers, texts of three and of four categories, some missing.
fn mixed(n: usize, seed: u64) -> (Vec<Vec<f64>>, Vec<[Option<usize>; 2]>) {
    let mut noise = Noise(seed * 2 + 1);
    let mut numbers = vec![Vec::new(); 2];
    let mut texts = Vec::new();
    for row in 0..n {
        let kind = row % 3;
        numbers[0].push(noise.normal() + 2.0 * kind as f64);
        numbers[1].push(noise.normal() * 3.0);
        let mut text = |n_levels: usize| match noise.uniform() {
            x if x < 0.7 => Some(kind % n_levels),
            x if x < 0.95 => Some((noise.uniform() * n_levels as f64) as usize),
            _ => None,
        };
        texts.push([text(3), text(4)]);
    }
    (numbers, texts)
}

fn with_flags(numbers: &[Vec<f64>], texts: &[[Option<usize>; 2]]) -> (Table, Vec<Option<u32>>) {
    let mut columns = numbers.to_vec();
    let mut category_of = vec![None; numbers.len()];
    for (text, n_levels) in [(0, 3), (1, 4)] {
        for level in 0..n_levels {
            columns.push(texts.iter().map(|texts| f64::from(u8::from(texts[text] == Some(level)))).collect());
            category_of.push(Some(text as u32));
        }
    }
    (table(&columns), category_of)
}

#[test]
fn prototypes_are_those_of_the_book() {
    let gamma = 0.8;
    for seed in 1..6 {
        let (numbers, texts) = mixed(600, seed);
        let (table, category_of) = with_flags(&numbers, &texts);
        let points = scaled(&table, Scale::Standard, (&category_of, gamma)).unwrap().points;
        let start = seeds(&points, 3, seed, 0);
        let first = (0..3).map(|at| {
            (0..points.n()).find(|&row| points.point(row).iter().zip(start.centre(at)).all(|(x, c)| f64::from(*x).to_bits() == c.to_bits()))
        });
        let first: Vec<usize> = first.map(Option::unwrap).collect();
        let fit = lloyd(&points, start, 100, &Backend::cpu(), &|| false).unwrap();
        // Huang 1998: squared distances of numbers, and gamma for each text that differs; half of it where one is missing.
        let number = |row: usize, column: usize| f64::from(points.point(row)[column]);
        let mut prototypes: Vec<([f64; 2], [Option<usize>; 2])> =
            first.iter().map(|&row| ([number(row, 0), number(row, 1)], texts[row])).collect();
        let apart = |row: usize, (means, modes): &([f64; 2], [Option<usize>; 2])| {
            let of_numbers: f64 = (0..2).map(|column| (number(row, column) - means[column]).powi(2)).sum();
            let of_text = |text: usize| match (texts[row][text], modes[text]) {
                (Some(a), Some(b)) if a != b => gamma,
                (None, Some(_)) | (Some(_), None) => gamma / 2.0,
                _ => 0.0,
            };
            of_numbers + of_text(0) + of_text(1)
        };
        let mut labels: Vec<usize> = Vec::new();
        loop {
            let nearest = |row: usize| (0..3).min_by(|a, b| apart(row, &prototypes[*a]).total_cmp(&apart(row, &prototypes[*b]))).unwrap();
            let new: Vec<usize> = (0..600).map(nearest).collect();
            if new == labels {
                break;
            }
            labels = new;
            for (at, prototype) in prototypes.iter_mut().enumerate() {
                let own: Vec<usize> = (0..600).filter(|&row| labels[row] == at).collect();
                prototype.0 = [0, 1].map(|column| own.iter().map(|&row| number(row, column)).sum::<f64>() / own.len() as f64);
                let mode = |text: usize, n_levels: usize| {
                    let count = |level: usize| own.iter().filter(|&&row| texts[row][text] == Some(level)).count();
                    (0..n_levels).rev().max_by_key(|&level| count(level)).filter(|&level| count(level) > 0)
                };
                prototype.1 = [mode(0, 3), mode(1, 4)];
            }
        }
        assert!(fit.labels.iter().zip(&labels).all(|(a, b)| *a as usize == *b), "seed {seed}");
        let cost: f64 = (0..600).map(|row| apart(row, &prototypes[labels[row]])).sum();
        assert!((fit.inertia - cost).abs() < 1e-5 * cost, "{} and {cost}", fit.inertia);
        // A wrong twin: shares of categories in place of the most frequent one.
        let bare = Points::new(points.cells.clone(), points.d);
        let wrong = lloyd(&bare, seeds(&points, 3, seed, 0), 100, &Backend::cpu(), &|| false).unwrap();
        assert!((wrong.inertia - fit.inertia).abs() > 1e-3 * cost);
    }
}

#[test]
fn rows_of_numbers_and_texts_are_parted_by_every_method_that_takes_them() {
    let (mut numbers, texts) = mixed(1500, 9);
    numbers[0].iter_mut().enumerate().for_each(|(row, x)| *x += 8.0 * (row % 3) as f64);
    let (table, category_of) = with_flags(&numbers, &texts);
    let others = Table { n_rows: table.n_rows, columns: Vec::new() };
    for method in [Method::KMeans, Method::Genie, Method::Hdbscan] {
        // Unscaled the kinds lie ten apart in one column, and farther than anything else.
        let options =
            ClusterOptions { method, k: Choice::Given(3), scale: Scale::None, category_of: category_of.clone(), bootstrap: 0, ..OPTIONS };
        let found = cluster(&table, &others, &options, &Backend::cpu(), &|| false).unwrap();
        assert_eq!((found.segments.len(), found.n_incomplete), (3, 0), "{method:?}");
        let labelled: Vec<(usize, u32)> = found.places.iter().filter_map(|place| Some((place.row, place.segment?))).collect();
        let first = |kind: usize| labelled.iter().find(|(row, _)| row % 3 == kind).unwrap().1;
        let right = labelled.iter().filter(|(row, segment)| *segment == first(row % 3)).count();
        assert!(right * 100 > 95 * labelled.len() && labelled.len() > 1000, "{method:?}: {right} of {}", labelled.len());
        // A model keeps which columns are flags.
        assert_eq!(found.model.columns.iter().map(|column| column.scaler.category_of).collect::<Vec<_>>(), category_of);
    }
}

#[test]
fn cells_beyond_all_measure_have_a_place() {
    let (mut columns, truth) = blobs(300, 3, 3, 9.0, 11);
    columns[0][17] = 1e300;
    columns[2][40] = -1e200;
    for scale in [Scale::Standard, Scale::Robust, Scale::None] {
        for method in [Method::KMeans, Method::Mixture(Covariance::Full), Method::Medoids, Method::Genie, Method::Hdbscan, Method::Auto] {
            let options = ClusterOptions { method, k: Choice::Given(5), bootstrap: 2, scale, ..OPTIONS };
            let found = found(&columns, &options);
            assert_eq!(found.places.len(), 300, "{method:?} {scale:?}");
            let is_measured = |place: &super::Place| place.distance.is_none_or(f64::is_finite) && place.margin.is_none_or(f64::is_finite);
            assert!(found.places.iter().all(is_measured), "{method:?} {scale:?}");
        }
    }
    // Each lies apart, and the others with their like.
    let options = ClusterOptions { k: Choice::Given(5), scale: Scale::Robust, bootstrap: 0, ..OPTIONS };
    let of_row: Vec<Option<u32>> = found(&columns, &options).places.iter().map(|place| place.segment).collect();
    let alone = |row: usize| of_row.iter().filter(|segment| **segment == of_row[row]).count() == 1;
    assert!(alone(17) && alone(40));
    assert!((0..300).filter(|row| ![17, 40].contains(row)).all(|row| of_row[row] == of_row[truth[row]]));
}
