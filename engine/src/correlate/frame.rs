//! The slices of a table that pairs are related in: all rows, the rows of each group, each of them at every lag.
//!
//! ```text
//! lag k    x at row t + k beside y at row t, in order of time within an entity and a stratum (k < 0: x comes first)
//! ```
//!
//! Shape    columns of a slice: as asked for; at a lag those that come first in a pair, then those that come second.
//! Nulls    rows without a time take no part at a lag; rows without a group take no part in any group.
//! Memory   a lag of one series is a window of the columns and copies nothing; groups, and lags of many series, are copies.

use std::collections::HashMap;

use super::exchange::Exchange;
use crate::columns::{Table, TableColumn};

/// What is known of the rows beside the columns that are related: one cell a row each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Roles {
    /// Rows with the same stratum may change places in a permutation.
    pub strata: Option<Vec<u32>>,
    /// Rows with the same entity stay together in a permutation.
    pub entities: Option<Vec<u32>>,
    /// Order of the rows; NaN is missing.
    pub time: Option<Vec<f64>>,
    /// Columns that are held fixed, without a missing cell; categories as one column a level. Pearson and Spearman alone.
    pub controls: Vec<Vec<f64>>,
    /// Weights of the rows, none of them negative or missing. Pearson alone.
    pub weights: Option<Vec<f64>>,
    /// Which rows are the later ones that must confirm.
    pub later: Option<Vec<bool>>,
    /// Group of every row by position among the names; a position beyond them belongs to none.
    pub groups: Option<(Vec<u32>, Vec<String>)>,
    /// Rows by which x lies after y; empty where none are asked for.
    pub lags: Vec<i64>,
}

impl Roles {
    /// Returns what is known of some of the rows.
    fn rows(&self, rows: &[usize]) -> Self {
        fn of<T: Copy>(cells: Option<&Vec<T>>, rows: &[usize]) -> Option<Vec<T>> {
            cells.map(|cells| rows.iter().map(|&row| cells[row]).collect())
        }
        Self {
            strata: of(self.strata.as_ref(), rows),
            entities: of(self.entities.as_ref(), rows),
            time: of(self.time.as_ref(), rows),
            controls: self.controls.iter().filter_map(|control| of(Some(control), rows)).collect(),
            weights: of(self.weights.as_ref(), rows),
            later: of(self.later.as_ref(), rows),
            groups: None,
            lags: self.lags.clone(),
        }
    }

    fn exchange(&self, n_rows: usize) -> Exchange {
        match &self.entities {
            Some(entities) => Exchange::of_entities(entities, self.strata.as_deref(), self.time.as_deref()),
            None => Exchange::new(n_rows, self.strata.as_deref(), self.time.as_deref()),
        }
    }

    /// Returns what holds the rows of a series together: their stratum and entity.
    fn series(&self, row: usize) -> (Option<u32>, Option<u32>) {
        (self.strata.as_ref().map(|strata| strata[row]), self.entities.as_ref().map(|entities| entities[row]))
    }
}

/// A table and its slices.
#[derive(Debug, Clone)]
pub struct Frame {
    pub(super) table: Table,
    pub(super) slices: Vec<Slice>,
    pub(super) groups: Vec<String>,
}

/// Some rows of the table, with what holds for them.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) table: Table,
    pub(super) exchange: Exchange,
    pub(super) controls: Vec<Vec<f64>>,
    pub(super) weights: Option<Vec<f64>>,
    pub(super) later: Option<Vec<bool>>,
    /// The group, by position among the names; none for all rows.
    pub(super) group: Option<usize>,
    /// Rows by which a column lies after one of those that follow; none where no lag is asked for.
    pub(super) lag: Option<i64>,
    /// How many columns come first in a pair and are paired with the later ones alone; 0 where all are paired with all.
    pub(super) n_first: usize,
    /// Columns of the table as they were asked for, each of which may stand in the slice twice.
    n_columns: usize,
}

impl Frame {
    /// Cuts a table into the slices that the roles ask for; the first `n_targets` columns are targets.
    #[must_use]
    pub fn new(table: Table, roles: &Roles, n_targets: usize) -> Self {
        let mut slices = Slice::at_lags(&table, roles, n_targets, None);
        let groups = roles.groups.as_ref().map(|(_, names)| names.clone()).unwrap_or_default();
        if let Some((of_row, names)) = &roles.groups {
            let mut rows: Vec<Vec<usize>> = vec![Vec::new(); names.len()];
            for (row, group) in of_row.iter().enumerate() {
                if let Some(rows) = rows.get_mut(*group as usize) {
                    rows.push(row);
                }
            }
            for (group, rows) in rows.iter().enumerate() {
                slices.extend(Slice::at_lags(&rows_of(&table, rows), &roles.rows(rows), n_targets, Some(group)));
            }
        }
        Self { table, slices, groups }
    }

