//! What a finished step says: findings, notes, tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use gristmill_engine::columns::{self, Width};
use gristmill_engine::correlate::{self as engine, Adjust, Correlation, Method, PairRow, Simpson, Verdict, Within};
use gristmill_engine::findings::{Evidence, Finding};

use super::pictures;
use super::roles::GroupWords;
use crate::kinds::{Rows, Table, quoted};
use crate::manifest::LeftOut;
use crate::spec::StepSpec;

/// Returns what a person should know beside the findings.
pub(super) fn notes(found: &Correlation, step: &StepSpec) -> Vec<String> {
    let mut notes = vec![nulls(found, step)];
    let constant: Vec<&str> = found.columns.iter().filter(|column| column.constant()).map(|column| column.name.as_str()).collect();
    if !constant.is_empty() {
        notes.push(format!("constant, so without any correlation: {}", crate::spec::listed(&constant)));
    }
    let too_few = found.n_pairs - found.family;
    if too_few > 0 {
        notes.push(format!("{too_few} of {} pairs could not reach the level and left the family: too few rows, fewer than 5 outside of the most frequent value, or a constant column", found.n_pairs));
    }
    for (verdict, why) in GUARDS {
        let n = found.pairs.iter().filter(|pair| pair.verdict == verdict).count() as u64;
        if n > 0 {
            let pairs = if n == 1 {
                "1 pair survives the test and is".to_owned()
            } else {
                format!("{} pairs survive the test and are", grouped(n))
            };
            notes.push(format!("{pairs} no finding, because {why} (verdict `{}`)", verdict.word()));
        }
    }
    for (within, words) in [
        (Within::Flips, "turn within groups"),
        (Within::Vanishes, "are there over all rows and gone within groups"),
        (Within::Appears, "are there within groups and hidden over all rows"),
    ] {
        let names: Vec<String> =
            found.simpson.iter().filter(|pair| pair.within == within).map(|pair| pair_name(found, pair.x, pair.y)).collect();
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            notes.push(format!("{} pairs {words}: {} (table `simpson`)", names.len(), crate::spec::listed(&names)));
        }
    }
    if let Some(power) = found.power().first().filter(|power| power.group.is_none()) {
        notes.push(power_words(power));
    }
    if found.wide {
        notes.push(format!(
            "wide table: {} pairs were compared group by group, and the best {} are kept",
            found.n_pairs,
            found.pairs.len()
        ));
    }
    let settled = found.pairs.iter().filter(|pair| pair.settled).count();
    if found.width == Width::F32 && settled < found.pairs.len() {
        notes.push(format!(
            "products in 32 bits: {settled} of {} pairs are settled in 64 bits, the others are good to 1e-6",
            found.pairs.len()
        ));
    }
    notes
}

fn pair_name(found: &Correlation, x: usize, y: usize) -> String {
    format!("{} ~ {}", found.columns[x].name, found.columns[y].name)
}

/// Says what a family of so many pairs over so many rows could show.
fn power_words(power: &engine::Power) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rows are counted in u64")]
    let rows = grouped(power.n.round() as u64);
    let seen = format!(
        "over {rows} rows and among {} pairs an |r| of {} is found four times in five",
        grouped(power.family),
        short(power.detectable)
    );
    match power.n_needed {
        Some(n) if power.detectable > power.min_effect => {
            format!("{seen}; `min_effect` = {} would take {} rows", power.min_effect, grouped(n))
        }
        _ => seen,
    }
}

/// What guards say of pairs that are no finding all the same.
const GUARDS: [(Verdict, &str); 4] = [
    (Verdict::Leverage, "one row makes the effect"),
    (Verdict::Redundant, "a copy of a column stands in the same relation (table `redundant_groups`)"),
    (Verdict::Leak, "a column tells the target rather than goes with it"),
    (Verdict::Unconfirmed, "the later rows alone do not show it"),
];

/// Says what the pairs were compared with.
fn nulls(found: &Correlation, step: &StepSpec) -> String {
    let rows = match (&step.time, &step.cluster_by) {
        (None, None) => "; rows are taken as independent: order, repeats and groups of rows are not looked at",
        _ => "",
    };
    match (found.permutations, found.n_targets) {
        (0, _) => format!("each pair is held against its own null alone, and q against the family{rows}"),
        (n, 0) => format!(
            "each pair is held against the best pair of all in {} permutations of every column (p_perm: Westfall-Young, min-P, under the complete null that no pair is related){rows}",
            grouped(n.into())
        ),
        (n, _) => format!(
            "each pair is held against the best of itself and all weaker ones in {} permutations of the targets' rows (p_perm: Westfall-Young, min-P, step-down){rows}",
            grouped(n.into())
        ),
    }
}

