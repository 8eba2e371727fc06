//! What the permutation null promises: families in which nothing is related are rejected as often as alpha says, and planted
//! effects are found as often as theory says.
//!
//! Seeds are fixed, so that each figure is one number and no matter of luck; the bounds are those of the promise.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, StringArray};
use gristmill_engine::backend::Backend;
use gristmill_engine::columns::{Table, TableBuilder};
use gristmill_engine::correlate::{Adjust, AssociateOptions, CorrelateOptions, Correlation, Frame, Method, MethodChoice, Roles, associate};
use rayon::prelude::*;

/// A small generator: tests need spread and a fixed seed.
struct Noise(u64);

impl Noise {
    fn of(family: u64) -> Self {
        let mut noise = Self(family.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| {
            noise.uniform();
        });
        noise
    }

    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }
}

fn numbers(cells: Vec<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(cells))
}

fn table(columns: &[ArrayRef]) -> Table {
    let named: Vec<_> = columns.iter().enumerate().map(|(at, array)| (format!("c{at}"), array.data_type().clone())).collect();
    let builder = TableBuilder::new(&named, 1 << 30).unwrap();
    for (at, array) in columns.iter().enumerate() {
        builder.put(at, array).unwrap();
    }
    builder.finish().unwrap().0
}

struct Asked {
    method: MethodChoice,
    permutations: u32,
    n_targets: usize,
    alpha: f64,
    time: bool,
    /// Rows of an entity; 0 where rows are independent.
    entity_rows: usize,
    /// Rows of a group; 0 where there are none.
    group_rows: usize,
    lags: &'static [i64],
    bootstrap: u32,
}

const PLAIN: Asked = Asked {
    method: MethodChoice::Auto,
    permutations: 199,
    n_targets: 0,
    alpha: 0.05,
    time: false,
    entity_rows: 0,
    group_rows: 0,
    lags: &[],
    bootstrap: 0,
};

fn relate(table: &Table, seed: u64, asked: &Asked) -> Correlation {
    let time: Vec<f64> = (0..table.n_rows).map(|row| row as f64).collect();
    let correlate = CorrelateOptions {
        min_effect: 0.0,
        min_n: 20,
        alpha: asked.alpha,
        n_targets: asked.n_targets,
        adjust: Adjust::Bh,
        ..CorrelateOptions::default()
    };
    let options = AssociateOptions {
        permutations: asked.permutations,
        bootstrap: asked.bootstrap,
        seed,
        ..AssociateOptions::of(correlate, asked.method)
    };
    let numbered = |rows: usize| (0..table.n_rows).map(|row| (row / rows) as u32).collect::<Vec<u32>>();
    let roles = Roles {
        time: asked.time.then_some(time),
        entities: (asked.entity_rows > 0).then(|| numbered(asked.entity_rows)),
        groups: (asked.group_rows > 0).then(|| {
            let of_row = numbered(asked.group_rows);
            let names = (0..=*of_row.last().unwrap()).map(|group| group.to_string()).collect();
            (of_row, names)
        }),
        lags: asked.lags.to_vec(),
        ..Roles::default()
    };
    associate(&Frame::new(table.clone(), &roles, asked.n_targets), &options, &Backend::cpu(), &|| false).unwrap().unwrap()
}

/// Returns the share of families in which any pair survives.
fn rejected(families: u64, asked: &Asked, family: impl Fn(&mut Noise) -> Vec<ArrayRef> + Sync) -> f64 {
    let any = |seed: u64| {
        let found = relate(&table(&family(&mut Noise::of(seed))), seed, asked);
        assert!(found.family > 0);
        // Guards after the test only take away: the test itself is what must hold.
        found.pairs.iter().any(|pair| pair.p_perm.is_some_and(|p| p <= asked.alpha))
    };
    let n = (1..=families).into_par_iter().filter(|&seed| any(seed)).count();
    n as f64 / families as f64
}

const FAMILIES: u64 = 1000;

#[test]
fn continuous_families_are_rejected_as_often_as_alpha_says() {
    let share = rejected(FAMILIES, &PLAIN, |noise| (0..7).map(|_| numbers(noise.normals(50))).collect());
    assert!((0.035..=0.065).contains(&share), "{share} of the families are rejected");
    let spearman = Asked { method: MethodChoice::One(Method::Spearman), ..PLAIN };
    let share = rejected(FAMILIES, &spearman, |noise| (0..5).map(|_| numbers(noise.normals(40))).collect());
    assert!((0.035..=0.065).contains(&share), "Spearman: {share} of the families are rejected");
}

