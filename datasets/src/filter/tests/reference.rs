//! Random filters, evaluated row by row from the structure they were written from; the parser is never asked.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int64Array, StringArray, UInt64Array};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::super::{Comparison, Filter};
use super::visits;

/// One row; columns have the type of their field, `t` is text and `d` days since 1970.
#[derive(Debug, Clone)]
struct Row {
    i: Option<i64>,
    u: Option<u64>,
    f: Option<f64>,
    s: Option<f32>,
    b: Option<bool>,
    t: Option<String>,
    d: Option<i32>,
}

#[derive(Debug, Clone)]
enum Number {
    I,
    U,
    F,
    S,
    Integer(i64),
    Decimal(f64),
    Computed(Box<Self>, char, Box<Self>),
    Negated(Box<Self>),
}

#[derive(Debug, Clone)]
enum Condition {
    Numbers(Number, Comparison, Number),
    Between(Number, Number, Number, bool),
    InNumbers(Number, Vec<Option<f64>>, bool),
    Texts(Comparison, String),
    InTexts(Vec<Option<String>>, bool),
    Like(String, bool),
    Dates(Comparison, i32),
    Flag,
    FlagIs(bool),
    IsNull(&'static str, bool),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
}

/// A number as the filter sees it.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Exact(i128),
    Float(f64),
}

impl Seen {
    fn as_float(self) -> Option<f64> {
        let value = match self {
            Self::Exact(value) => value as f64,
            Self::Float(value) => value,
        };
        (!value.is_nan()).then_some(value)
    }
}

impl Number {
    fn text(&self) -> String {
        match self {
            Self::I => "i".to_owned(),
            Self::U => "`u`".to_owned(),
            Self::F => "\"f\"".to_owned(),
            Self::S => "s".to_owned(),
            Self::Integer(value) => value.to_string(),
            Self::Decimal(value) => format!("{value:?}"),
            Self::Computed(left, operation, right) => format!("({} {operation} {})", left.text(), right.text()),
            Self::Negated(inner) => format!("- {}", inner.text()),
        }
    }

    fn seen(&self, row: &Row) -> Option<Seen> {
        match self {
            Self::I => row.i.map(|value| Seen::Exact(value.into())),
            Self::U => row.u.map(|value| Seen::Exact(value.into())),
            Self::F => row.f.map(Seen::Float),
            Self::S => row.s.map(|value| Seen::Float(value.into())),
            Self::Integer(value) => Some(Seen::Exact((*value).into())),
            Self::Decimal(value) => Some(Seen::Float(*value)),
            Self::Computed(left, operation, right) => {
                let (left, right) = (left.seen(row)?.as_float()?, right.seen(row)?.as_float()?);
                let value = match operation {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ if right == 0.0 => return None,
                    _ => left / right,
                };
                Some(Seen::Float(value))
            }
            // A sign before a literal belongs to the literal, which stays exact.
            Self::Negated(inner) => match (&**inner, inner.seen(row)?) {
                (Self::Integer(_), Seen::Exact(value)) => Some(Seen::Exact(-value)),
                (_, value) => Some(Seen::Float(0.0 - value.as_float()?)),
            },
        }
    }

    fn is_decimal(&self) -> bool {
        matches!(self, Self::Decimal(_)) || matches!(self, Self::Negated(inner) if matches!(**inner, Self::Decimal(_)))
    }
}

fn to_single(seen: Seen) -> Seen {
    match seen {
        Seen::Float(value) if (value as f32).is_finite() => Seen::Float((value as f32).into()),
        other => other,
    }
}

fn compared(left: &Number, comparison: Comparison, right: &Number, row: &Row) -> Option<bool> {
    let (mut a, mut b) = (left.seen(row)?, right.seen(row)?);
    if matches!(left, Number::S) && right.is_decimal() {
        b = to_single(b);
    }
    if matches!(right, Number::S) && left.is_decimal() {
        a = to_single(a);
    }
    let order = match (a, b) {
        (Seen::Exact(a), Seen::Exact(b)) => a.cmp(&b),
        _ => a.as_float()?.partial_cmp(&b.as_float()?)?,
    };
    Some(holds(comparison, order))
}

