//! From events to entities: what each customer, machine or account did, as one row of numbers.
//!
//! What     recency, frequency and money, tenure, the interval between orders, habits of hour and weekend, shares of categories.
//! Formula  typical hour = angle of sum exp(2 pi i h / 24), concentration = its length / n (Mardia & Jupp, Directional Statistics, 2.2);
//!          score = 1 + floor(5 p) of at most 5, p = (values below + half of the equal ones) / n: quintiles (Hughes, Strategic Database
//!          Marketing, 1994) in which equal values get equal scores.
//! Shape    events are columns of one length; an event is named by its row.
//! Nulls    [`MISSING`] codes are no order, product or category; a row without time or amount has to be left out by the caller.
//! Cost     O(n log m) for m events of an entity, 8 bytes a row beside the columns. Sums run in order of rows: the same bytes always.
//! Absent   time zones: hours and weekdays are those of the microseconds as they are given, UTC where a column has a zone.

use std::f64::consts::TAU;

/// Code of a cell that is missing.
pub const MISSING: u32 = u32::MAX;

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;

const HOUR: f64 = 3_600_000_000.0;

/// Columns of events.
#[derive(Debug, Clone, Copy)]
pub struct Events<'a> {
    /// Instants, in microseconds since 1970.
    pub time: &'a [i64],
    /// Money of an event, or any other quantity that adds up.
    pub amount: Option<&'a [f64]>,
    /// Codes of orders: events that belong together.
    pub order: Option<&'a [u32]>,
    /// Codes of products.
    pub product: Option<&'a [u32]>,
    /// Codes of categories.
    pub category: Option<&'a [u32]>,
}

/// Rows by entity, in ascending order within each.
#[derive(Debug)]
pub struct Groups {
    starts: Vec<usize>,
    rows: Vec<usize>,
}

/// What one entity did.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Events.
    pub n_lines: u64,
    /// Different orders; events where orders are not known.
    pub frequency: u64,
    /// Different products; 0 where they are not known.
    pub n_products: u64,
    /// Days from the last event.
    pub recency_days: f64,
    /// Days from the first event.
    pub tenure_days: f64,
    /// Mean days between orders; none below two.
    pub interval_days: Option<f64>,
    /// Sum of amounts; 0 where they are not known.
    pub monetary: f64,
    /// Sum of amounts by order; none without an order.
    pub mean_order: Option<f64>,
    /// Share of events on Saturday and Sunday.
    pub weekend_share: f64,
    /// Circular mean of the time of day, 0 to 24; none where no hour stands out (concentration below 1e-9).
    pub typical_hour: Option<f64>,
    /// Length of the mean direction: 0 all round the clock, 1 always at the same time.
    pub hour_concentration: f64,
    /// Share of events of each category that was asked for.
    pub shares: Vec<f64>,
}

impl Groups {
    /// Puts the rows that are kept into one group for each of `n` entities; a row whose code is [`MISSING`] is in none.
    #[must_use]
    pub fn new(entity: &[u32], n: usize, is_kept: impl Fn(usize) -> bool) -> Self {
        let kept = || (0..entity.len()).filter(|&row| entity[row] != MISSING && is_kept(row));
        let mut starts = vec![0; n + 1];
        for row in kept() {
            starts[entity[row] as usize + 1] += 1;
        }
        for at in 0..n {
            starts[at + 1] += starts[at];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; starts[n]];
        for row in kept() {
            let place = &mut next[entity[row] as usize];
            rows[*place] = row;
            *place += 1;
        }
        Self { starts, rows }
    }

    /// Returns the rows of an entity.
    #[must_use]
    pub fn of(&self, entity: usize) -> &[usize] {
        &self.rows[self.starts[entity]..self.starts[entity + 1]]
    }

    /// Returns all rows that are in a group.
    #[must_use]
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }
}

/// Returns what the entity of some rows did until `as_of`, with the shares of the categories `named`.
///
/// # Panics
/// Without rows: an entity that did nothing has no profile.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts and microseconds of centuries are below 2^53")]
pub fn profile(events: &Events<'_>, rows: &[usize], as_of: i64, named: &[u32]) -> Profile {
    let n = rows.len() as f64;
    let times = || rows.iter().map(|&row| events.time[row]);
    let (first, last) = (times().min().expect("rows"), times().max().expect("rows"));
    let days = |from: i64, to: i64| (to - from) as f64 / DAY as f64;
    let distinct = |codes: &[u32]| {
        let mut found: Vec<u32> = rows.iter().map(|&row| codes[row]).filter(|code| *code != MISSING).collect();
        found.sort_unstable();
        found.dedup();
        found.len() as u64
    };
    let frequency = events.order.map_or(rows.len() as u64, distinct);
    let monetary = events.amount.map_or(0.0, |amount| rows.iter().map(|&row| amount[row]).sum());
    let (mut x, mut y) = (0.0, 0.0);
    for time in times() {
        let angle = TAU * (time.rem_euclid(DAY) as f64 / HOUR) / 24.0;
        x += angle.cos();
        y += angle.sin();
    }
    let concentration = (x.hypot(y) / n).min(1.0);
    // 1970-01-01 was a Thursday: with Monday as 0 it is 3.
    let is_weekend = |time: i64| (time.div_euclid(DAY) + 3).rem_euclid(7) >= 5;
    let share = |category: u32| {
        let codes = events.category.unwrap_or_default();
        rows.iter().filter(|&&row| codes[row] == category).count() as f64 / n
    };
    Profile {
        n_lines: rows.len() as u64,
        frequency,
        n_products: events.product.map_or(0, distinct),
        recency_days: days(last, as_of),
        tenure_days: days(first, as_of),
        interval_days: (frequency > 1).then(|| days(first, last) / (frequency - 1) as f64),
        monetary,
        mean_order: (frequency > 0).then(|| monetary / frequency as f64),
        weekend_share: times().filter(|time| is_weekend(*time)).count() as f64 / n,
        typical_hour: (concentration >= 1e-9).then(|| (y.atan2(x) * 24.0 / TAU).rem_euclid(24.0)),
        hour_concentration: concentration,
        shares: named.iter().map(|&category| share(category)).collect(),
    }
}

/// Returns the quintile of every value among all, 1 the lowest to 5 the highest.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts")]
pub fn scores(values: &[f64]) -> Vec<u8> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let score = |value: &f64| {
        let below = sorted.partition_point(|other| other < value);
        let through = sorted.partition_point(|other| other <= value);
        let twice = below + through;
        // 1 + floor(5 (below + through) / 2n), in whole numbers.
        u8::try_from((1 + 5 * twice / (2 * sorted.len())).min(5)).expect("at most 5")
    };
    values.iter().map(score).collect()
}

/// Returns the `top` codes with the most rows, the most frequent first, and whether there are others; ties as `is_before` says.
#[must_use]
pub fn most_frequent(codes: &[u32], rows: &[usize], n: usize, top: usize, is_before: impl Fn(u32, u32) -> bool) -> (Vec<u32>, bool) {
    let mut counts = vec![0_u64; n];
    for &row in rows {
        if let Some(count) = counts.get_mut(codes[row] as usize) {
            *count += 1;
        }
    }
    let mut found: Vec<u32> = (0..).zip(&counts).filter(|(_, count)| **count > 0).map(|(code, _)| code).collect();
    let order = |a: &u32, b: &u32| {
        let (x, y) = (counts[*a as usize], counts[*b as usize]);
        y.cmp(&x).then_with(|| if is_before(*a, *b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater })
    };
    found.sort_by(order);
    let has_others = found.len() > top;
    found.truncate(top);
    (found, has_others)
}
