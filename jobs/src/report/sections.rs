//! The sections of the page that show a step: findings, heat map, what was tested, columns.

use gristmill_engine::correlate::Method;

use super::data::{ColumnRow, FindingRow, StepData};
use super::looks::LookView;
use super::pairs::{PairData, PairRow, SURVIVES, TOO_WEAK};
use super::svg;
use super::text::{self, Html, correlation, count, counted, name, percent, probability, value};
use super::{HATCH, Limits, heatmap};
use crate::manifest::StepRecord;

/// Characters of a column's name in a table.
const NAME_CHARS: usize = 32;

/// The findings of a step.
pub(super) struct FindingsView {
    pub(super) step: Option<Html>,
    /// Best first, shown in full.
    pub(super) best: Vec<FindingView>,
    /// Those after them.
    pub(super) more: Vec<FindingView>,
    /// What the file holds beyond those.
    pub(super) rest: Option<String>,
}

/// One finding.
pub(super) struct FindingView {
    pub(super) rank: usize,
    pub(super) subject: Html,
    pub(super) unit: String,
    pub(super) effect: String,
    pub(super) tone: &'static str,
    pub(super) bar: Html,
    pub(super) range: Option<String>,
    pub(super) n: String,
    pub(super) q: String,
    pub(super) q_title: String,
    pub(super) sentence: Html,
    pub(super) chips: Vec<Chip>,
    pub(super) filter: String,
}

/// A short mark beside something.
pub(super) struct Chip {
    pub(super) tone: &'static str,
    pub(super) text: String,
}

impl FindingsView {
    pub(super) fn new(step: &StepData, min_effect: Option<f64>, heading: Option<Html>, limits: &Limits) -> Option<Self> {
        let shown = step.findings.len().min(limits.findings);
        if shown == 0 {
            return None;
        }
        let mut best: Vec<FindingView> =
            step.findings.iter().take(shown).enumerate().map(|(at, row)| FindingView::new(at + 1, row, min_effect)).collect();
        let more = best.split_off(shown.min(limits.cards));
        let rest = step.n_findings.saturating_sub(shown as u64);
        let rest = (rest > 0).then(|| format!("{} in findings.parquet.", counted(rest, "more finding")));
        Some(Self { step: heading, best, more, rest })
    }
}

impl FindingView {
    fn new(rank: usize, row: &FindingRow, min_effect: Option<f64>) -> Self {
        let method = Method::ALL.into_iter().find(|method| method.word() == row.effect_unit);
        let is_signed = (row.effect_unit == "r" || method.is_some_and(Method::is_signed)) && row.effect.abs() <= 1.0;
        let is_share = method.is_some() && row.effect.abs() <= 1.0;
        let of_rows = row.effect_unit == "share of rows";
        let is_index = ["PSI", "Jaccard"].contains(&row.effect_unit.as_str());
        let number = |v: f64, digits| match (is_signed || is_share, of_rows) {
            (true, _) => correlation(v, digits),
            (_, true) => format!("{:.0}\u{a0}%", 100.0 * v),
            _ if is_index => format!("{v:.2}"),
            _ => value(v),
        };
        let bar = if is_signed { svg::interval(row.effect, row.lo, row.hi, min_effect.unwrap_or(0.0)) } else { Html::default() };
        Self {
            rank,
            subject: subject(&row.subject),
            unit: text::cut(&row.effect_unit.replace('_', " "), 24),
            effect: number(row.effect, 2),
            tone: if row.effect < 0.0 { "neg" } else { "pos" },
            bar,
            range: row.lo.zip(row.hi).map(|(lo, hi)| format!("{} to {}", number(lo, 3), number(hi, 3))),
            n: count(row.n),
            q: row.q.or(row.p).map_or_else(|| "-".to_owned(), probability),
            q_title: text::cut(&row.q_method, 120),
            sentence: text::marked(&row.sentence, 480),
            chips: chips(row),
            filter: text::cut(&row.filter, 1200),
        }
    }
}

/// Returns a subject with its two names cut apart, so that a long first one does not hide the second.
fn subject(text: &str) -> Html {
    match text.split_once(" ~ ") {
        Some((x, y)) => Html(format!("{} <span class=\"tilde\">~</span> {}", name(x, 44), name(y, 44))),
        None => name(text, 90),
    }
}

