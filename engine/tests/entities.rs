//! Profiles of entities against counting by hand, and twins that must not pass.

#![allow(clippy::unwrap_used, reason = "tests")]

use gristmill_engine::entities::{DAY, Events, Groups, MISSING, most_frequent, profile, scores};

const HOUR: i64 = DAY / 24;

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-9
}

#[test]
fn a_customer_is_counted_by_hand() {
    // Saturday 1970-01-03 23:00, Sunday 01:00 (one order), Monday 1970-01-12 00:00 (another); the middle row is of someone else.
    let time = [2 * DAY + 23 * HOUR, 5, 3 * DAY + HOUR, 11 * DAY];
    let amount = [10.0, 99.0, 5.0, -3.0];
    let (order, product) = ([7, 9, 7, 8], [1, 2, 1, MISSING]);
    let events = Events { time: &time, amount: Some(&amount), order: Some(&order), product: Some(&product), category: Some(&[0, 0, 1, 0]) };
    let groups = Groups::new(&[1, 0, 1, 1], 2, |_| true);
    assert_eq!(groups.of(1), [0, 2, 3]);
    let found = profile(&events, groups.of(1), 12 * DAY, &[0, 1]);
    assert_eq!((found.n_lines, found.frequency, found.n_products), (3, 2, 1));
    assert!(near(found.recency_days, 1.0) && near(found.monetary, 12.0) && near(found.mean_order.unwrap(), 6.0));
    assert!(near(found.tenure_days, 12.0 - 2.0 - 23.0 / 24.0) && near(found.interval_days.unwrap(), 8.0 + 1.0 / 24.0));
    assert!(near(found.weekend_share, 2.0 / 3.0) && near(found.shares[0], 2.0 / 3.0) && near(found.shares[1], 1.0 / 3.0));
    // 23:00, 01:00 and 00:00: midnight, where a mean of hours would say 8.
    let hour = found.typical_hour.unwrap();
    assert!(hour.min(24.0 - hour) < 1e-9, "{hour}");
    assert!(near(found.hour_concentration, (1.0 + 2.0 * (std::f64::consts::TAU / 24.0).cos()) / 3.0));
}

#[test]
fn opposite_hours_have_no_typical_one() {
    let time = [6 * HOUR, 18 * HOUR];
    let events = Events { time: &time, amount: None, order: None, product: None, category: None };
    let found = profile(&events, &[0, 1], DAY, &[]);
    assert_eq!((found.typical_hour, found.frequency), (None, 2));
    let once = profile(&events, &[0], DAY, &[]);
    assert_eq!(once.interval_days, None);
}

#[test]
fn rows_that_are_not_kept_are_in_no_group() {
    let groups = Groups::new(&[0, MISSING, 1, 0], 3, |row| row != 3);
    assert_eq!((groups.of(0), groups.of(1), groups.of(2)), (&[0][..], &[2][..], &[][..]));
    assert_eq!(groups.rows(), [0, 2]);
}

#[test]
fn quintiles_are_fifths_and_equal_values_are_equal() {
    let values: Vec<f64> = (0..1_000).map(f64::from).collect();
    let found = scores(&values);
    for score in 1..=5 {
        assert_eq!(found.iter().filter(|other| **other == score).count(), 200);
    }
    assert!(found.windows(2).all(|pair| pair[0] <= pair[1]));
    // Half of all customers ordered once: they share the score of their middle, where fifths by rank would part them.
    let skewed: Vec<f64> = (0..100).map(|i| if i < 50 { 1.0 } else { f64::from(i) }).collect();
    let found = scores(&skewed);
    assert!(found[..50].iter().all(|score| *score == 2), "{:?}", &found[..50]);
    assert_eq!(scores(&[3.0; 4]), [3; 4]);
}

#[test]
fn categories_are_named_by_rows_then_by_name() {
    let names = ["tea", "ale", "gin"];
    let codes = [0, 1, 2, 2, MISSING];
    let rows = [0, 1, 2, 3, 4];
    let before = |a: u32, b: u32| names[a as usize] < names[b as usize];
    assert_eq!(most_frequent(&codes, &rows, 3, 2, before), (vec![2, 1], true));
    assert_eq!(most_frequent(&codes, &rows, 3, 8, before), (vec![2, 1, 0], false));
}