    /// Returns all rows as one slice, every row in its own right.
    #[must_use]
    pub fn whole(table: Table, n_targets: usize) -> Self {
        Self::new(table, &Roles::default(), n_targets)
    }

    /// Returns the rows of the whole table.
    #[must_use]
    pub const fn n_rows(&self) -> usize {
        self.table.n_rows
    }

    /// Returns the columns that are related.
    #[must_use]
    pub const fn n_columns(&self) -> usize {
        self.table.columns.len()
    }

    /// Returns how many units change places among all rows, and how many have no other unit to change places with.
    #[must_use]
    pub fn n_units(&self) -> (usize, usize) {
        self.slices.first().map_or((0, 0), |slice| slice.exchange.n_units())
    }
}

impl Slice {
    /// Returns the rows at every lag, or as they are.
    fn at_lags(table: &Table, roles: &Roles, n_targets: usize, group: Option<usize>) -> Vec<Self> {
        let n_columns = table.columns.len();
        if roles.lags.is_empty() {
            return vec![Self {
                table: table.clone(),
                exchange: roles.exchange(table.n_rows),
                controls: roles.controls.clone(),
                weights: roles.weights.clone(),
                later: roles.later.clone(),
                group,
                lag: None,
                n_first: n_targets,
                n_columns,
            }];
        }
        let series = Series::new(table, roles);
        let n_first = if n_targets > 0 { n_targets } else { n_columns };
        let at = |&lag: &i64| {
            let (firsts, seconds) = series.rows(lag);
            let first = series.table.columns[..n_first].iter().map(|column| firsts.of(column));
            let second = series.table.columns[n_targets..].iter().map(|column| seconds.of(column));
            let columns: Vec<TableColumn> = first.chain(second).collect();
            let rows: Vec<usize> = firsts.rows();
            let roles = series.roles.rows(&rows);
            // In order already: where in the series a row stands is its time.
            let time = roles.time.map(|_| rows.iter().map(|&row| row as f64).collect());
            let roles = Roles { time, ..roles };
            Self {
                exchange: roles.exchange(rows.len()),
                controls: roles.controls,
                weights: roles.weights,
                later: roles.later,
                table: Table { n_rows: rows.len(), columns },
                group,
                lag: Some(lag),
                n_first,
                n_columns,
            }
        };
        roles.lags.iter().map(at).collect()
    }

    /// Returns the column of the whole table that a column of the slice comes from.
    pub(super) fn origin(&self, column: usize) -> usize {
        // Targets and the others make up the columns once; without targets every column stands there twice.
        column % self.n_columns
    }

    /// Returns whether two columns of the slice are a pair: at a lag a column is not paired with itself, nor any two of them twice.
    pub(super) fn is_pair(&self, x: usize, y: usize, n_targets: usize) -> bool {
        n_targets > 0 || self.lag.is_none() || self.origin(x) < self.origin(y)
    }

    /// Returns the lag of a pair by which x lies after y.
    pub(super) fn lag_of(&self, x: usize) -> Option<i64> {
        self.lag.map(|lag| if x < self.n_first { lag } else { -lag })
    }

    /// Returns the number that tells the column's permutations from those of others: a group has its own, lags share theirs.
    pub(super) fn stream(&self, column: usize) -> u32 {
        let group = self.group.map_or(0, |group| group + 1);
        u32::try_from(group * self.n_columns + self.origin(column)).unwrap_or(u32::MAX)
    }
}

/// Rows in order of time, one series after another.
struct Series {
    table: Table,
    roles: Roles,
    /// Where each series ends.
    ends: Vec<usize>,
}

/// Rows of a column at a lag.
enum At {
    Window { start: usize, n: usize },
    Rows(Vec<usize>),
}

impl Series {
    fn new(table: &Table, roles: &Roles) -> Self {
        let known = |row: usize| roles.time.as_ref().is_none_or(|time| time[row].is_finite());
        let mut order: Vec<usize> = (0..table.n_rows).filter(|&row| known(row)).collect();
        let mut place: HashMap<_, usize> = HashMap::new();
        for row in 0..table.n_rows {
            let next = place.len();
            place.entry(roles.series(row)).or_insert(next);
        }
        let time = |row: usize| roles.time.as_ref().map_or(0.0, |time| time[row]);
        order.sort_by(|&a, &b| place[&roles.series(a)].cmp(&place[&roles.series(b)]).then(time(a).total_cmp(&time(b))));
        let is_last = |at: usize| at == order.len() || roles.series(order[at - 1]) != roles.series(order[at]);
        let ends = (1..=order.len()).filter(|&at| is_last(at)).collect();
        let in_order = order.len() == table.n_rows && order.is_sorted();
        let table = if in_order { table.clone() } else { rows_of(table, &order) };
        Self { table, roles: roles.rows(&order), ends }
    }