fn chips(row: &FindingRow) -> Vec<Chip> {
    let mut out = Vec::new();
    if !row.evidence.is_empty() {
        out.push(Chip { tone: "plain", text: text::cut(&row.evidence, 24) });
    }
    if row.fragile == Some(true) {
        out.push(Chip { tone: "warn", text: "a few rows make it".to_owned() });
    }
    match row.confirmed {
        Some(true) => out.push(Chip { tone: "good", text: "confirmed in a later period".to_owned() }),
        Some(false) => out.push(Chip { tone: "warn", text: "not confirmed in a later period".to_owned() }),
        None => {}
    }
    out
}

/// What the best findings of a step look like.
pub(super) struct LooksView {
    pub(super) step: Option<Html>,
    pub(super) looks: Vec<LookView>,
}

impl LooksView {
    pub(super) fn new(step: &StepData, heading: Option<Html>, limits: &Limits) -> Option<Self> {
        let looks = LookView::of_step(step, limits);
        (!looks.is_empty()).then_some(Self { step: heading, looks })
    }
}

/// The heat map of a step.
pub(super) struct MapView {
    pub(super) step: Option<Html>,
    pub(super) caption: String,
    pub(super) svg: Html,
}

impl MapView {
    pub(super) fn new(step: &StepData, heading: Option<Html>, limits: &Limits) -> Option<Self> {
        let pairs = step.pairs.as_ref()?;
        // With targets most cells would be empty: columns are not compared with each other.
        let n_cells = pairs.heat.cells.iter().flatten().count();
        if pairs.target.is_some() || n_cells * 2 < pairs.heat.cells.len() {
            return None;
        }
        let svg = heatmap::draw(&pairs.heat, limits.heat, HATCH)?;
        Some(Self { step: heading, caption: map_caption(pairs, limits), svg })
    }
}

fn map_caption(pairs: &PairData, limits: &Limits) -> String {
    let heat = &pairs.heat;
    let drawn = heat.columns.len().min(limits.heat);
    let mut out = if drawn < heat.n_candidates {
        format!(
            "{drawn} of {} columns are drawn: those with the most findings, then with the strongest pairs. ",
            count(heat.n_candidates as u64)
        )
    } else {
        String::new()
    };
    out.push_str("Columns that move together, in either direction, stand next to each other (average linkage on 1 - |r|). Point at a cell for its pair.");
    if heat.strongest {
        out.push_str(" Where a pair has several rows, the strongest is drawn.");
    }
    if heat.n_without > 0 {
        let (columns, verb) = (counted(heat.n_without as u64, "column"), if heat.n_without == 1 { "has" } else { "have" });
        out.push_str(&format!(" {columns} without any r (constant, or too few rows) {verb} no place here."));
    }
    out
}

/// What a step tested.
pub(super) struct TestedView {
    pub(super) step: Option<Html>,
    /// Says that the table holds fewer pairs than were tested.
    pub(super) kept: Option<String>,
    pub(super) histogram: Html,
    pub(super) verdicts: Vec<VerdictCount>,
    pub(super) passed: Vec<Passed>,
    pub(super) caption: Html,
    pub(super) has_group: bool,
    pub(super) has_lag: bool,
    pub(super) has_method: bool,
    pub(super) has_p_perm: bool,
    pub(super) rows: Vec<PairView>,
}

/// How many pairs one way of judging lets pass.
pub(super) struct Passed {
    pub(super) by: &'static str,
    pub(super) meaning: &'static str,
    pub(super) n: String,
}

/// The ways in the order of `PairData::passed`.
const WAYS: [(&str, &str); 3] = [
    ("p alone", "each pair as if it were the only one"),
    ("q", "false discovery rate over the family"),
    ("permutations", "against the best pair of the whole family in shuffled data"),
];

fn passed(pairs: &PairData) -> Vec<Passed> {
    let ways = WAYS.into_iter().zip(pairs.passed);
    ways.filter_map(|((by, meaning), n)| n.map(|n| Passed { by, meaning, n: count(n) })).collect()
}

/// How many pairs a verdict has.
pub(super) struct VerdictCount {
    pub(super) tone: &'static str,
    pub(super) word: String,
    pub(super) n: String,
    pub(super) share: String,
    pub(super) meaning: &'static str,
}

