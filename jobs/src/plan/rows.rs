//! How many rows a source is likely to give, before they are read.

use gristmill_datasets::Sample;

use crate::spec::SourceSpec;

use super::PlannedSource;

/// Bytes of a cell and its separator in a file of text.
const TEXT_BYTES: u64 = 6;

/// How much smaller text becomes when it is packed.
const PACKED: u64 = 6;

/// Says whether a condition leaves out nobody knows how many rows.
pub(super) fn are_fewer(source: &PlannedSource, specs: &[SourceSpec]) -> bool {
    specs.iter().any(|spec| spec.name.value == source.name && spec.filter.is_some())
}

/// Returns the rows as the files say, or as their sizes let one guess; with a condition those that it is asked of.
pub(super) fn likely(source: &PlannedSource, specs: &[SourceSpec]) -> Option<u64> {
    if source.rows.is_some() {
        return source.rows;
    }
    let spec = specs.iter().find(|spec| spec.name.value == source.name)?;
    let row_bytes = TEXT_BYTES * source.source.schema().fields().len().max(1) as u64;
    let of_file = |file: &gristmill_datasets::SourceFile| {
        let is_packed = file.path.extension().is_some_and(|ending| ending == "gz" || ending == "zst");
        file.rows.unwrap_or(file.bytes.saturating_mul(if is_packed { PACKED } else { 1 }) / row_bytes)
    };
    let all = source.source.files().iter().map(of_file).sum();
    Some(match spec.sample {
        None => all,
        Some(Sample::Rows(n)) => n.min(all),
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a guess")]
        Some(Sample::Share(share)) => (all as f64 * share) as u64,
    })
}
