//! Dates and timestamps as whole nanoseconds since 1970 in UTC, which i128 holds for every arrow type without loss.

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::TimeUnit;

use super::{At, FilterError, FilterProblem};

const NANOS_A_SECOND: i128 = 1_000_000_000;

/// Nanoseconds of a day, the tick of a date.
pub(super) const NANOS_A_DAY: i128 = 86_400 * NANOS_A_SECOND;

/// Returns the nanoseconds of one tick.
pub(super) fn nanos_a_tick(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => NANOS_A_SECOND,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// Reads an ISO 8601 date or timestamp; without a zone it means UTC.
pub(super) fn parse(text: &str, at: &At) -> Result<i128, FilterError> {
    let wrong = || FilterError::new(at.clone(), FilterProblem::Date { text: text.to_owned() });
    let trimmed = text.trim();
    // arrow's parser cuts the text by bytes.
    if !trimmed.is_ascii() {
        return Err(wrong());
    }
    let utc: Tz = "+00:00".parse().map_err(|_| wrong())?;
    let instant = string_to_datetime(&utc, trimmed).map_err(|_| wrong())?;
    Ok(i128::from(instant.timestamp()) * NANOS_A_SECOND + i128::from(instant.timestamp_subsec_nanos()))
}