/// Normal, skewed, whole-number, rare and two-valued numbers, categories of two to four levels, missing cells.
fn mixed(noise: &mut Noise) -> Vec<ArrayRef> {
    let n = 60;
    let mut draw = |of: &dyn Fn(&mut Noise) -> f64| -> Vec<f64> { (0..n).map(|_| of(noise)).collect() };
    let skewed = draw(&|noise| (2.0 * noise.normal()).exp());
    let counts = draw(&|noise| (noise.uniform() * 3.0).floor());
    let rare = draw(&|noise| f64::from(u8::from(noise.uniform() < 0.1)));
    let normal = draw(&Noise::normal);
    let gaps: Vec<f64> = draw(&|noise| if noise.uniform() < 0.1 { f64::NAN } else { noise.normal() });
    let mut levels = |shares: &[f64]| -> ArrayRef {
        let mut level = || {
            let (drawn, mut below) = (noise.uniform(), 0.0);
            let is_in = |share: &f64| {
                below += share;
                drawn < below
            };
            shares.iter().position(is_in).unwrap_or(shares.len())
        };
        Arc::new(StringArray::from_iter_values((0..n).map(|_| format!("level {}", level()))))
    };
    let texts = [levels(&[0.5]), levels(&[0.6, 0.3]), levels(&[0.4, 0.3, 0.2])];
    [numbers(skewed), numbers(counts), numbers(rare), numbers(normal), numbers(gaps)].into_iter().chain(texts).collect()
}

#[test]
fn mixed_families_are_not_rejected_more_often_than_alpha_says() {
    let share = rejected(FAMILIES, &PLAIN, mixed);
    assert!(share <= 0.065, "{share} of the families are rejected");
    let with_target = Asked { n_targets: 1, ..PLAIN };
    let share = rejected(FAMILIES, &with_target, mixed);
    assert!(share <= 0.065, "with a target: {share} of the families are rejected");
}

#[test]
fn without_the_null_skewed_and_rare_columns_are_found_too_often() {
    // The alarm: p-values of the normal theory, uncorrected for the family, reject far more.
    let fooled = |seed: u64| {
        let found = relate(&table(&mixed(&mut Noise::of(seed))), seed, &Asked { permutations: 0, ..PLAIN });
        found.pairs.iter().any(|pair| pair.q.is_some() && pair.p.is_some_and(|p| p <= 0.05))
    };
    assert!((1..=100).filter(|&seed| fooled(seed)).count() > 30);
}

/// Columns whose rows resemble the row before.
fn series(noise: &mut Noise, n: usize) -> Vec<f64> {
    let mut last = 0.0;
    (0..n + 50)
        .map(|_| {
            last = 0.8 * last + noise.normal();
            last
        })
        .skip(50)
        .collect()
}

#[test]
fn series_hold_their_level_with_time_and_do_not_without() {
    let family = |noise: &mut Noise| (0..4).map(|_| numbers(series(noise, 200))).collect::<Vec<_>>();
    let with_time = rejected(500, &Asked { time: true, ..PLAIN }, family);
    let without = rejected(200, &PLAIN, family);
    assert!(with_time <= 0.08, "{with_time} of the families are rejected with `time`");
    assert!(without > 0.3, "rows taken as independent reject {without}");
}

/// Twenty entities of six rows: what an entity is like stands in all of its rows.
fn clustered(noise: &mut Noise) -> Vec<ArrayRef> {
    let column = |noise: &mut Noise| -> Vec<f64> {
        let of_entity = noise.normals(20);
        (0..120).map(|row| of_entity[row / 6] + 0.5 * noise.normal()).collect()
    };
    (0..4).map(|_| numbers(column(noise))).collect()
}

#[test]
fn entities_hold_their_level_with_cluster_by_and_do_not_without() {
    let with_entities = rejected(500, &Asked { entity_rows: 6, ..PLAIN }, clustered);
    let without = rejected(200, &PLAIN, clustered);
    assert!(with_entities <= 0.065, "{with_entities} of the families are rejected with `cluster_by`");
    assert!(without > 0.3, "rows taken as independent reject {without}");
}

