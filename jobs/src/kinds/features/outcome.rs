//! From profiles to the table and its notes.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, UInt8Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::entities::{Events, Groups, Profile, profile, scores};
use rayon::prelude::*;

use super::cells::{Cells, NO_TIME, Role};
use crate::kinds::{Table, batch};
use crate::spec::StepSpec;
use crate::terminal::count;

/// Profiles and what they were made of.
pub(super) struct Said<'a> {
    pub(super) cells: &'a Cells,
    pub(super) events: &'a Events<'a>,
    pub(super) groups: &'a Groups,
    pub(super) as_of: i64,
    /// Categories with a share of their own, and whether there are others.
    pub(super) named: Option<&'a (Vec<u32>, bool)>,
    pub(super) step: &'a StepSpec,
}

/// Numbers of an entity, where its lines have all that is looked for.
const NUMBERS: [&str; 14] = [
    "recency_days",
    "frequency",
    "monetary",
    "mean_order",
    "tenure_days",
    "interval_days",
    "n_lines",
    "n_products",
    "weekend_share",
    "typical_hour",
    "hour_concentration",
    "r_score",
    "f_score",
    "m_score",
];

/// Returns the columns that the table is likely to have, with so many shares of categories: which categories there are nobody knows yet.
pub(super) fn likely_schema(entity: &Field, n_shares: Option<u64>) -> Schema {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let mut fields = vec![entity.clone()];
    fields.extend(NUMBERS.map(number));
    fields.extend((0..n_shares.unwrap_or(0)).map(|at| number(&format!("share_{at}"))));
    Schema::new(fields)
}