    /// Returns the rows of columns that come first in a pair, and of those that come second.
    fn rows(&self, lag: i64) -> (At, At) {
        let k = usize::try_from(lag.unsigned_abs()).unwrap_or(usize::MAX);
        let both = |n: usize| n.saturating_sub(k);
        let (late, early) = if let [n] = self.ends[..] {
            (At::Window { start: k.min(n), n: both(n) }, At::Window { start: 0, n: both(n) })
        } else {
            let (mut late, mut early, mut start) = (Vec::new(), Vec::new(), 0);
            for &end in &self.ends {
                let n = both(end - start);
                late.extend(end - n..end);
                early.extend(start..start + n);
                start = end;
            }
            (At::Rows(late), At::Rows(early))
        };
        if lag >= 0 { (late, early) } else { (early, late) }
    }
}

impl At {
    fn of(&self, column: &TableColumn) -> TableColumn {
        match self {
            Self::Window { start, n } => column.window(*start, *n),
            Self::Rows(rows) => column.rows(rows),
        }
    }

    fn rows(&self) -> Vec<usize> {
        match self {
            Self::Window { start, n } => (*start..*start + *n).collect(),
            Self::Rows(rows) => rows.clone(),
        }
    }
}

fn rows_of(table: &Table, rows: &[usize]) -> Table {
    Table { n_rows: rows.len(), columns: table.columns.iter().map(|column| column.rows(rows)).collect() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "cells come back as they were")]
    use super::*;
    use crate::columns::Cells;

    fn table(columns: &[&[f64]]) -> Table {
        let column = |(at, cells): (usize, &&[f64])| TableColumn { name: format!("c{at}"), cells: Cells::Numbers(cells.to_vec().into()) };
        Table { n_rows: columns[0].len(), columns: columns.iter().enumerate().map(column).collect() }
    }

    fn cells(slice: &Slice) -> Vec<&[f64]> {
        slice.table.columns.iter().filter_map(TableColumn::numbers).collect()
    }

    #[test]
    fn at_a_lag_the_first_column_lies_after_the_second() {
        let time = Some(vec![3.0, 1.0, 2.0, f64::NAN, 4.0]);
        let roles = Roles { time, lags: vec![1, -2], ..Roles::default() };
        let frame = Frame::new(table(&[&[30.0, 10.0, 20.0, 0.0, 40.0], &[3.0, 1.0, 2.0, 0.0, 4.0]]), &roles, 0);
        // Without targets both columns stand first and second; the row without a time is gone.
        assert_eq!(cells(&frame.slices[0]), [&[20.0, 30.0, 40.0][..], &[2.0, 3.0, 4.0], &[10.0, 20.0, 30.0], &[1.0, 2.0, 3.0]]);
        assert_eq!(cells(&frame.slices[1]), [&[10.0, 20.0][..], &[1.0, 2.0], &[30.0, 40.0], &[3.0, 4.0]]);
        let slice = &frame.slices[0];
        assert!(slice.is_pair(0, 3, 0) && !slice.is_pair(0, 2, 0) && !slice.is_pair(1, 2, 0));
        assert_eq!((slice.lag_of(0), slice.lag_of(3), slice.origin(3)), (Some(1), Some(-1), 1));
        let frame = Frame::new(table(&[&[30.0, 10.0, 20.0, 0.0, 40.0], &[3.0, 1.0, 2.0, 0.0, 4.0]]), &roles, 1);
        assert_eq!(cells(&frame.slices[0]), [&[20.0, 30.0, 40.0][..], &[1.0, 2.0, 3.0]]);
    }

    #[test]
    fn a_lag_stays_within_an_entity() {
        let roles =
            Roles { entities: Some(vec![7, 9, 7, 9, 7]), time: Some(vec![1.0, 1.0, 2.0, 2.0, 3.0]), lags: vec![1], ..Roles::default() };
        let frame = Frame::new(table(&[&[1.0, 10.0, 2.0, 20.0, 3.0], &[0.1, 0.2, 0.3, 0.4, 0.5]]), &roles, 1);
        assert_eq!(cells(&frame.slices[0]), [&[2.0, 3.0, 20.0][..], &[0.1, 0.3, 0.2]]);
    }

    #[test]
    fn groups_come_after_all_rows() {
        let groups = Some((vec![1, 0, 5, 1], vec!["a".to_owned(), "b".to_owned()]));
        let frame = Frame::new(table(&[&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]]), &Roles { groups, ..Roles::default() }, 0);
        let rows: Vec<(Option<usize>, &[f64])> = frame.slices.iter().map(|slice| (slice.group, cells(slice)[0])).collect();
        assert_eq!(rows, [(None, &[1.0, 2.0, 3.0, 4.0][..]), (Some(0), &[2.0]), (Some(1), &[1.0, 4.0])]);
        assert_eq!([frame.slices[0].stream(1), frame.slices[1].stream(1), frame.slices[2].stream(0)], [1, 3, 4]);
    }
}