#[test]
fn planted_effects_are_found_as_often_as_theory_says() {
    let (n, r, repeats) = (50, 0.4_f64, 500_u64);
    let found = |seed: u64| {
        let mut noise = Noise::of(seed);
        let x = noise.normals(n);
        let y = x.iter().map(|x| r * x + (1.0 - r * r).sqrt() * noise.normal()).collect();
        let found = relate(&table(&[numbers(x), numbers(y)]), seed, &Asked { permutations: 499, ..PLAIN });
        found.pairs[0].p_perm.is_some_and(|p| p <= 0.05)
    };
    let share = (1..=repeats).into_par_iter().filter(|&seed| found(seed)).count() as f64 / repeats as f64;
    // Fisher's z: P(Z > 1.96 - atanh(0.4) sqrt(47)) = 0.828; the standard error of 500 repeats is 0.017.
    assert!((share - 0.828).abs() < 0.05, "power {share}, but theory says 0.828");
}

#[test]
fn false_discoveries_stay_at_their_rate() {
    // One target, 40 features of which 8 are related to it: the mean share of false ones among all found, at q = 0.1.
    let repeats = 200_u64;
    let of_family = |seed: u64| {
        let mut noise = Noise::of(seed);
        let target = noise.normals(100);
        let feature = |at: usize, noise: &mut Noise| -> Vec<f64> {
            let load = if at < 8 { 0.5 } else { 0.0 };
            target.iter().map(|t| load * t + noise.normal()).collect()
        };
        let features: Vec<Vec<f64>> = (0..40).map(|at| feature(at, &mut noise)).collect();
        let columns: Vec<ArrayRef> = std::iter::once(target.clone()).chain(features).map(numbers).collect();
        let found = relate(&table(&columns), seed, &Asked { permutations: 0, n_targets: 1, alpha: 0.1, ..PLAIN });
        assert_eq!(found.family, 40);
        let survivors: Vec<usize> = found.pairs.iter().filter(|pair| pair.q.is_some_and(|q| q <= 0.1)).map(|pair| pair.y).collect();
        let wrong = survivors.iter().filter(|&&y| y > 8).count();
        (wrong as f64 / survivors.len().max(1) as f64, survivors.len() - wrong)
    };
    let shares: Vec<(f64, usize)> = (1..=repeats).into_par_iter().map(of_family).collect();
    let rate = shares.iter().map(|(share, _)| share).sum::<f64>() / repeats as f64;
    let power = shares.iter().map(|(_, right)| *right as f64 / 8.0).sum::<f64>() / repeats as f64;
    assert!(rate <= 0.1, "{rate} of the discoveries are false");
    assert!(power > 0.8, "{power} of the related features are found");
}

#[test]
fn p_does_not_depend_on_threads() {
    let columns = mixed(&mut Noise::of(77));
    let p = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| relate(&table(&columns), 3, &PLAIN).pairs)
    };
    assert_eq!(p(1), p(5));
    assert_ne!(p(1), relate(&table(&columns), 4, &PLAIN).pairs, "another seed draws other permutations");
}

/// Groups and all rows make one family, and so do lags.
#[test]
fn families_of_slices_are_rejected_as_often_as_alpha_says() {
    let groups = Asked { group_rows: 30, ..PLAIN };
    let share = rejected(FAMILIES, &groups, |noise| (0..4).map(|_| numbers(noise.normals(90))).collect());
    assert!((0.03..=0.065).contains(&share), "groups: {share} of the families are rejected");
    let targets = Asked { group_rows: 30, n_targets: 1, ..PLAIN };
    let share = rejected(FAMILIES, &targets, mixed_in_groups);
    assert!(share <= 0.065, "groups of a target: {share} of the families are rejected");
    let lags = Asked { time: true, lags: &[0, 1, 2, 5], ..PLAIN };
    let share = rejected(FAMILIES, &lags, |noise| (0..3).map(|_| numbers(series(noise, 120))).collect());
    assert!((0.02..=0.065).contains(&share), "lags: {share} of the families are rejected");
    let of_target = Asked { n_targets: 1, ..lags };
    let share = rejected(FAMILIES, &of_target, |noise| (0..4).map(|_| numbers(series(noise, 120))).collect());
    assert!((0.02..=0.065).contains(&share), "lags of a target: {share} of the families are rejected");
}

fn mixed_in_groups(noise: &mut Noise) -> Vec<ArrayRef> {
    let mut columns = mixed(noise);
    let whole = numbers(noise.normals(columns[0].len()));
    columns.insert(0, whole);
    columns
}