fn holds(comparison: Comparison, order: std::cmp::Ordering) -> bool {
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterEqual => order.is_ge(),
    }
}

fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterEqual => ">=",
    }
}

fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|skipped| like(&text[skipped..], rest)),
        Some(('_', rest)) => !text.is_empty() && like(&text[1..], rest),
        Some((letter, rest)) => text.first() == Some(letter) && like(&text[1..], rest),
    }
}

fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let parts: Vec<Option<bool>> = parts.collect();
    if parts.contains(&Some(false)) {
        return Some(false);
    }
    (!parts.contains(&None)).then_some(true)
}

fn among<T>(found: bool, items: &[Option<T>]) -> Option<bool> {
    if found { Some(true) } else { (!items.iter().any(Option::is_none)).then_some(false) }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn date(day: i32) -> String {
    // 2024-01-01 is day 19,723; the days drawn stay in that month.
    format!("2024-01-{:02}", day - 19_722)
}

fn listed<T>(items: &[Option<T>], show: impl Fn(&T) -> String) -> String {
    items.iter().map(|item| item.as_ref().map_or("null".to_owned(), &show)).collect::<Vec<_>>().join(", ")
}

impl Condition {
    fn text(&self) -> String {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        match self {
            Self::Numbers(left, comparison, right) => format!("{} {} {}", left.text(), sign(*comparison), right.text()),
            Self::Between(value, low, high, negated) => {
                format!("{} {}between {} and {}", value.text(), not(negated), low.text(), high.text())
            }
            Self::InNumbers(value, items, negated) => {
                format!("{} {}in ({})", value.text(), not(negated), listed(items, |item| format!("{item:?}")))
            }
            Self::Texts(comparison, text) => format!("t {} {}", sign(*comparison), quoted(text)),
            Self::InTexts(items, negated) => format!("t {}In ({})", not(negated), listed(items, |item| quoted(item))),
            Self::Like(pattern, negated) => format!("t {}like {}", not(negated), quoted(pattern)),
            Self::Dates(comparison, day) => format!("d {} '{}'", sign(*comparison), date(*day)),
            Self::Flag => "b".to_owned(),
            Self::FlagIs(value) => format!("b = {value}"),
            Self::IsNull(column, negated) => format!("{column} is {}null", not(negated)),
            Self::Not(inner) => format!("not ({})", inner.text()),
            Self::All(parts) => parts.iter().map(|part| format!("({})", part.text())).collect::<Vec<_>>().join(" and "),
            Self::Any(parts) => parts.iter().map(|part| format!("({})", part.text())).collect::<Vec<_>>().join(" or "),
        }
    }

    fn holds(&self, row: &Row) -> Option<bool> {
        match self {
            Self::Numbers(left, comparison, right) => compared(left, *comparison, right, row),
            Self::Between(value, low, high, negated) => {
                let sides = [compared(value, Comparison::GreaterEqual, low, row), compared(value, Comparison::LessEqual, high, row)];
                all(sides.into_iter()).map(|inside| inside != *negated)
            }
            Self::InNumbers(value, items, negated) => {
                value.seen(row)?.as_float()?;
                let equal = |item: &f64| compared(value, Comparison::Equal, &Number::Decimal(*item), row) == Some(true);
                among(items.iter().flatten().any(equal), items).map(|found| found != *negated)
            }
            Self::Texts(comparison, text) => row.t.as_ref().map(|value| holds(*comparison, value.cmp(text))),
            Self::InTexts(items, negated) => {
                let value = row.t.as_ref()?;
                among(items.iter().flatten().any(|item| item == value), items).map(|found| found != *negated)
            }
            Self::Like(pattern, negated) => {
                let text: Vec<char> = row.t.as_ref()?.chars().collect();
                Some(like(&text, &pattern.chars().collect::<Vec<_>>()) != *negated)
            }
            Self::Dates(comparison, day) => row.d.map(|value| holds(*comparison, value.cmp(day))),
            Self::Flag => row.b,
            Self::FlagIs(value) => row.b.map(|flag| flag == *value),
            Self::IsNull(column, negated) => Some(is_null(row, column) != *negated),
            Self::Not(inner) => inner.holds(row).map(|value| !value),
            Self::All(parts) => all(parts.iter().map(|part| part.holds(row))),
            Self::Any(parts) => all(parts.iter().map(|part| part.holds(row).map(|value| !value))).map(|none| !none),
        }
    }
}

fn is_null(row: &Row, column: &str) -> bool {
    match column {
        "i" => row.i.is_none(),
        "f" => row.f.is_none_or(f64::is_nan),
        "b" => row.b.is_none(),
        "t" => row.t.is_none(),
        _ => row.d.is_none(),
    }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 7] = [
        ("i", Arc::new(rows.iter().map(|row| row.i).collect::<Int64Array>())),
        ("u", Arc::new(rows.iter().map(|row| row.u).collect::<UInt64Array>())),
        ("f", Arc::new(rows.iter().map(|row| row.f).collect::<Float64Array>())),
        ("s", Arc::new(rows.iter().map(|row| row.s).collect::<Float32Array>())),
        ("b", Arc::new(rows.iter().map(|row| row.b).collect::<BooleanArray>())),
        ("t", Arc::new(rows.iter().map(|row| row.t.clone()).collect::<StringArray>())),
        ("d", Arc::new(rows.iter().map(|row| row.d).collect::<Date32Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn integers() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -3_i64..4, 1 => any::<i64>()]
}

fn floats() -> impl Strategy<Value = f64> {
    let picked = vec![0.0, -0.0, 0.1, -1.5, 2.0, 1e300, f64::from(0.1_f32)];
    prop_oneof![4 => prop::sample::select(picked), 1 => -4.0..4.0_f64]
}

fn texts() -> impl Strategy<Value = String> {
    "[ab'\u{e9}]{0,4}"
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let float = prop_oneof![6 => floats(), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)];
    let unsigned = prop_oneof![4 => 0..4_u64, 1 => any::<u64>()];
    let cells = (
        prop::option::of(integers()),
        prop::option::of(unsigned),
        prop::option::of(float.clone()),
        prop::option::of(float.prop_map(|value| value as f32)),
        prop::option::of(any::<bool>()),
        prop::option::of(texts()),
        prop::option::of(19_723..19_728),
    );
    prop::collection::vec(cells.prop_map(|(i, u, f, s, b, t, d)| Row { i, u, f, s, b, t, d }), 1..20)
}

fn numbers() -> impl Strategy<Value = Number> {
    let leaf = prop_oneof![
        Just(Number::I),
        Just(Number::U),
        Just(Number::F),
        Just(Number::S),
        (0..4_i64).prop_map(Number::Integer),
        any::<i64>().prop_map(|value| Number::Integer(value.saturating_abs())),
        floats().prop_map(|value| Number::Decimal(value.abs())),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        let operation = prop::sample::select(vec!['+', '-', '*', '/']);
        let literal = prop_oneof![(0..4_i64).prop_map(Number::Integer), floats().prop_map(|value| Number::Decimal(value.abs()))];
        prop_oneof![
            3 => (inner.clone(), operation, inner).prop_map(|(a, op, b)| Number::Computed(Box::new(a), op, Box::new(b))),
            1 => literal.prop_map(|value| Number::Negated(Box::new(value))),
            1 => Just(Number::Negated(Box::new(Number::I))),
        ]
    })
}