/// A correlation, and the words for its groups.
pub(super) struct Said<'a> {
    pub(super) found: &'a Correlation,
    pub(super) groups: &'a [GroupWords],
    pub(super) step: &'a StepSpec,
}

impl Said<'_> {
    /// Returns the findings, best first.
    pub(super) fn findings(&self, job: &str) -> Vec<Finding> {
        self.found.findings().into_iter().filter_map(|pair| self.finding(pair, job)).collect()
    }

    fn group(&self, pair: &PairRow) -> Option<&GroupWords> {
        self.groups.get(pair.group?)
    }

    /// Returns what becomes of a pair of all rows within the groups.
    fn within(&self, pair: &PairRow) -> Option<&Simpson> {
        let is_it = |simpson: &&Simpson| (simpson.x, simpson.y, simpson.lag) == (pair.x, pair.y, pair.lag);
        self.found.simpson.iter().find(is_it).filter(|_| pair.group.is_none())
    }

    /// Names the pair, with its lag and its group.
    fn subject(&self, pair: &PairRow) -> String {
        let found = self.found;
        let mut subject = pair_name(found, pair.x, pair.y);
        if let Some(lag) = pair.lag.filter(|lag| *lag != 0) {
            subject.push_str(&format!(" (lag {lag})"));
        }
        if let Some(group) = self.group(pair) {
            subject.push_str(&format!(" ({})", group.words));
        }
        subject
    }

    fn finding(&self, pair: &PairRow, job: &str) -> Option<Finding> {
        let found = self.found;
        let (x, y) = (&found.columns[pair.x].name, &found.columns[pair.y].name);
        let value = pair.r?;
        #[allow(clippy::cast_precision_loss, reason = "a share needs few digits")]
        let support = pair.n as f64 / found.n_rows.max(1) as f64;
        let group = self.group(pair);
        let mut filter = format!("{} is not null and {} is not null", quoted(x), quoted(y));
        if let Some(group) = group {
            filter.push_str(&format!(" and {}", group.filter));
        }
        let is_made_by_groups = self.within(pair).is_some_and(|simpson| matches!(simpson.within, Within::Flips | Within::Vanishes));
        Some(Finding {
            job: job.to_owned(),
            step: self.step.name.value.clone(),
            kind: "correlate".to_owned(),
            subject: self.subject(pair),
            filter,
            effect: value,
            effect_unit: if pair.method == Method::Pearson { "r" } else { pair.method.word() }.to_owned(),
            lo: pair.interval.map(|(lo, _)| lo),
            hi: pair.interval.map(|(_, hi)| hi),
            n: pair.n,
            support,
            p: pair.p,
            p_min_attainable: pair.p_min_attainable,
            q: if found.permutations > 0 { pair.p_perm } else { pair.q },
            q_method: adjustment(found),
            evidence: if self.step.list("controls").is_empty() { Evidence::Association } else { Evidence::Adjusted },
            // What one row makes is no finding, so that a finding that was looked at does not rest on a row; it may rest on groups.
            fragile: if is_made_by_groups { Some(true) } else { pair.leverage_max.map(|_| false) },
            confirmed_out_of_time: pair.confirmed,
            as_of: None,
            sentence: self.sentence(pair, value),
        })
    }

    /// Says a finding in one sentence with its numbers.
    fn sentence(&self, pair: &PairRow, value: f64) -> String {
        let found = self.found;
        let (x, y) = (found.columns[pair.x].name.as_str(), found.columns[pair.y].name.as_str());
        let interval =
            pair.interval.map(|(lo, hi)| format!(" ({:.0} % interval {} to {})", 100.0 * (1.0 - found.alpha()), short(lo), short(hi)));
        let said = said(found, pair, value, &interval.unwrap_or_default());
        let lag = match pair.lag {
            Some(lag) if lag != 0 => {
                let (first, then) = if lag > 0 { (y, x) } else { (x, y) };
                let rows = lag.unsigned_abs();
                format!(", {first} {} row{} before {then}", grouped(rows), if rows == 1 { "" } else { "s" })
            }
            _ => String::new(),
        };
        let within = self.group(pair).map_or_else(String::new, |group| format!("where {}: ", group.words));
        let controls: Vec<&str> = self.step.list("controls").iter().map(|control| control.value.as_str()).collect();
        let fixed = if controls.is_empty() { String::new() } else { format!(", with {} held fixed", crate::spec::listed(&controls)) };
        let weights = self.step.weights.as_ref().map_or_else(String::new, |weights| format!(", weighed by {}", weights.value));
        let by = || self.step.list("group_by").iter().map(|by| by.value.as_str()).collect::<Vec<_>>().join(" x ");
        let simpson = match self.within(pair) {
            Some(simpson) if simpson.within == Within::Flips => format!("; within {} it turns, to {}", by(), short(simpson.r_within)),
            Some(simpson) if simpson.within == Within::Vanishes => format!("; within {} it is gone ({})", by(), short(simpson.r_within)),
            _ => String::new(),
        };
        format!("{within}{said}{lag} over {} rows{fixed}{weights}{simpson}", grouped(pair.n))
    }

    /// Returns the tables of the step.
    pub(super) fn tables(&self, schema: &Schema, used: &[usize], left_out: &[LeftOut]) -> Vec<Table> {
        let by: Vec<&str> = self.step.list("group_by").iter().map(|by| by.value.as_str()).collect();
        vec![
            Table { name: "pairs", rows: Rows::Held(Correlation::pairs_schema(), self.found.pairs_table()) },
            Table::one("columns", columns_table(self.found, schema, used, self.step, left_out)),
            Table::one("redundant_groups", redundant_groups(self.found)),
            Table::one("simpson", self.found.simpson_table(&by.join(" x "))),
            Table::one("pictures", pictures::table(self.found, |pair| self.subject(pair))),
            Table::one("power", self.found.power_table()),
        ]
    }
}