/// Intervals of series that have nothing to do with each other cover 0 about as often as they say; those of single rows do not.
#[test]
fn bootstrap_intervals_of_series_cover() {
    let covered = |time: bool| {
        let asked = Asked { permutations: 0, bootstrap: 199, time, ..PLAIN };
        let covers = |seed: u64| {
            let noise = &mut Noise::of(seed);
            let columns: Vec<ArrayRef> = (0..2).map(|_| numbers(series(noise, 300))).collect();
            let (lo, hi) = relate(&table(&columns), seed, &asked).pairs[0].interval.unwrap();
            lo <= 0.0 && 0.0 <= hi
        };
        (1..=400_u64).into_par_iter().filter(|&seed| covers(seed)).count() as f64 / 400.0
    };
    let (blocks, rows) = (covered(true), covered(false));
    assert!(blocks >= 0.87, "blocks cover {blocks}");
    assert!(rows < 0.75, "single rows cover {rows}: the comparison says nothing");
}

/// Intervals of coefficients that are no product cover the coefficient of the population about as often as they say.
#[test]
fn bootstrap_intervals_of_other_coefficients_cover() {
    const FAMILIES: u64 = 300;
    let covered = |method: Method, truth: f64, family: &(dyn Fn(&mut Noise) -> Vec<ArrayRef> + Sync)| {
        let asked = Asked { method: MethodChoice::One(method), permutations: 0, bootstrap: 199, ..PLAIN };
        let covers = |seed: u64| {
            let found = relate(&table(&family(&mut Noise::of(seed))), seed, &asked);
            found.pairs[0].interval.is_some_and(|(lo, hi)| lo <= truth && truth <= hi)
        };
        (1..=FAMILIES).into_par_iter().filter(|&seed| covers(seed)).count() as f64 / FAMILIES as f64
    };
    let level = |noise: &mut Noise, n_levels: f64| (noise.uniform() * n_levels).floor();
    let texts = |levels: &[f64]| Arc::new(StringArray::from_iter_values(levels.iter().map(f64::to_string))) as ArrayRef;
    // Means of the levels 0, step, 2 step ..., so that their variance is step^2 (k^2 - 1) / 12, that within 1.
    let by_level = |n_levels: f64, step: f64, n: usize| {
        move |noise: &mut Noise| {
            let levels: Vec<f64> = (0..n).map(|_| level(noise, n_levels)).collect();
            let cells = levels.iter().map(|level| step * level + noise.normal()).collect();
            vec![texts(&levels), numbers(cells)]
        }
    };
    let between = |n_levels: f64, step: f64| step * step * (n_levels * n_levels - 1.0) / 12.0;
    let share = |between: f64| between / (1.0 + between);
    // One of three levels, and the same again in half of the rows, any one in the others: V = 1/2.
    let levels = |noise: &mut Noise| {
        let x: Vec<f64> = (0..200).map(|_| level(noise, 3.0)).collect();
        let y: Vec<f64> = x.iter().map(|x| if noise.uniform() < 0.5 { *x } else { level(noise, 3.0) }).collect();
        vec![texts(&x), texts(&y)]
    };
    let entropy: f64 = [2.0 / 3.0, 1.0 / 6.0, 1.0 / 6.0].iter().map(|p: &f64| -p * p.ln()).sum();
    let normal = |missing: f64| {
        move |noise: &mut Noise| {
            let x = noise.normals(150);
            let mut cell = |x: &f64| if noise.uniform() < missing { f64::NAN } else { 0.5 * x + 0.75_f64.sqrt() * noise.normal() };
            let y = x.iter().map(&mut cell).collect();
            vec![numbers(x), numbers(y)]
        }
    };
    let tau = 2.0 / std::f64::consts::PI * 0.5_f64.asin();
    for (method, truth, family) in [
        (Method::EtaSquared, share(between(3.0, 0.5)), &by_level(3.0, 0.5, 200) as &(dyn Fn(&mut Noise) -> Vec<ArrayRef> + Sync)),
        (Method::EtaSquared, share(between(6.0, 0.2)), &by_level(6.0, 0.2, 200)),
        (Method::CramersV, 0.5, &levels),
        (Method::TheilsU, 1.0 - entropy / 3.0_f64.ln(), &levels),
        (Method::MutualInformation, 3.0_f64.ln() - entropy, &levels),
        (Method::Kendall, tau, &normal(0.0)),
        (Method::Kendall, tau, &normal(0.2)),
        (Method::Pearson, 0.5, &normal(0.2)),
        (Method::Spearman, 6.0 / std::f64::consts::PI * 0.25_f64.asin(), &normal(0.2)),
    ] {
        let right = covered(method, truth, family);
        assert!((0.87..=0.99).contains(&right), "{method:?} of {truth}: {right} of the intervals cover it");
        let wrong = covered(method, truth + 0.15, family);
        assert!(wrong < 0.5, "{method:?}: {wrong} of the intervals cover what is not so");
    }
}