fn comparisons() -> impl Strategy<Value = Comparison> {
    use Comparison::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
    prop::sample::select(vec![Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual])
}

fn conditions() -> impl Strategy<Value = Condition> {
    let column = prop::sample::select(vec!["i", "f", "b", "t", "d"]);
    // Items are decimals, so that one rule of comparison holds for the whole list.
    let items = prop::collection::vec(prop::option::weighted(0.9, floats()), 1..5);
    let words = prop::collection::vec(prop::option::weighted(0.9, texts()), 1..5);
    let leaf = prop_oneof![
        (numbers(), comparisons(), numbers()).prop_map(|(a, op, b)| Condition::Numbers(a, op, b)),
        (numbers(), numbers(), numbers(), any::<bool>()).prop_map(|(a, b, c, not)| Condition::Between(a, b, c, not)),
        (numbers(), items, any::<bool>()).prop_map(|(a, items, not)| Condition::InNumbers(a, items, not)),
        (comparisons(), texts()).prop_map(|(op, text)| Condition::Texts(op, text)),
        (words, any::<bool>()).prop_map(|(items, not)| Condition::InTexts(items, not)),
        ("[ab%_'\u{e9}]{0,5}", any::<bool>()).prop_map(|(pattern, not)| Condition::Like(pattern, not)),
        (comparisons(), 19_723..19_728).prop_map(|(op, day)| Condition::Dates(op, day)),
        Just(Condition::Flag),
        any::<bool>().prop_map(Condition::FlagIs),
        (column, any::<bool>()).prop_map(|(column, not)| Condition::IsNull(column, not)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| Condition::Not(Box::new(part))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::All),
            prop::collection::vec(inner, 1..4).prop_map(Condition::Any),
        ]
    })
}

