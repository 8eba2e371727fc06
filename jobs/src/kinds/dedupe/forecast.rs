//! What a step that looks for duplicates is likely to need.

use gristmill_engine::backend::Cost;
use gristmill_engine::columns::is_text;

use super::grouped::compared;
use super::{EDGES, EXACT, TEXT, crosses, records, text};
use crate::plan::{Ahead, Forecast, Pairs, about, grown, pairs_of, range};
use crate::spec::StepSpec;

/// Bytes of text behind a byte of a file that is packed, as Parquet files and those of `.gz` and `.zst` are.
const UNPACKED: f64 = 2.0;

/// Seconds that the model of matches takes, and what is drawn from it, whatever the table.
const OF_MODEL: f64 = 1.2;

pub(super) fn of(step: &StepSpec, ahead: &Ahead<'_>) -> Forecast {
    if step.is_written(EDGES) {
        // How many pairs are given is in the other table.
        return Forecast::default();
    }
    let columns = compared(step, ahead.schema);
    match (step.is_written(EXACT), step.keys(TEXT)) {
        (true, _) => exact(columns.len(), ahead),
        (false, Some(how)) => {
            let n_texts = columns.iter().filter(|at| is_text(ahead.schema.field(**at).data_type())).count();
            let share = n_texts as f64 / ahead.schema.fields().len().max(1) as f64;
            let text_bytes = UNPACKED * share * ahead.file_bytes as f64;
            let is_held = how.number(text::RECALL).is_some_and(|recall| recall >= 1.0);
            Forecast {
                seconds: Some(range(4e-8 * text_bytes + 2e-6 * ahead.n_rows as f64, ahead.n_threads)),
                bytes: Some((4 << 20) + grown(36 << 20, ahead.n_rows, 30_000) + about(ahead.n_rows, 104.0) + about(text_bytes as u64, 1.2)),
                least_bytes: (!is_held).then(|| (4 << 20) + about(ahead.n_rows, 104.0)),
                // Signatures are made where texts do not fit into memory; three slots of a hundred a shingle.
                cost: (!is_held).then(|| Cost { flops: 50.0 * text_bytes, cpu_flops: 50.0 * text_bytes, ..Cost::default() }),
                pairs: None,
            }
        }
        (false, None) => of_records(columns.len(), step, ahead),
    }
}

fn exact(n_columns: usize, ahead: &Ahead<'_>) -> Forecast {
    Forecast {
        seconds: Some(range(2.7e-6 * n_columns as f64 * ahead.n_rows as f64, ahead.n_threads)),
        bytes: Some((3 << 20) + grown(58 << 20, ahead.n_rows, 100_000) + about(ahead.n_rows, 80.0)),
        ..Forecast::default()
    }
}

fn of_records(n_columns: usize, step: &StepSpec, ahead: &Ahead<'_>) -> Forecast {
    let n = ahead.n_rows;
    let bytes = (45 << 20) + grown(42 << 20, n, 10_000) + about(n, 64.0 + 42.0 * n_columns as f64);
    let of = if crosses(step) { "pairs of records, those within a source included" } else { "pairs of records" };
    Forecast {
        seconds: Some(range(OF_MODEL + 4.8e-6 * n_columns as f64 * n as f64, ahead.n_threads)),
        bytes: Some(bytes),
        pairs: Some(Pairs { of, at_most: records::at_most(n, step).min(pairs_of(n)), all: pairs_of(n) }),
        ..Forecast::default()
    }
}