/// A row of the table of pairs.
pub(super) struct PairView {
    pub(super) rank: usize,
    pub(super) x: Html,
    pub(super) y: Html,
    pub(super) group: String,
    pub(super) lag: String,
    pub(super) method: String,
    pub(super) r: String,
    pub(super) range: Option<String>,
    pub(super) bar: Html,
    pub(super) n: String,
    pub(super) p: String,
    pub(super) p_perm: String,
    pub(super) q: String,
    pub(super) tone: &'static str,
    pub(super) verdict: String,
}

impl TestedView {
    pub(super) fn new(
        step: &StepData,
        family: Option<u64>,
        min_effect: Option<f64>,
        heading: Option<Html>,
        limits: &Limits,
    ) -> Option<Self> {
        let pairs = step.pairs.as_ref()?;
        let least = min_effect.unwrap_or(0.0);
        let top = &pairs.top[..pairs.top.len().min(limits.pairs)];
        let methods = top.iter().any(|row| row.method != top[0].method);
        Some(Self {
            step: heading,
            kept: family.filter(|family| *family > pairs.n_rows).map(|family| kept(pairs.n_rows, family)),
            histogram: svg::histogram(&pairs.histogram, least),
            verdicts: pairs.verdicts.iter().map(|(word, n)| verdict_count(word, *n, pairs.n_rows)).collect(),
            passed: passed(pairs),
            caption: tested_caption(pairs, top.len()),
            has_group: top.iter().any(|row| row.group.is_some()),
            has_lag: top.iter().any(|row| row.lag.is_some_and(|lag| lag != 0)),
            has_method: methods,
            has_p_perm: top.iter().any(|row| row.p_perm.is_some()),
            rows: top.iter().enumerate().map(|(at, row)| pair_view(at + 1, row, least)).collect(),
        })
    }
}

/// Returns what is counted where a job has so many pairs that only the best are kept.
fn kept(rows: u64, family: u64) -> String {
    format!(
        "{} were tested and count for every q; the table keeps the best {}, and what follows counts those.",
        counted(family, "pair"),
        count(rows)
    )
}

fn tested_caption(pairs: &PairData, shown: usize) -> Html {
    let all = counted(pairs.n_rows, "pair");
    let which = if (shown as u64) < pairs.n_rows { format!("The {shown} strongest of {all}") } else { all };
    let target =
        pairs.target.as_ref().map_or_else(String::new, |target| format!(", all of them with the target <em>{}</em>", name(target, 60)));
    Html(format!("{which}{target}, whatever became of them. The table <em>pairs</em> beside this report has all."))
}

fn pair_view(rank: usize, row: &PairRow, least: f64) -> PairView {
    let optional = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), probability);
    PairView {
        rank,
        x: name(&row.x, NAME_CHARS),
        y: name(&row.y, NAME_CHARS),
        group: row.group.as_deref().map_or_else(|| "-".to_owned(), |group| text::cut(group, NAME_CHARS)),
        lag: row.lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string()),
        method: text::cut(&row.method, 24),
        r: row.r.map_or_else(|| "-".to_owned(), |r| correlation(r, 3)),
        range: row.lo.zip(row.hi).map(|(lo, hi)| format!("{} to {}", correlation(lo, 3), correlation(hi, 3))),
        bar: row.r.map_or_else(Html::default, |r| svg::interval(r, row.lo, row.hi, least)),
        n: count(row.n),
        p: optional(row.p),
        p_perm: optional(row.p_perm),
        q: optional(row.q),
        tone: tone(&row.verdict),
        verdict: words(&row.verdict),
    }
}

fn verdict_count(word: &str, n: u64, all: u64) -> VerdictCount {
    VerdictCount { tone: tone(word), word: words(word), n: count(n), share: percent(n, all), meaning: meaning(word) }
}

/// Returns a verdict as words.
fn words(verdict: &str) -> String {
    text::cut(verdict, 40).replace('_', " ")
}

fn tone(verdict: &str) -> &'static str {
    match verdict {
        SURVIVES => "good",
        "leverage" | "leak" | "unconfirmed" => "warn",
        _ => "plain",
    }
}

