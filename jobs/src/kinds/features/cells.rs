//! The cells that profiles are made of: instants, numbers, and texts as codes; in memory, within the budget.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, UInt64Array, new_empty_array};
use arrow::compute::{CastOptions, cast, cast_with_options, concat, take};
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};
use gristmill_engine::columns::is_text;
use gristmill_engine::entities::MISSING;
use rayon::prelude::*;

use crate::JobError;
use crate::kinds::StepRun;
use crate::pass;
use crate::spec::StepSpec;

/// Instant of a row that has none.
pub(super) const NO_TIME: i64 = i64::MIN;

/// Bytes that a text takes beside its own: its place in the map, its code, the allocation.
const BYTES_A_TEXT: usize = 72;

/// Bytes of a row beside its cells: its place within its entity, twice where `as_of` leaves rows out.
const BYTES_A_ROW: usize = 16;
/// Bytes of an entity beside its text: its profile, its row of the table, and that row once more as it is encoded.
const BYTES_AN_ENTITY: usize = 600;

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Entity,
    Time,
    Order,
    Amount,
    Quantity,
    Price,
    Product,
    Category,
}

impl Role {
    pub(super) const ALL: [Self; 8] =
        [Self::Entity, Self::Time, Self::Order, Self::Amount, Self::Quantity, Self::Price, Self::Product, Self::Category];

    /// Returns the key of the spec that names the column.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Time => "time",
            Self::Order => "order",
            Self::Amount => "amount",
            Self::Quantity => "quantity",
            Self::Price => "price",
            Self::Product => "product",
            Self::Category => "category",
        }
    }

    /// Returns what the role takes, where this type is something else.
    pub(super) fn refuses(self, data_type: &DataType) -> Option<&'static str> {
        let data_type = match data_type {
            DataType::Dictionary(_, value) => value,
            same => same,
        };
        match self {
            Self::Time => {
                let is_time = is_text(data_type) || matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..));
                (!is_time).then_some("dates, timestamps or ISO texts")
            }
            Self::Amount | Self::Quantity | Self::Price => (!data_type.is_numeric()).then_some("numbers"),
            // Whatever can be written down tells rows apart.
            _ => data_type.is_nested().then_some("texts, numbers or dates"),
        }
    }
}

/// The columns of a step.
pub(super) struct Cells {
    columns: Vec<Column>,
    pub(super) n_rows: usize,
}

struct Column {
    role: Role,
    name: String,
    data_type: DataType,
    held: Held,
}

enum Held {
    Times(Vec<i64>),
    Numbers(Vec<f64>),
    Texts(Texts),
}

/// A column whose cells only have to be told apart.
#[derive(Default)]
pub(super) struct Texts {
    /// Code of every row, `MISSING` where there is no cell.
    pub(super) codes: Vec<u32>,
    seen: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
    /// The cells in which a code was first seen, in the column's own type; of entities alone.
    first: Vec<ArrayRef>,
    bytes: usize,
}

impl Texts {
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn text(&self, code: u32) -> &str {
        &self.texts[code as usize]
    }

    pub(super) fn is_there(&self, row: usize) -> bool {
        self.codes[row] != MISSING
    }

    fn put(&mut self, cells: &ArrayRef, keeps_cells: bool) -> Result<(), String> {
        let words = cast(cells, &DataType::Utf8).map_err(|error| error.to_string())?;
        let mut new = Vec::new();
        for (at, word) in words.as_string::<i32>().iter().enumerate() {
            // Empty texts of text files are null already; NaN is how numbers say the same.
            let Some(word) = word.filter(|word| !(*word == "NaN" && cells.data_type().is_floating())) else {
                self.codes.push(MISSING);
                continue;
            };
            let code = match self.seen.get(word) {
                Some(code) => *code,
                None => {
                    let code =
                        u32::try_from(self.texts.len()).ok().filter(|code| *code != MISSING).ok_or("more than 2^32 different cells")?;
                    let word: Arc<str> = Arc::from(word);
                    self.bytes += word.len() + BYTES_A_TEXT;
                    self.texts.push(Arc::clone(&word));
                    self.seen.insert(word, code);
                    new.push(at as u64);
                    code
                }
            };
            self.codes.push(code);
        }
        if keeps_cells && !new.is_empty() {
            let first = take(cells, &UInt64Array::from(new), None).map_err(|error| error.to_string())?;
            self.bytes += first.get_array_memory_size();
            self.first.push(first);
        }
        Ok(())
    }
}

impl Column {
    fn put(&mut self, cells: &ArrayRef) -> Result<(), String> {
        match &mut self.held {
            Held::Texts(texts) => texts.put(cells, self.role == Role::Entity),
            Held::Numbers(numbers) => {
                let cells = cast(cells, &DataType::Float64).map_err(|error| error.to_string())?;
                numbers.extend(cells.as_primitive::<Float64Type>().iter().map(|cell| cell.unwrap_or(f64::NAN)));
                Ok(())
            }
            Held::Times(times) => instants(cells, &self.name, times),
        }
    }

    fn bytes(&self) -> usize {
        match &self.held {
            Held::Times(times) => 8 * times.capacity(),
            Held::Numbers(numbers) => 8 * numbers.capacity(),
            Held::Texts(texts) => 4 * texts.codes.capacity() + texts.bytes,
        }
    }
}

