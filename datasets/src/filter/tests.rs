//! The grammar by example, each kind of mistake, and random filters against a row-wise reference.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int32Array,
    Int64Array, LargeStringArray, NullArray, StringArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::Int8Type;
use arrow::record_batch::RecordBatch;

use super::{Filter, FilterError, FilterProblem, MAX_FILTER_BYTES};

mod reference;

/// Six visits of a shop, with a null or a NaN in most columns.
fn visits() -> RecordBatch {
    let day = Date32Array::from(vec![Some(19_723), Some(19_724), Some(19_725), None, Some(19_727), Some(19_728)]);
    let millis = |day: i64, hour: i64| Some(day * 86_400_000 + hour * 3_600_000);
    let seen = TimestampMillisecondArray::from(vec![
        millis(19_723, 8),
        millis(19_724, 9),
        None,
        millis(19_726, 23),
        millis(19_727, 0),
        millis(19_728, 12),
    ]);
    let text = vec![Some("web"), Some("shop"), None, Some("web"), Some("o'clock"), Some("")];
    let channel: DictionaryArray<Int8Type> = text.clone().into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("visits", Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(4), Some(-5), Some(9_007_199_254_740_993)]))),
        ("small", Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5, 6]))),
        ("big", Arc::new(UInt64Array::from(vec![0, 1, 2, u64::MAX, u64::MAX - 1, 5]))),
        ("spend", Arc::new(Float64Array::from(vec![Some(0.5), Some(f64::NAN), None, Some(-0.0), Some(0.1), Some(1e300)]))),
        ("single", Arc::new(Float32Array::from(vec![0.1, 0.2, 0.3, 16_777_216.0, f32::NAN, -1.5]))),
        ("price", Arc::new(Decimal128Array::from(vec![999, 1, 0, -5, 100, 50]).with_precision_and_scale(10, 2).unwrap())),
        ("weekend", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false), Some(true)]))),
        ("channel", Arc::new(channel)),
        ("note", Arc::new(StringArray::from(text.clone()))),
        ("long note", Arc::new(LargeStringArray::from(text))),
        ("day", Arc::new(day)),
        ("seen", Arc::new(seen)),
        ("zoned", Arc::new(TimestampNanosecondArray::from(vec![1, 2, 3, 4, 5, i64::MAX]).with_timezone("+02:00"))),
        ("raw", Arc::new(BinaryArray::from(vec![Some(b"a".as_ref()), None, None, None, None, None]))),
        ("nothing", Arc::new(NullArray::new(6))),
        ("emp.var.rate", Arc::new(Float64Array::from(vec![1.1, 1.1, -0.1, 1.4, -1.8, 1.1]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn kept(text: &str) -> Vec<usize> {
    let batch = visits();
    let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    filter.check(batch.schema_ref()).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mask = filter.evaluate(&batch).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!((mask.len(), mask.nulls()), (6, None), "{text}");
    (0..mask.len()).filter(|row| mask.value(*row)).collect()
}

fn refused(text: &str) -> FilterError {
    match Filter::parse(text).and_then(|filter| filter.check(visits().schema_ref())) {
        Err(error) => error,
        Ok(()) => panic!("`{text}` was taken"),
    }
}

/// The part of the text that an error points at, its message and its help.
fn mistake(text: &str) -> (String, String, String) {
    let error = refused(text);
    (text[error.at.clone()].to_owned(), error.to_string(), error.help().unwrap_or_default())
}

#[test]
fn every_form_of_the_grammar_keeps_the_right_rows() {
    let cases: &[(&str, &[usize])] = &[
        ("visits > 1", &[1, 3, 5]),
        ("visits >= 1 and visits <= 2", &[0, 1]),
        ("visits <> 2", &[0, 3, 4, 5]),
        ("visits != 2 AND small < 5", &[0, 3]),
        ("not visits > 1", &[0, 4]),
        ("visits = -5", &[4]),
        ("-visits = 5", &[4]),
        ("- -visits = -5", &[4]),
        ("visits in (1, -5, 77)", &[0, 4]),
        ("visits not in (1, -5)", &[1, 3, 5]),
        ("visits not in (1, null)", &[]),
        ("visits in (1, null)", &[0]),
        ("visits between 1 and 4", &[0, 1, 3]),
        ("visits not between 1 and 4", &[4, 5]),
        ("visits is null", &[2]),
        ("visits is not null and spend is null", &[1]),
        ("visits = null", &[]),
        ("null", &[]),
        ("true", &[0, 1, 2, 3, 4, 5]),
        ("1 = 1 or visits = 1", &[0, 1, 2, 3, 4, 5]),
        ("1 in (2, 3)", &[]),
        ("null is null and 'abc' like 'a%'", &[0, 1, 2, 3, 4, 5]),
        ("weekend", &[0, 3, 5]),
        ("not weekend", &[1, 4]),
        ("weekend = false", &[1, 4]),
        ("weekend in (true)", &[0, 3, 5]),
        ("weekend = (visits > 1)", &[3, 4, 5]),
        ("weekend or visits > 1", &[0, 1, 3, 5]),
        ("weekend is null or visits is null", &[2]),
        ("nothing is null", &[0, 1, 2, 3, 4, 5]),
        ("nothing = 3 or nothing > '2024-01-01' or nothing like 'a'", &[]),
        ("raw is not null", &[0]),
    ];
    for (text, expected) in cases {
        assert_eq!(kept(text), *expected, "{text}");
    }
}

#[test]
fn numbers_compare_by_value() {
    let cases: &[(&str, &[usize])] = &[
        ("visits = 9007199254740993", &[5]),
        ("visits = 9007199254740992", &[]),
        ("visits < 99999999999999999999", &[0, 1, 3, 4, 5]),
        ("visits > -1e300", &[0, 1, 3, 4, 5]),
        ("visits < 999999999999999999999999999999999999999999", &[0, 1, 3, 4, 5]),
        ("big = 18446744073709551615", &[3]),
        ("big in (18446744073709551615, 1)", &[1, 3]),
        ("big > visits", &[3, 4]),
        ("big > 1.5", &[2, 3, 4, 5]),
        ("spend = 0", &[3]),
        ("spend in (0, 0.1)", &[3, 4]),
        ("spend >= 0", &[0, 3, 4, 5]),
        ("spend < spend + 1", &[0, 3, 4]),
        ("single = 0.1", &[0]),
        ("single in (0.1, 0.2, -1.5)", &[0, 1, 5]),
        ("single > 0.2 and single < 1", &[2]),
        ("single = 16777217", &[]),
        ("single < 1e300", &[0, 1, 2, 3, 5]),
        ("price = 9.99", &[0]),
        ("price in (-0.05, 1, .5)", &[3, 4, 5]),
        ("small * 2 + 1 = 7", &[2]),
        ("small - 1 - 1 = 1", &[2]),
        ("1 / small > 0.4", &[0, 1]),
        ("small / (small - 3) > 0", &[3, 4, 5]),
        ("1 / 0 is null and 0 / 0 is null", &[0, 1, 2, 3, 4, 5]),
        ("visits + null is null", &[0, 1, 2, 3, 4, 5]),
        ("1.5e1 = 15 and 1E+1 = 10 and 2e-1 = .2", &[0, 1, 2, 3, 4, 5]),
        ("emp.var.rate = 1.1", &[0, 1, 5]),
        ("\"emp.var.rate\" < 0 or `emp.var.rate` > 1.2", &[2, 3, 4]),
    ];
    for (text, expected) in cases {
        assert_eq!(kept(text), *expected, "{text}");
    }
}

#[test]
fn texts_and_dates_compare() {
    let cases: &[(&str, &[usize])] = &[
        ("channel = 'web'", &[0, 3]),
        ("channel > 'o'", &[0, 1, 3, 4]),
        ("note = 'o''clock'", &[4]),
        ("note in ('web', '')", &[0, 3, 5]),
        ("note = `long note`", &[0, 1, 3, 4, 5]),
        ("\"long note\" in ('shop')", &[1]),
        ("channel like '%o%'", &[1, 4]),
        ("note not like 'w_b'", &[1, 4, 5]),
        ("`long note` like ''", &[5]),
        ("day >= '2024-01-02'", &[1, 2, 4, 5]),
        ("day = date '2024-01-05'", &[4]),
        ("day < '2024-01-01 00:00:01'", &[0]),
        ("day in ('2024-01-01', '2024-01-06')", &[0, 5]),
        ("day between '2024-01-02' and '2024-01-03'", &[1, 2]),
        ("seen > '2024-01-02T09:00:00'", &[3, 4, 5]),
        ("seen >= timestamp '2024-01-02 10:00:00+01:00'", &[1, 3, 4, 5]),
        ("seen < day", &[]),
        ("seen > day", &[0, 1, 5]),
        ("zoned > '2200-01-01'", &[5]),
        ("zoned < '9999-01-01'", &[0, 1, 2, 3, 4, 5]),
        ("zoned = '1970-01-01 00:00:00.000000002'", &[1]),
        ("date '2024-01-01' < '2024-01-02'", &[0, 1, 2, 3, 4, 5]),
    ];
    for (text, expected) in cases {
        assert_eq!(kept(text), *expected, "{text}");
    }
}

#[test]
fn columns_are_listed_once_in_order() {
    let filter = Filter::parse("b > 1 and (a = 2 or b + \"c d\" < 3) and date = 1 and x between y and z").unwrap();
    assert_eq!(filter.columns(), ["b", "a", "c d", "date", "x", "y", "z"]);
    assert_eq!(filter.to_string(), filter.text());
}

#[test]
fn a_mistake_is_shown_with_its_place_and_its_fix() {
    let cases = [
        ("visist > 3", "visist", "no column `visist`", "did you mean `visits`?"),
        ("VISITS > 3", "VISITS", "no column `VISITS`", "did you mean `visits`?"),
        ("channel = \"Facebook\"", "\"Facebook\"", "no column `Facebook`", "a text is written 'Facebook'"),
        ("visits > ", "", "found the end of the filter, expected a column, a number", ""),
        ("visits == 3", "==", "found `==`, expected `and`, `or` or the end", "write `=`"),
        ("visits > 3 weekend", "weekend", "found `weekend`, expected `and`", ""),
        ("(visits > 3", "", "found the end of the filter, expected `)`", ""),
        ("visits in 3", "3", "found `3`, expected `(`", ""),
        ("visits in (small)", "small", "found `small`, expected a number, a 'text'", ""),
        ("visits in ()", ")", "found `)`, expected a number", ""),
        ("visits is 3", "3", "found `3`, expected `null` or `not null`", ""),
        ("visits between 1 or 2", "or", "found the keyword `or`, expected the `and` of", ""),
        ("visits not 3", "3", "found `3`, expected `in`, `between` or `like`", ""),
        ("like > 3", "like", "found the keyword `like`, expected a column", "double quotes"),
        ("note like visits", "visits", "found `visits`, expected a pattern", ""),
        ("note = 'web", "'web", "the text that starts here has no closing '", "written twice"),
        ("`visits > 3", "`visits > 3", "the name that starts here has no closing `", ""),
        ("visits > 3;", ";", "found `;`", ""),
        ("visits > 1.2.3", "1.2.3", "`1.2.3` is not a number", ""),
        ("visits > 1_000", "1_000", "`1_000` is not a number", ""),
        ("visits > 1e999", "1e999", "`1e999` is not a number", ""),
        ("visits > 1 -- big", "--", "found `--`", ""),
        ("visits", "visits", "column `visits` (a number, Int64) is no condition", "visits > 10"),
        ("visits and weekend", "visits", "is no condition", ""),
        ("weekend = 1", "weekend = 1", "column `weekend` (true or false, Boolean) does not compare with the number 1", "true or false"),
        ("weekend < true", "weekend < true", "column `weekend` (true or false, Boolean) has no order", "use `=`"),
        ("note = 3", "note = 3", "does not compare with the number 3", "write '3'"),
        ("visits = '3'", "visits = '3'", "does not compare with the text '3'", "without quotes"),
        ("visits in (1, 'x')", "'x'", "does not compare with the text 'x'", "without quotes"),
        ("day > 20240101", "day > 20240101", "does not compare with the number 20240101", "write '2024-05-31'"),
        ("day > 'yesterday'", "'yesterday'", "'yesterday' is not a date or timestamp", "write '2024-05-31'"),
        ("day > date '2024-13-01'", "'2024-13-01'", "'2024-13-01' is not a date", ""),
        ("day + 1 > '2024-01-01'", "day", "`+` takes numbers, column `day` (a date or time, Date32) is none", ""),
        ("-note = 1", "note", "`-` takes numbers", ""),
        ("visits like '1%'", "visits", "`like` takes texts", ""),
        ("raw = 'a'", "raw = 'a'", "column `raw` (Binary) does not compare", "only be tested with `is null`"),
    ];
    for (text, place, message, help) in cases {
        let (found_place, found_message, found_help) = mistake(text);
        assert_eq!(found_place, place, "{text}: {found_message}");
        assert!(found_message.contains(message), "{text}: {found_message}");
        assert!(found_help.contains(help), "{text}: {found_help}");
    }
}

#[test]
fn an_unknown_column_lists_the_others() {
    let FilterProblem::UnknownColumn { columns, nearest, .. } = refused("zzz is null").problem else { panic!("another problem") };
    assert_eq!((columns.len(), nearest), (16, None));
}

#[test]
fn nesting_and_length_are_bounded() {
    let nested = |levels: usize| format!("{}visits = 1{}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(kept(&nested(64)), [0]);
    assert_eq!(refused(&nested(65)).problem, FilterProblem::TooDeep);
    assert_eq!(refused(&format!("{}weekend", "not ".repeat(65))).problem, FilterProblem::TooDeep);
    assert_eq!(refused(&format!("visits = {}1", "- ".repeat(65))).problem, FilterProblem::TooDeep);
    assert_eq!(refused(&"x".repeat(MAX_FILTER_BYTES + 1)).problem, FilterProblem::TooLong { bytes: MAX_FILTER_BYTES + 1 });
}

#[test]
fn long_flat_filters_neither_recurse_nor_crawl() {
    assert_eq!(kept(&vec!["visits=1"; 5_000].join(" or ")), [0]);
    assert_eq!(kept(&vec!["small>1"; 5_000].join(" and ")), [1, 2, 3, 4, 5]);
    assert_eq!(kept(&format!("small={}", ["1"; 6].join("+"))), [5]);
    assert_eq!(kept(&format!("{}=30001", vec!["1"; 30_001].join("+"))).len(), 6);
    let list: Vec<String> = (2..10_000).map(|number| number.to_string()).collect();
    assert_eq!(kept(&format!("small in ({})", list.join(","))), [1, 2, 3, 4, 5]);
}

#[test]
fn an_empty_batch_gives_an_empty_mask() {
    let empty = visits().slice(0, 0);
    for text in ["visits > 1", "true", "1 = 1", "visits is null or note like 'a%'"] {
        assert_eq!(Filter::parse(text).unwrap().evaluate(&empty).unwrap().len(), 0, "{text}");
    }
}