/// Names the adjustment, with the size of the family.
fn adjustment(found: &Correlation) -> String {
    let family = found.family;
    match (found.permutations, found.n_targets, found.adjust) {
        (0, _, Adjust::Bh) => format!("BH over {family} pairs"),
        (0, _, Adjust::By) => format!("BY over {family} pairs"),
        (n, 0, _) => format!("Westfall-Young over {family} pairs, {n} permutations, single step"),
        (n, _, _) => format!("Westfall-Young over {family} pairs, {n} permutations, step-down"),
    }
}

/// Says what a value means.
fn said(found: &Correlation, pair: &PairRow, value: f64, interval: &str) -> String {
    let (x, y) = (found.columns[pair.x].name.as_str(), found.columns[pair.y].name.as_str());
    match pair.method {
        Method::Pearson | Method::Spearman | Method::Kendall => {
            let together = if value > 0.0 { "rise together" } else { "move against each other" };
            let symbol = match pair.method {
                Method::Spearman => "Spearman's rho",
                Method::Kendall => "Kendall's tau-b",
                _ => "r",
            };
            format!("{x} and {y} {together}: {symbol} = {}{interval}", short(value))
        }
        Method::EtaSquared => {
            let (groups, numbers) = if found.columns[pair.x].mean.is_none() { (x, y) } else { (y, x) };
            format!("{groups} accounts for {:.0} % of the variance of {numbers} (eta squared = {})", 100.0 * value, short(value))
        }
        Method::CramersV => format!("{x} and {y} go together: Cramer's V = {}", short(value)),
        Method::TheilsU => {
            format!("knowing {x} takes away {:.0} % of the uncertainty about {y} (Theil's U = {})", 100.0 * value, short(value))
        }
        Method::MutualInformation => format!("{x} and {y} share {} nats of information", short(value)),
        Method::Xi => format!("{y} follows {x}: Chatterjee's xi = {}", short(value)),
        Method::Distance => format!("{x} and {y} depend on each other: distance correlation = {}", short(value)),
    }
}

/// Writes a correlation with two digits, or as many as tell it from 1.
fn short(r: f64) -> String {
    let digits = (2..=9).find(|&digits| 1.0 - r.abs() >= 0.5 * 10_f64.powi(-digits) || r.abs() >= 1.0).unwrap_or(9);
    let digits = usize::try_from(digits).unwrap_or(2);
    format!("{r:.digits$}")
}