/// Returns what a verdict means.
fn meaning(verdict: &str) -> &'static str {
    match verdict {
        SURVIVES => "passes every guard: a finding",
        TOO_WEAK => "sure, but smaller than the minimum effect",
        "not_significant" => "cannot be told from chance",
        "too_few" => "not enough rows to say",
        "leverage" => "a few rows make it",
        "redundant" => "says again what a stronger pair says",
        "leak" => "so close to the target that it may contain it",
        "unconfirmed" => "a later period does not show it",
        _ => "",
    }
}

/// The columns of a step.
pub(super) struct ColumnsView {
    pub(super) step: Option<Html>,
    pub(super) summary: String,
    /// The first rows, and those behind a click.
    pub(super) first: Vec<ColumnView>,
    pub(super) more: Vec<ColumnView>,
    pub(super) rest: Option<String>,
    pub(super) left_out: Vec<LeftOutView>,
}

/// A row of the table of columns.
pub(super) struct ColumnView {
    pub(super) name: Html,
    pub(super) data_type: String,
    pub(super) bar: Html,
    pub(super) missing: String,
    pub(super) mean: String,
    pub(super) sd: String,
    pub(super) min: String,
    pub(super) max: String,
    pub(super) constant: bool,
}

/// A column that was not used.
pub(super) struct LeftOutView {
    pub(super) name: Html,
    pub(super) data_type: String,
    pub(super) reason: Html,
}

/// Rows of the table of columns before the rest is behind a click.
const FIRST_COLUMNS: usize = 25;

impl ColumnsView {
    pub(super) fn new(step: &StepData, record: &StepRecord, heading: Option<Html>, limits: &Limits) -> Option<Self> {
        let none = super::ColumnData::default();
        let columns = step.columns.as_ref().unwrap_or(&none);
        if columns.used.is_empty() && record.left_out.is_empty() {
            return None;
        }
        let mut first: Vec<ColumnView> = columns.used.iter().take(limits.columns).map(column_view).collect();
        let hidden = columns.n_used.saturating_sub(first.len() as u64);
        let more = first.split_off(first.len().min(FIRST_COLUMNS));
        let rest =
            (hidden > 0).then(|| format!("{} with fewer gaps in the table `columns` beside this report.", counted(hidden, "more column")));
        let left_out = record.left_out.iter().take(limits.names).map(|left| LeftOutView {
            name: name(&left.column, NAME_CHARS),
            data_type: text::cut(&left.data_type, 32),
            reason: text::marked(&left.reason, 200),
        });
        Some(Self { step: heading, summary: columns_summary(step, record), first, more, rest, left_out: left_out.collect() })
    }
}

fn columns_summary(step: &StepData, record: &StepRecord) -> String {
    let mut parts = Vec::new();
    if let Some(columns) = &step.columns {
        parts.push(match columns.n_with_nulls {
            0 => format!("{}, none with gaps.", counted(columns.n_used, "column")),
            gaps => format!("{} of {} {} gaps.", count(gaps), counted(columns.n_used, "column"), if gaps == 1 { "has" } else { "have" }),
        });
    }
    if let Some((low, high)) = step.pairs.as_ref().and_then(|pairs| pairs.n_range) {
        parts.push(if low == high {
            format!("Every pair stands on {}.", counted(low, "row"))
        } else {
            format!("A row counts for a pair where both are present: pairs stand on {} to {} rows.", count(low), count(high))
        });
    }
    if !record.left_out.is_empty() {
        parts.push(format!("{} left out.", counted(record.left_out.len() as u64, "column")));
    }
    parts.join(" ")
}

/// Writes a number of a column in its unit.
type Show = fn(f64) -> String;

fn column_view(row: &ColumnRow) -> ColumnView {
    let (place, spread): (Show, Show) = match row.data_type.as_str() {
        "date" => (text::date, text::span),
        "timestamp" => (text::instant, text::span),
        _ => (value, value),
    };
    let number = |v: Option<f64>, shown: Show| v.map_or_else(|| "-".to_owned(), shown);
    let whole = row.n.saturating_add(row.nulls);
    ColumnView {
        name: name(&row.name, NAME_CHARS),
        data_type: text::cut(&row.data_type, 24),
        bar: svg::present(row.n, row.nulls, HATCH),
        missing: if row.nulls == 0 { "0".to_owned() } else { format!("{} ({})", count(row.nulls), percent(row.nulls, whole)) },
        mean: number(row.mean, place),
        sd: number(row.sd, spread),
        min: number(row.min, place),
        max: number(row.max, place),
        constant: row.constant,
    }
}