/// Compares a filter with the reference on every row; the error names the first row that differs.
fn agrees(text: &str, condition: &Condition, rows: &[Row]) -> Result<(), String> {
    let filter = Filter::parse(text).map_err(|error| format!("{text}: {error}"))?;
    let mask = filter.evaluate(&batch(rows)).map_err(|error| format!("{text}: {error}"))?;
    for (index, row) in rows.iter().enumerate() {
        let expected = condition.holds(row) == Some(true);
        if mask.value(index) != expected {
            return Err(format!("{text}: {row:?} should be {expected}"));
        }
    }
    Ok(())
}

fn words() -> impl Strategy<Value = String> {
    let vocabulary = vec![
        "visits",
        "weekend",
        "note",
        "day",
        "seen",
        "raw",
        "nothing",
        "\"long note\"",
        "price",
        "single",
        "big",
        "and",
        "or",
        "not",
        "in",
        "between",
        "like",
        "is",
        "null",
        "true",
        "false",
        "date",
        "timestamp",
        "(",
        ")",
        ",",
        "=",
        "<>",
        "<",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "1",
        "2.5",
        "1e9",
        "'a%'",
        "'\u{e9}\\'",
        "'2024-01-01'",
        "'2024-01-01 00:00:00\u{e9}'",
        "''",
        "99999999999999999999999999999999999999999",
    ];
    prop::collection::vec(prop::sample::select(vocabulary), 0..14).prop_map(|words| words.join(" "))
}

fn survives(text: &str) {
    if let Ok(filter) = Filter::parse(text) {
        let checked = filter.check(visits().schema_ref());
        let evaluated = filter.evaluate(&visits());
        assert_eq!(checked.is_ok(), evaluated.is_ok(), "{text}");
    } else if let Err(error) = Filter::parse(text) {
        assert!(text.get(error.at.clone()).is_some(), "{text}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_filters_agree_with_the_reference(condition in conditions(), rows in rows()) {
        let text = condition.text();
        prop_assert!(agrees(&text, &condition, &rows).is_ok(), "{:?}", agrees(&text, &condition, &rows));
    }

    #[test]
    fn random_text_never_panics(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn random_words_never_panic(text in words()) {
        survives(&text);
    }
}

#[test]
fn agreement_catches_a_wrong_twin() {
    let row = Row { i: Some(2), u: None, f: None, s: None, b: None, t: None, d: None };
    let condition = Condition::Numbers(Number::I, Comparison::Greater, Number::Integer(1));
    assert!(agrees("i > 1", &condition, std::slice::from_ref(&row)).is_ok());
    assert!(agrees("i > 2", &condition, &[row]).is_err());
}
