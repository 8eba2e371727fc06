//! Numbers of bytes as people write them: `"2GiB"`, `"512 MB"`, `"1.5g"`.
//!
//! Case and one blank do not matter. `KB`, `MB` are powers of 1000; `KiB`, `MiB` and the bare letters of 1024.

use super::nearest::nearest;

/// Least budget that makes sense: a block of rows and its staging copies.
pub(crate) const MIN_MEMORY_BYTES: u64 = 16 << 20;
/// Most: 4 PiB, beyond which a number is a slip.
pub(crate) const MAX_MEMORY_BYTES: u64 = 4 << 50;

const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("K", 1 << 10),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("M", 1 << 20),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("G", 1 << 30),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("T", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// Unit names as words, with the unit that each stands for.
const WORDS: &[(&str, &str)] = &[
    ("bytes", "B"),
    ("kilobytes", "KB"),
    ("kibibytes", "KiB"),
    ("megabytes", "MB"),
    ("mebibytes", "MiB"),
    ("gigabytes", "GB"),
    ("gibibytes", "GiB"),
    ("terabytes", "TB"),
    ("tebibytes", "TiB"),
    ("gigs", "GB"),
];

/// Returns the number of bytes, or the text that was probably meant.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, Option<String>> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(text.len());
    let (digits, unit) = (&text[..split], text[split..].trim());
    let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor);
    let number = digits.parse::<f64>().ok();
    match (number, factor) {
        // Budgets lie far below 2^53, so a product in f64 is exact enough to the byte.
        (Some(number), Some(factor)) => Ok((number * factor as f64) as u64),
        (Some(_), None) => Err(nearest_unit(unit).map(|unit| format!("{digits}{unit}"))),
        (None, Some(_)) => Err(without_comma(digits).map(|digits| format!("{digits}{unit}"))),
        (None, None) => Err(None),
    }
}

/// Returns the seconds of a span such as `90s`, `30 min`, `2h` or `1.5d`; none where it is none, or nothing.
pub(crate) fn parse_seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let factor = match text[split..].trim().to_ascii_lowercase().as_str() {
        "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    text[..split].parse::<f64>().ok().map(|number| number * factor).filter(|seconds| *seconds > 0.0)
}

fn nearest_unit(unit: &str) -> Option<&'static str> {
    if unit.is_empty() {
        return None;
    }
    let word = nearest(unit, WORDS.iter().map(|(word, _)| *word));
    let by_word = word.and_then(|word| WORDS.iter().find(|(name, _)| *name == word)).map(|(_, unit)| *unit);
    let singular = unit.trim_end_matches(['s', 'S']);
    let trimmed = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(singular)).map(|(name, _)| *name);
    trimmed.or(by_word).or_else(|| nearest(unit, UNITS.iter().map(|(name, _)| *name)))
}

fn without_comma(digits: &str) -> Option<String> {
    let fixed = digits.replace(',', ".");
    fixed.parse::<f64>().is_ok().then_some(fixed)
}

/// Returns a number of bytes as a person would write it.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let exact = |(_, factor): &&(&str, u64)| *factor > 1 && bytes >= *factor && bytes.is_multiple_of(*factor);
    let binary = UNITS.iter().filter(|(name, _)| name.ends_with("iB"));
    binary.rev().find(exact).map_or_else(|| format!("{bytes}B"), |(name, factor)| format!("{}{name}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        for (text, bytes) in
            [("2GiB", 2 << 30), ("2 gb", 2_000_000_000), ("512MB", 512_000_000), ("1.5g", 3 << 29), ("64 KiB", 65536), ("7B", 7)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn slips_are_mended() {
        for (text, meant) in [("2GiBs", "2GiB"), ("2 gigabytes", "2GB"), ("2,5GiB", "2.5GiB"), ("2 gibs", "2GiB")] {
            assert_eq!(parse_bytes(text), Err(Some(meant.to_owned())), "{text}");
        }
        assert_eq!(parse_bytes("lots"), Err(None));
        assert_eq!(parse_bytes(""), Err(None));
    }

    #[test]
    fn bytes_are_written_back() {
        for bytes in [1, 16 << 20, 3 << 29, 2_000_000_000, 5 << 40] {
            assert_eq!(parse_bytes(&bytes_text(bytes)), Ok(bytes));
        }
    }
}
