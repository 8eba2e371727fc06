//! Columns of text as columns of numbers: a flag for each of their texts.

use std::sync::Arc;

use arrow::array::Float64Array;
use gristmill_engine::columns::{Cells, Levels, Table, TableColumn};

/// Most texts of a column that takes part.
pub(in crate::kinds) const MOST_LEVELS: usize = 100;

/// Texts of a column that were not counted yet.
pub(super) const LIKELY_LEVELS: usize = 8;

/// A column that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kinds) struct Used {
    /// Position in the schema.
    pub(in crate::kinds) at: usize,
    /// The text that it flags; none for a column of numbers.
    pub(in crate::kinds) level: Option<String>,
    /// Number of its column of text.
    pub(in crate::kinds) category_of: Option<u32>,
}

/// Returns the name of a flag.
pub(in crate::kinds) fn flag_name(column: &str, level: Option<&str>) -> String {
    level.map_or_else(|| column.to_owned(), |level| format!("{column} = {level}"))
}

/// Replaces columns of text by flags, in the order in which texts first appear; a missing text has no flag.
///
/// # Errors
/// The name of a column with too many texts, and how many.
pub(super) fn expanded(table: Table, used: &[usize]) -> Result<(Table, Vec<Used>), (String, usize)> {
    let (mut columns, mut meant, mut n_texts) = (Vec::new(), Vec::new(), 0);
    for (column, &at) in table.columns.into_iter().zip(used) {
        let Cells::Levels(levels) = &column.cells else {
            columns.push(column);
            meant.push(Used { at, level: None, category_of: None });
            continue;
        };
        if levels.names.len() > MOST_LEVELS {
            return Err((column.name, levels.names.len()));
        }
        for level in &levels.names {
            let name = flag_name(&column.name, Some(level));
            columns.push(TableColumn { name, cells: Cells::Numbers(flags(levels, level, table.n_rows)) });
            meant.push(Used { at, level: Some(level.clone()), category_of: Some(n_texts) });
        }
        n_texts += 1;
    }
    Ok((Table { n_rows: table.n_rows, columns }, meant))
}

fn flags(levels: &Levels, level: &str, n_rows: usize) -> Float64Array {
    Float64Array::from_iter_values((0..n_rows).map(|row| f64::from(u8::from(levels.name_of(row) == Some(level)))))
}

/// Returns a text as SQL writes it.
pub(super) fn text(level: &str) -> Arc<str> {
    format!("'{}'", level.replace('\'', "''")).into()
}