/// Adds the instants of some cells; a text that is no date is an error.
fn instants(cells: &ArrayRef, name: &str, times: &mut Vec<i64>) -> Result<(), String> {
    let wanted = DataType::Timestamp(TimeUnit::Microsecond, None);
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let found = cast_with_options(cells, &wanted, &options).map_err(|error| error.to_string())?;
    for (at, time) in found.as_primitive::<TimestampMicrosecondType>().iter().enumerate() {
        if time.is_none() && cells.is_valid(at) {
            let words = cast(&cells.slice(at, 1), &DataType::Utf8).map_err(|error| error.to_string())?;
            return Err(format!(
                "column `{name}`, row {} of those read: `{}` is no date; `time` takes ISO 8601 (`2009-12-31` or `2009-12-31 07:45:00`): \
                 convert the column, or list such cells in `null_values`",
                times.len() + 1,
                words.as_string::<i32>().value(0),
            ));
        }
        times.push(time.unwrap_or(NO_TIME));
    }
    Ok(())
}

/// Reads an instant, in microseconds since 1970.
pub(super) fn instant(text: &str) -> Option<i64> {
    let cells: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let mut times = Vec::new();
    instants(&cells, "as_of", &mut times).ok()?;
    times.first().copied()
}

impl Cells {
    /// Reads the columns that the step names.
    pub(super) fn read(step: &StepSpec, on: &StepRun<'_>) -> Result<Self, JobError> {
        let schema = on.source.schema();
        let (mut columns, mut projection) = (Vec::new(), Vec::new());
        for role in Role::ALL {
            let Some(name) = step.text(role.key()) else { continue };
            let Ok(at) = schema.index_of(name) else {
                let message = format!("column `{name}` is not in `{}`", step.from.value.name);
                return Err(JobError::Spec { step: step.name.value.clone(), message });
            };
            let held = match role {
                Role::Time => Held::Times(Vec::new()),
                Role::Amount | Role::Quantity | Role::Price => Held::Numbers(Vec::new()),
                _ => Held::Texts(Texts::default()),
            };
            columns.push(Column { role, name: name.to_owned(), data_type: schema.field(at).data_type().clone(), held });
            projection.push(at);
        }
        let mut cells = Self { columns, n_rows: 0 };
        pass::blocks(&projection, step, on, |pieces, rows| {
            let put = |(column, pieces): (&mut Column, Vec<ArrayRef>)| pieces.iter().try_for_each(|piece| column.put(piece));
            let done: Result<(), String> = cells.columns.par_iter_mut().zip(pieces).try_for_each(put);
            done.map_err(|message| JobError::Data { step: step.name.value.clone(), message })?;
            cells.n_rows += rows;
            cells.check_budget(step, on)
        })?;
        Ok(cells)
    }

    /// Refuses what would pass the budget: the cells, and what is made of them.
    fn check_budget(&self, step: &StepSpec, on: &StepRun<'_>) -> Result<(), JobError> {
        let n_entities = self.codes(Role::Entity).map_or(0, Texts::len);
        let of_cells: usize = self.columns.iter().map(Column::bytes).sum();
        let held = (of_cells + BYTES_A_ROW * self.n_rows + BYTES_AN_ENTITY * n_entities) as u64;
        if held <= on.memory_bytes {
            return Ok(());
        }
        let (n_rows, needed_bytes) = on.of_all_rows(held, self.n_rows as u64);
        Err(JobError::Budget {
            what: format!("step `{}`: {} columns of up to {n_rows} rows in memory", step.name.value, self.columns.len()),
            needed_bytes,
            budget_bytes: on.memory_bytes,
            help: "raise `memory`, or draw entities with `where`".to_owned(),
        })
    }

    fn column(&self, role: Role) -> Option<&Column> {
        self.columns.iter().find(|column| column.role == role)
    }

    pub(super) const fn n_columns(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn name(&self, role: Role) -> Option<&str> {
        self.column(role).map(|column| column.name.as_str())
    }

    /// Returns a column of codes, if the step names it.
    pub(super) fn codes(&self, role: Role) -> Option<&Texts> {
        match &self.column(role)?.held {
            Held::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    fn numbers(&self, role: Role) -> Option<&[f64]> {
        match &self.column(role)?.held {
            Held::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }

    pub(super) fn times(&self) -> &[i64] {
        match self.column(Role::Time).map(|column| &column.held) {
            Some(Held::Times(times)) => times,
            _ => &[],
        }
    }

    /// Says whether instants have a time of day.
    pub(super) fn has_hours(&self) -> bool {
        self.column(Role::Time).is_some_and(|column| !matches!(column.data_type, DataType::Date32 | DataType::Date64))
    }

    /// Returns the money of every row, NaN where it is missing.
    pub(super) fn amounts(&self) -> Option<Cow<'_, [f64]>> {
        match (self.numbers(Role::Amount), self.numbers(Role::Quantity), self.numbers(Role::Price)) {
            (Some(amounts), _, _) => Some(Cow::Borrowed(amounts)),
            (None, Some(pieces), Some(prices)) => Some(pieces.iter().zip(prices).map(|(pieces, price)| pieces * price).collect()),
            _ => None,
        }
    }

    /// Returns the entities in the type of their column, by code.
    pub(super) fn entities(&self) -> ArrayRef {
        let column = self.column(Role::Entity).expect("`check` asks for an entity");
        let Held::Texts(texts) = &column.held else { unreachable!("entities are held as codes") };
        let pieces: Vec<&dyn Array> = texts.first.iter().map(AsRef::as_ref).collect();
        if pieces.is_empty() { new_empty_array(&column.data_type) } else { concat(&pieces).expect("pieces of one column have one type") }
    }
}
