//! `kind = "features"`: one row for each customer, machine or account, made of the rows of what it did.
//!
//! The table goes on to `cluster` and `correlate`; see `engine::entities` for every formula.

use arrow::datatypes::Schema;
use gristmill_engine::columns;
use gristmill_engine::entities::{Events, Groups, most_frequent};

use super::{JobKind, Key, StepOutcome, StepRun, TableDoc, Takes};
use crate::JobError;
use crate::plan::{Ahead, Forecast, about, grown, range};
use crate::spec::{Problems, StepSpec, keys};
use crate::terminal::count;

mod cells;
mod outcome;

use cells::{Cells, Role};

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct Features;

impl JobKind for Features {
    fn name(&self) -> &'static str {
        "features"
    }

    fn about(&self) -> &'static str {
        "One row for each customer, machine or account from the rows of what it did: recency, frequency, money, habits, categories"
    }

    fn keys(&self) -> &'static [Key] {
        const KEYS: &[Key] = &[
            Key { name: "entity", takes: Takes::Column, default: None, about: "Column that says whose row it is (needed)" },
            keys::TIME,
            Key {
                name: "order",
                takes: Takes::Column,
                default: None,
                about: "Column of order numbers: rows that belong together; every row is an order where absent",
            },
            Key {
                name: "amount",
                takes: Takes::Column,
                default: None,
                about: "Column of money, or of another quantity that adds up; or `quantity` and `price`",
            },
            Key { name: "quantity", takes: Takes::Column, default: None, about: "Column of pieces, to be multiplied by `price`" },
            Key { name: "price", takes: Takes::Column, default: None, about: "Column of money for a piece" },
            Key { name: "product", takes: Takes::Column, default: None, about: "Column of products, to be counted" },
            Key {
                name: "category",
                takes: Takes::Column,
                default: None,
                about: "Column of categories: the share of each in an entity's rows",
            },
            Key {
                name: "top",
                takes: Takes::Integer(1, 1_000),
                default: Some("8"),
                about: "Categories with a share of their own; the others share `share_other`",
            },
            Key {
                name: "as_of",
                takes: Takes::Text,
                default: None,
                about: "Instant that recency counts from, ISO 8601; later rows are left out; the last row's where absent",
            },
        ];
        KEYS
    }

    fn tables(&self) -> &'static [TableDoc] {
        const TABLES: &[TableDoc] = &[TableDoc {
            name: "entity_features",
            about: "every entity: recency, frequency, money and their quintiles, tenure, interval, products, hours and weekends (UTC where `time` has a zone), shares of categories",
        }];
        TABLES
    }

    fn check(&self, step: &StepSpec, input: &Schema, problems: &mut Problems) {
        for (key, example) in [("entity", "customer_id"), ("time", "ordered_at")] {
            if !step.is_written(key) {
                let help = format!("add `{key} = \"COLUMN\"`, for example `{key} = \"{example}\"`");
                problems.add(step.span("kind"), format!("`features` needs `{key}`"), "a column is missing", help);
            }
        }
        match (step.is_written("amount"), step.is_written("quantity"), step.is_written("price")) {
            (true, true, _) | (true, _, true) => {
                let at = if step.is_written("quantity") { "quantity" } else { "price" };
                let help = "remove `amount`, or `quantity` and `price`";
                problems.add(step.span(at), "money is either `amount` or `quantity` times `price`", "one of the two", help);
            }
            (false, true, false) => lacks(step, "quantity", "price", problems),
            (false, false, true) => lacks(step, "price", "quantity", problems),
            _ => {}
        }
        if step.is_written("top") && !step.is_written("category") {
            problems.add(
                step.span("top"),
                "`top` counts categories, and there is no `category`",
                "no use here",
                "remove it, or add `category`",
            );
        }
        if let Some(text) = step.text("as_of")
            && cells::instant(text).is_none()
        {
            let help = "write a date or a date and time, for example `2011-12-09` or `2011-12-09 12:50:00`";
            problems.add(step.span("as_of"), format!("`{text}` is no date"), "not ISO 8601", help);
        }
        for role in Role::ALL {
            let Some(field) = step.text(role.key()).and_then(|column| input.field_with_name(column).ok()) else { continue };
            if let Some(wanted) = role.refuses(field.data_type()) {
                let words = columns::type_words(field.data_type());
                let message = format!("column `{}` is {words}; `{}` takes {wanted}", field.name(), role.key());
                problems.add(step.span(role.key()), message, "of another type", format!("name a column of {wanted}"));
            }
        }
    }

    fn forecast(&self, _: &StepSpec, ahead: &Ahead<'_>) -> Forecast {
        // Events as they are read, sorted by entity, and the entities.
        Forecast {
            seconds: Some(range(1.3e-6 * ahead.n_rows as f64, ahead.n_threads)),
            bytes: Some(grown(74 << 20, ahead.n_rows, 200_000) + about(ahead.n_rows, 38.0)),
            ..Forecast::default()
        }
    }

    fn will_write(&self, step: &StepSpec, table: &str, input: &Schema) -> Option<Schema> {
        let entity = step.text(Role::Entity.key()).and_then(|column| input.field_with_name(column).ok())?;
        let shares = step.integer("top").unwrap_or(0).unsigned_abs();
        (table == "entity_features").then(|| outcome::likely_schema(entity, step.is_written(Role::Category.key()).then_some(shares)))
    }

    fn run(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<StepOutcome, JobError> {
        let cells = Cells::read(step, on)?;
        let nothing = |message: String| JobError::Data { step: step.name.value.clone(), message };
        let amount = cells.amounts();
        let time = cells.times();
        let is_whole = |row: usize| time[row] != cells::NO_TIME && amount.as_ref().is_none_or(|amount| amount[row].is_finite());
        let entity = cells.codes(Role::Entity).ok_or_else(|| nothing("`entity` is missing".to_owned()))?;
        let whole = Groups::new(&entity.codes, entity.len(), is_whole);
        let last = whole.rows().iter().map(|&row| time[row]).max();
        let last = last.ok_or_else(|| nothing(format!("none of {} rows has entity, time and amount", count(cells.n_rows as u64))))?;
        let as_of = step.text("as_of").and_then(cells::instant).unwrap_or(last);
        let groups = if as_of < last { Groups::new(&entity.codes, entity.len(), |row| is_whole(row) && time[row] <= as_of) } else { whole };
        if groups.rows().is_empty() {
            return Err(nothing(format!("every row is later than `as_of` ({})", step.text("as_of").unwrap_or_default())));
        }
        let code = |role| cells.codes(role).map(|texts| texts.codes.as_slice());
        let events = Events {
            time,
            amount: amount.as_deref(),
            order: code(Role::Order),
            product: code(Role::Product),
            category: code(Role::Category),
        };
        let top = step.integer("top").and_then(|top| usize::try_from(top).ok()).unwrap_or(8);
        let named = cells.codes(Role::Category).map(|category| {
            let is_before = |a: u32, b: u32| category.text(a) < category.text(b);
            most_frequent(&category.codes, groups.rows(), category.len(), top, is_before)
        });
        let n_later = (0..cells.n_rows).filter(|&row| entity.is_there(row) && is_whole(row) && time[row] > as_of).count();
        let said = outcome::Said { cells: &cells, events: &events, groups: &groups, as_of, named: named.as_ref(), step };
        Ok(StepOutcome {
            tables: vec![said.table()],
            n_rows: cells.n_rows as u64,
            n_columns: cells.n_columns() as u64,
            notes: said.notes(n_later),
            ..StepOutcome::on_cpu(self)
        })
    }
}

fn lacks(step: &StepSpec, key: &str, other: &str, problems: &mut Problems) {
    let help = format!("add `{other}`, or name the money itself with `amount`");
    problems.add(step.span(key), format!("`{key}` needs `{other}`: money is their product"), "half of it", help);
}