/// Writes a count with a comma between thousands.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns that are copies of one another, or nearly so: the pairs of a group's first column stand for those of the others.
fn redundant_groups(found: &Correlation) -> RecordBatch {
    let mut groups: std::collections::BTreeMap<usize, Vec<usize>> = std::collections::BTreeMap::new();
    for (at, &first) in found.copies.iter().enumerate() {
        groups.entry(first).or_default().push(at);
    }
    groups.retain(|_, columns| columns.len() > 1);
    let name = |at: usize| found.columns[at].name.as_str();
    let of_group = |(group, (first, columns)): (u64, (&usize, &Vec<usize>))| -> Vec<(u64, usize, usize)> {
        columns.iter().map(|&at| (group, *first, at)).collect()
    };
    let rows: Vec<(u64, usize, usize)> = (1..).zip(&groups).flat_map(of_group).collect();
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("group", DataType::UInt64, false), Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(group, _, _)| *group)))),
        (Field::new("column", DataType::Utf8, false), Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, _, at)| name(*at))))),
        (
            Field::new("first", DataType::Utf8, false),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, first, _)| name(*first)))),
        ),
    ];
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("every column has one cell a copy")
}

/// Every column of the input, in its order: what it is, and why it was not used.
fn columns_table(found: &Correlation, schema: &Schema, used: &[usize], step: &StepSpec, left_out: &[LeftOut]) -> RecordBatch {
    let fields = schema.fields();
    let positions: std::collections::HashMap<usize, usize> =
        used.iter().enumerate().map(|(position, &column)| (column, position)).collect();
    let row = |at: usize| positions.get(&at).map(|&position| &found.columns[position]);
    let reason = |at: usize| {
        let name = fields[at].name();
        if row(at).is_some() {
            return None;
        }
        let excluded = step.exclude.iter().any(|column| &column.value == name);
        let by_type = left_out.iter().find(|column| &column.column == name).map(|column| column.reason.clone());
        Some(by_type.unwrap_or_else(|| if excluded { "excluded by the spec".to_owned() } else { "not asked for".to_owned() }))
    };
    let each = 0..fields.len();
    let copy_of = |at: usize| {
        let &position = positions.get(&at)?;
        let first = found.copies.get(position).copied().filter(|first| *first != position)?;
        Some(found.columns[first].name.as_str())
    };
    let number = |of: fn(&engine::ColumnRow) -> Option<f64>| -> ArrayRef {
        Arc::new(each.clone().map(|at| row(at).and_then(of)).collect::<Float64Array>())
    };
    let count =
        |of: fn(&engine::ColumnRow) -> u64| -> ArrayRef { Arc::new(each.clone().map(|at| row(at).map(of)).collect::<UInt64Array>()) };
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("column", DataType::Utf8, false), Arc::new(StringArray::from_iter_values(fields.iter().map(|field| field.name())))),
        (
            Field::new("data_type", DataType::Utf8, false),
            Arc::new(StringArray::from_iter_values(fields.iter().map(|field| columns::type_words(field.data_type())))),
        ),
        (Field::new("used", DataType::Boolean, false), Arc::new(each.clone().map(|at| Some(row(at).is_some())).collect::<BooleanArray>())),
        (Field::new("reason", DataType::Utf8, true), Arc::new(each.clone().map(reason).collect::<StringArray>())),
        (Field::new("n", DataType::UInt64, true), count(|column| column.n)),
        (Field::new("nulls", DataType::UInt64, true), count(|column| column.missing)),
        (Field::new("mean", DataType::Float64, true), number(|column| column.mean)),
        (Field::new("sd", DataType::Float64, true), number(|column| column.sd)),
        (Field::new("min", DataType::Float64, true), number(|column| column.min)),
        (Field::new("max", DataType::Float64, true), number(|column| column.max)),
        (
            Field::new("constant", DataType::Boolean, true),
            Arc::new(each.clone().map(|at| row(at).map(engine::ColumnRow::constant)).collect::<BooleanArray>()),
        ),
        (Field::new("copy_of", DataType::Utf8, true), Arc::new(each.clone().map(copy_of).collect::<StringArray>())),
    ];
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("every column has one cell a field of the input")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(short(0.4949), "0.49");
        assert_eq!(short(0.99999), "0.99999");
        assert_eq!(short(-1.0), "-1.00");
        assert_eq!([grouped(5), grouped(1234), grouped(12_330), grouped(1_000_000)], ["5", "1,234", "12,330", "1,000,000"]);
    }
}