impl Said<'_> {
    fn n_entities(&self) -> usize {
        self.cells.codes(Role::Entity).map_or(0, super::cells::Texts::len)
    }

    /// Returns the table: entities in the order in which they first come.
    pub(super) fn table(&self) -> Table {
        let named = self.named.map_or(&[][..], |(named, _)| named);
        let present: Vec<usize> = (0..self.n_entities()).filter(|&entity| !self.groups.of(entity).is_empty()).collect();
        let one = |&entity: &usize| profile(self.events, self.groups.of(entity), self.as_of, named);
        let profiles: Vec<Profile> = present.par_iter().map(one).collect();
        let mut table = Columns::default();
        let rows = UInt64Array::from_iter_values(present.iter().map(|&entity| entity as u64));
        let entities = take(&self.cells.entities(), &rows, None).expect("every entity has a cell");
        table.add(self.cells.name(Role::Entity).unwrap_or_default(), entities);
        let real = |of: fn(&Profile) -> f64| profiles.iter().map(of).collect::<Vec<f64>>();
        let whole = |of: fn(&Profile) -> u64| -> ArrayRef { Arc::new(profiles.iter().map(of).collect::<UInt64Array>()) };
        let maybe = |of: fn(&Profile) -> Option<f64>| -> ArrayRef { Arc::new(profiles.iter().map(of).collect::<Float64Array>()) };
        table.numbers("recency_days", real(|one| one.recency_days));
        table.add("frequency", whole(|one| one.frequency));
        if self.events.amount.is_some() {
            table.numbers("monetary", real(|one| one.monetary));
            table.add("mean_order", maybe(|one| one.mean_order));
        }
        table.numbers("tenure_days", real(|one| one.tenure_days));
        table.add("interval_days", maybe(|one| one.interval_days));
        table.add("n_lines", whole(|one| one.n_lines));
        if self.events.product.is_some() {
            table.add("n_products", whole(|one| one.n_products));
        }
        table.numbers("weekend_share", real(|one| one.weekend_share));
        if self.cells.has_hours() {
            table.add("typical_hour", maybe(|one| one.typical_hour));
            table.numbers("hour_concentration", real(|one| one.hour_concentration));
        }
        self.shares(&profiles, &mut table);
        // Fewer days are better.
        table.scores("r_score", &profiles.iter().map(|one| -one.recency_days).collect::<Vec<f64>>());
        #[allow(clippy::cast_precision_loss, reason = "counts of rows")]
        table.scores("f_score", &profiles.iter().map(|one| one.frequency as f64).collect::<Vec<f64>>());
        if self.events.amount.is_some() {
            table.scores("m_score", &real(|one| one.monetary));
        }
        let batch = batch(table.columns);
        Table::one("entity_features", batch)
    }

    /// Adds the shares of categories; a row without a category is in none.
    fn shares(&self, profiles: &[Profile], table: &mut Columns) {
        let (Some((named, has_others)), Some(category)) = (self.named, self.cells.codes(Role::Category)) else { return };
        for (at, &code) in named.iter().enumerate() {
            table.numbers(&format!("share_{}", category.text(code)), profiles.iter().map(|one| one.shares[at]).collect());
        }
        if !has_others {
            return;
        }
        let is_other = |row: &&usize| category.is_there(**row) && !named.contains(&category.codes[**row]);
        let groups = (0..self.n_entities()).map(|entity| self.groups.of(entity)).filter(|rows| !rows.is_empty());
        #[allow(clippy::cast_precision_loss, reason = "counts of rows")]
        let others = groups.map(|rows| rows.iter().filter(is_other).count() as f64 / rows.len() as f64);
        table.numbers("share_other", others.collect());
    }

    /// Returns what a person should know: what was counted, and what was not.
    pub(super) fn notes(&self, n_later: usize) -> Vec<String> {
        let n_entities = (0..self.n_entities()).filter(|&entity| !self.groups.of(entity).is_empty()).count();
        let rows = self.groups.rows().len();
        let as_of =
            jiff::Timestamp::from_microsecond(self.as_of).map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default();
        let mut notes = vec![format!(
            "{} entities from {} rows; recency counts from {as_of}, {}",
            count(n_entities as u64),
            count(rows as u64),
            if self.step.is_written("as_of") { "as asked" } else { "the last row" },
        )];
        let mut lacking = |what: &str, n: usize| {
            if n > 0 {
                notes.push(format!("{} of {} rows have no {what} and are left out", count(n as u64), count(self.cells.n_rows as u64)));
            }
        };
        if let Some(entity) = self.cells.codes(Role::Entity) {
            lacking(&self.named_as(Role::Entity), (0..self.cells.n_rows).filter(|&row| !entity.is_there(row)).count());
        }
        lacking(&self.named_as(Role::Time), self.events.time.iter().filter(|time| **time == NO_TIME).count());
        if let Some(amount) = self.events.amount {
            lacking("amount", amount.iter().filter(|amount| !amount.is_finite()).count());
            let below = self.groups.rows().iter().filter(|&&row| amount[row] < 0.0).count();
            if below > 0 {
                notes.push(format!("{} rows have an amount below zero and are counted: returns lessen the money", count(below as u64)));
            }
        }
        if n_later > 0 {
            notes.push(format!("{} rows are later than `as_of` and are left out", count(n_later as u64)));
        }
        notes
    }

    fn named_as(&self, role: Role) -> String {
        format!("`{}`", self.cells.name(role).unwrap_or_default())
    }
}

/// Columns under way; a name that is taken gets a number.
#[derive(Default)]
struct Columns {
    columns: Vec<(Field, ArrayRef)>,
    taken: BTreeSet<String>,
}

impl Columns {
    fn add(&mut self, name: &str, cells: ArrayRef) {
        let mut free = name.to_owned();
        for n in 2.. {
            if self.taken.insert(free.clone()) {
                break;
            }
            free = format!("{name}_{n}");
        }
        self.columns.push((Field::new(free, cells.data_type().clone(), cells.null_count() > 0 || self.columns.is_empty()), cells));
    }

    fn numbers(&mut self, name: &str, cells: Vec<f64>) {
        self.add(name, Arc::new(Float64Array::from(cells)));
    }

    fn scores(&mut self, name: &str, values: &[f64]) {
        self.add(name, Arc::new(UInt8Array::from(scores(values))));
    }
}
