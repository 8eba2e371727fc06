//! What a step that relates columns is likely to need.

use gristmill_engine::columns::is_text;
use gristmill_engine::correlate::{self as engine, CorrelateOptions, Method, MethodChoice};

use super::asked::{self, Asked};
use crate::plan::{Ahead, Forecast, Pairs, about, pairs_of, range};
use crate::spec::StepSpec;

/// Seconds of one thread: a cell that is read, one that is sorted, and one that is given a new place or drawn.
const READ: f64 = 3e-8;
const SORTED: f64 = 1e-7;
const MOVED: f64 = 1.2e-8;
/// A row of a pair of columns, times a permutation.
const MULTIPLIED: f64 = 5e-11;

pub(super) fn of(step: &StepSpec, ahead: &Ahead<'_>) -> Forecast {
    let asked = Asked::of(step, ahead.schema);
    let (n_columns, n_targets) = (asked.used.len(), asked.n_targets);
    let n_pairs = if n_targets > 0 { n_targets * (n_columns - n_targets) } else { n_columns * n_columns.saturating_sub(1) / 2 };
    if n_pairs == 0 {
        return Forecast::default();
    }
    let cells = (ahead.n_rows as f64) * asked.read().len() as f64;
    let affordable = ahead.n_rows <= engine::affordable_rows(n_columns, n_targets) && asked.weights.is_none();
    let asked_for = |key: &str| step.integer(key).and_then(|n| u32::try_from(n).ok());
    let n_permuted = asked_for("permutations").unwrap_or(if affordable { 1000 } else { 0 });
    let n_drawn = asked_for("bootstrap").unwrap_or(0);
    let has_texts = asked.used.iter().any(|at| is_text(ahead.schema.field(*at).data_type()));
    let fits = 8.0 * cells * asked.share_of_memory(step) as f64 <= ahead.memory_bytes as f64;
    // Groups and lags have pairs of their own.
    let is_plain = asked.group_by.is_empty() && step.integers("lags").is_empty();
    let all = n_pairs as u64;
    let pairs = is_plain.then_some(Pairs {
        of: "pairs of columns",
        at_most: all,
        all: if n_targets > 0 { pairs_of(n_columns as u64) } else { all },
    });
    let is_needed = asked.needs_memory(step);
    if !is_needed && !(fits && (has_texts || n_permuted > 0)) {
        return Forecast { pairs, ..streamed(step, &asked, ahead, cells) };
    }
    let of_pair = match asked.method {
        MethodChoice::One(Method::Kendall) => 1.5e-7,
        MethodChoice::One(Method::Xi) => 6.4e-7,
        MethodChoice::One(Method::Distance) => 5.2e-7,
        _ => 2e-9,
    };
    let n_moving = if n_targets > 0 { n_targets } else { n_columns };
    let n_rows = ahead.n_rows as f64;
    let of_turn = |n_moving: usize| {
        n_rows * (MOVED * n_moving as f64 + MULTIPLIED * n_pairs as f64) + if n_targets > 0 { 2e-9 * n_rows * n_pairs as f64 } else { 0.0 }
    };
    let cpu_seconds = cells * SORTED
        + n_rows * n_pairs as f64 * of_pair
        + f64::from(n_permuted) * of_turn(n_moving)
        + f64::from(n_drawn) * of_turn(n_columns);
    let of_cell = if n_permuted > 0 || n_drawn > 0 {
        35.0
    } else if matches!(asked.method, MethodChoice::Auto | MethodChoice::One(Method::Pearson)) {
        14.5
    } else {
        22.0
    };
    let n = usize::try_from(ahead.n_rows).unwrap_or(usize::MAX);
    let precision = asked::options(step, (0.05, ahead.memory_bytes), n_targets).precision;
    Forecast {
        seconds: Some(range(cpu_seconds, ahead.n_threads)),
        bytes: Some((if n_permuted > 0 { 18 << 20 } else { 8 << 20 }) + about(1, cells * of_cell) + 576 * all),
        cost: engine::likely_device_cost(asked.method, precision, (n, n_columns, n_targets), n_permuted),
        pairs,
        ..Forecast::default()
    }
}

/// Rows are read in blocks, and none is held.
fn streamed(step: &StepSpec, asked: &Asked, ahead: &Ahead<'_>, cells: f64) -> Forecast {
    let numbers: Vec<usize> = asked.used.iter().copied().filter(|at| !is_text(ahead.schema.field(*at).data_type())).collect();
    let options = asked::options(step, (0.05, ahead.memory_bytes), asked.n_targets.min(numbers.len()));
    let options = CorrelateOptions { threads: ahead.n_threads, ..options };
    let Ok(analysis) = engine::Correlate::new(ahead.schema, numbers.clone(), options) else { return Forecast::default() };
    let products = ahead.n_rows as f64 * (numbers.len() * numbers.len()) as f64 * 2e-11;
    Forecast {
        seconds: Some(range(cells * READ + products, ahead.n_threads)),
        bytes: Some(analysis.needed_bytes()),
        cost: analysis.cost(ahead.n_rows),
        ..Forecast::default()
    }
}
