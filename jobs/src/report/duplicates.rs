//! Which records are one: the tables `verdict`, `comparisons`, `pairs`, `duplicate_classes` and `golden` that `dedupe` and `link` write.

use std::collections::BTreeMap;
use std::path::Path;

use super::data::StepData;
use super::reasons::{self, Ends, ExplainedPair, ExplainedView, WeakEntity, WeakView};
use super::tables::{Batch, TableError, each_batch, each_batch_of};
use super::text::{self, Html, count, counted, name};

/// Compared columns kept for each step; the table beside the report has them all.
const KEPT: usize = 40;
/// Bars of the histogram of probabilities.
const N_BARS: usize = 20;
/// Entity sizes with a line of their own.
const SIZES: usize = 6;
/// Pairs near the cut that are shown.
const AT_THE_BORDER: usize = 8;
/// Bits at which a bar is full.
const FULL_BITS: f64 = 20.0;

/// What a compared column was found to say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ComparedColumn {
    /// Its name.
    pub column: String,
    /// What it holds.
    pub content: String,
    /// Share of matches and of other pairs whose cells are equal.
    pub equal: [f64; 2],
    /// Weights of equal and of quite different cells (bits).
    pub bits: [f64; 2],
    /// The column beside which it counts.
    pub beside: Option<String>,
}

/// A pair near the cut.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BorderPair {
    /// Both records, by the `id` or the row.
    pub ends: [String; 2],
    /// Its score.
    pub score: f64,
    /// Whether they are one entity.
    pub is_one: bool,
}

/// The records of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DuplicateData {
    /// `records`, `text`, `exact` or `edges`.
    pub method: String,
    /// `resolved`, `too_few` or `no_duplicates`; empty where the step writes none.
    pub verdict: String,
    /// Records and entities.
    pub n_records: u64,
    /// See above.
    pub n_entities: u64,
    /// Probability from which records are one.
    pub threshold: f64,
    /// Precision and recall that the probabilities expect, or the answers of people, each with both ends of its interval.
    pub expected: [Option<[f64; 3]>; 2],
    /// Pairs that people have looked at.
    pub n_checked: u64,
    /// Compared columns in the order of the table.
    pub columns: Vec<ComparedColumn>,
    /// All of them.
    pub n_columns: u64,
    /// Pairs by probability, from 0 to 1.
    pub scores: [u64; N_BARS],
    /// Pairs nearest to the cut, the nearest first.
    pub border: Vec<BorderPair>,
    /// Entities that hang together least, the weakest first.
    pub weakest: Vec<WeakEntity>,
    /// Pairs that were to be explained.
    pub explained: Vec<ExplainedPair>,
    /// Rows and entities of each cause of duplicates.
    pub classes: Vec<(String, u64, u64)>,
    /// Entities by how many records they have.
    pub sizes: BTreeMap<u64, u64>,
}

/// Reads the tables of a step; empty where there are none.
pub(super) fn read(dir: &Path) -> Result<DuplicateData, TableError> {
    let mut data = DuplicateData::default();
    each_batch(&dir.join("verdict.parquet"), |batch| verdict(batch, &mut data))?;
    each_batch(&dir.join("comparisons.parquet"), |batch| comparisons(batch, &mut data))?;
    each_batch(&dir.join("pairs.parquet"), |batch| {
        batch.require(&["score"])?;
        let score = batch.number("score");
        for p in (0..batch.n_rows()).filter_map(|row| score.at(row)) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a probability falls into one of the bars")]
            let bar = ((p.clamp(0.0, 1.0) * N_BARS as f64) as usize).min(N_BARS - 1);
            data.scores[bar] += 1;
        }
        border(batch, &mut data);
        Ok(())
    })?;
    each_batch(&dir.join("weakest.parquet"), |batch| reasons::weakest(batch, &mut data.weakest))?;
    each_batch(&dir.join("explained.parquet"), |batch| reasons::explained(batch, &mut data.explained))?;
    each_batch(&dir.join("duplicate_classes.parquet"), |batch| {
        batch.require(&["class", "n_rows", "n_entities"])?;
        let (class, n_rows, n_entities) = (batch.text("class"), batch.count("n_rows"), batch.count("n_entities"));
        let line = |row: usize| (class.owned(row), n_rows.at(row).unwrap_or(0), n_entities.at(row).unwrap_or(0));
        data.classes.extend((0..batch.n_rows()).map(line).filter(|(_, n_rows, _)| *n_rows > 0));
        Ok(())
    })?;
    each_batch_of(&dir.join("golden.parquet"), "cluster_size", |batch| {
        batch.require(&["cluster_size"])?;
        let size = batch.count("cluster_size");
        for size in (0..batch.n_rows()).filter_map(|row| size.at(row)) {
            *data.sizes.entry(size).or_default() += 1;
        }
        Ok(())
    })?;
    Ok(data)
}

/// Keeps the pairs that are nearest to the cut.
fn border(batch: &Batch<'_>, data: &mut DuplicateData) {
    let score = batch.number("score");
    let (ends, is_one) = (Ends::of(batch), batch.flag("same_entity"));
    let threshold = data.threshold;
    let distance = |score: f64| (score - threshold).abs();
    for row in 0..batch.n_rows() {
        let Some(score) = score.at(row) else { continue };
        if data.border.len() == AT_THE_BORDER && data.border.last().is_some_and(|last| distance(last.score) <= distance(score)) {
            continue;
        }
        let at = data.border.partition_point(|kept| distance(kept.score) <= distance(score));
        data.border.insert(at, BorderPair { ends: ends.at(row), score, is_one: is_one.at(row) == Some(true) });
        data.border.truncate(AT_THE_BORDER);
    }
}

fn verdict(batch: &Batch<'_>, data: &mut DuplicateData) -> Result<(), String> {
    batch.require(&["method", "verdict", "n_records", "n_entities"])?;
    if batch.n_rows() > 0 {
        data.method = batch.text("method").owned(0);
        data.verdict = batch.text("verdict").owned(0);
        data.n_records = batch.count("n_records").at(0).unwrap_or(0);
        data.n_entities = batch.count("n_entities").at(0).unwrap_or(0);
        data.threshold = batch.number("threshold").at(0).unwrap_or(0.5);
        data.n_checked = batch.count("n_checked").at(0).unwrap_or(0);
        data.expected = ["expected_precision", "expected_recall"].map(|name| {
            let [lo, hi] = ["lo", "hi"].map(|end| batch.number(&format!("{name}_{end}")).at(0));
            Some([batch.number(name).at(0)?, lo?, hi?])
        });
    }
    Ok(())
}

fn comparisons(batch: &Batch<'_>, data: &mut DuplicateData) -> Result<(), String> {
    batch.require(&["column", "level", "m", "u", "weight_bits"])?;
    let (column, content, beside) = (batch.text("column"), batch.text("content"), batch.text("beside"));
    let (level, m, u, bits) = (batch.count("level"), batch.number("m"), batch.number("u"), batch.number("weight_bits"));
    for row in 0..batch.n_rows() {
        let weight = bits.at(row).unwrap_or(0.0);
        if level.at(row) == Some(0) {
            data.n_columns += 1;
            data.columns.push(ComparedColumn {
                column: column.owned(row),
                content: content.owned(row),
                equal: [m.at(row).unwrap_or(0.0), u.at(row).unwrap_or(0.0)],
                bits: [weight; 2],
                beside: beside.at(row).map(str::to_owned),
            });
        } else if let Some(last) = data.columns.last_mut() {
            // Levels come in order: the last one is that of cells that are quite different.
            last.bits[1] = weight;
        }
    }
    Ok(())
}

impl DuplicateData {
    /// Returns the sentence of the first screen.
    pub(super) fn sentence(&self) -> String {
        let more = self.n_records.saturating_sub(self.n_entities);
        let of = format!("{} are of {}", counted(self.n_records, "record"), counted_entities(self.n_entities));
        match self.verdict.as_str() {
            "no_duplicates" => format!("{}: none is there twice.", counted(self.n_records, "record")),
            "too_few" => format!("{of}. Too few are alike for their weights to mean much."),
            _ => format!(
                "{of}: {} one more of something that is there already.",
                if more == 1 { "1 is".to_owned() } else { format!("{} are", count(more)) }
            ),
        }
    }
}

fn counted_entities(n: u64) -> String {
    if n == 1 { "1 entity".to_owned() } else { format!("{} entities", count(n)) }
}

/// The records of a step as charts and a table.
pub(super) struct DuplicatesView {
    pub(super) step: Option<Html>,
    pub(super) expected: Option<String>,
    pub(super) is_of_records: bool,
    pub(super) columns: Vec<ColumnView>,
    pub(super) rest: Option<String>,
    /// Heading, what is to be known, and the histogram; none where every pair is a copy.
    pub(super) scores: Option<(&'static str, &'static str, Html)>,
    pub(super) border: Vec<(Html, Html, String, &'static str)>,
    pub(super) weakest: Vec<WeakView>,
    pub(super) explained: Vec<ExplainedView>,
    pub(super) classes: Vec<(&'static str, String, String)>,
    pub(super) sizes: Vec<(String, String, String)>,
}

/// One compared column.
pub(super) struct ColumnView {
    pub(super) column: Html,
    pub(super) content: String,
    pub(super) bar: Html,
    pub(super) bits: [String; 2],
    pub(super) equal: [String; 2],
    pub(super) beside: Html,
}

impl DuplicatesView {
    /// Draws the records of a step.
    pub(super) fn new(step: &StepData, heading: Option<Html>, most: usize) -> Option<Self> {
        let data = &step.duplicates;
        if data.verdict.is_empty() {
            return None;
        }
        let columns: Vec<ColumnView> = data.columns.iter().take(most.min(KEPT)).map(column).collect();
        let percent = |share: [f64; 3]| {
            let [value, lo, hi] = share.map(|share| 100.0 * share);
            format!("{value:.1}\u{a0}% ({lo:.1} to {hi:.1})")
        };
        let (by, unchecked) = match data.n_checked {
            0 => ("By its own probabilities".to_owned(), " Nobody has checked: review.csv takes answers."),
            n => (format!("By what people said of {}", counted(n, "pair")), ""),
        };
        let expected = data.expected[0].zip(data.expected[1]).map(|(precision, recall)| {
            format!(
                "{by} {} of the pairs inside entities match, and {} of the matching pairs that were looked at are inside.{unchecked}",
                percent(precision),
                percent(recall)
            )
        });
        Some(Self {
            step: heading,
            expected,
            rest: text::rest(data.n_columns, columns.len(), "more column", "comparisons"),
            columns,
            is_of_records: data.method == "records",
            scores: scores(data),
            border: data.border.iter().filter(|_| data.method != "exact").map(border_line).collect(),
            weakest: data.weakest.iter().map(WeakView::new).collect(),
            explained: data.explained.iter().map(ExplainedView::new).collect(),
            classes: data.classes.iter().map(|(class, rows, entities)| (cause(class), count(*rows), count(*entities))).collect(),
            sizes: sizes(&data.sizes),
        })
    }
}

/// The histogram of scores, and what a score is.
fn scores(data: &DuplicateData) -> Option<(&'static str, &'static str, Html)> {
    let (heading, about, axis) = match data.method.as_str() {
        "records" => (
            "Pairs by probability",
            "Pairs of 1\u{a0}% or more; heights grow with the logarithm. Look at those near the dashed cut first.",
            "probability of a match",
        ),
        "text" => (
            "Pairs by similarity",
            "Every pair of texts at the threshold or above, none left to chance; heights grow with the logarithm.",
            "Jaccard similarity of shingles",
        ),
        "edges" => ("Pairs by score", "Pairs and scores as they were given; heights grow with the logarithm.", "score"),
        _ => return None,
    };
    Some((heading, about, histogram(&data.scores, data.threshold, axis)))
}

fn border_line(pair: &BorderPair) -> (Html, Html, String, &'static str) {
    let [a, b] = [0, 1].map(|end| name(&pair.ends[end], 40));
    (a, b, format!("{:.3}", pair.score), if pair.is_one { "one" } else { "apart" })
}

/// Says in words why rows are duplicates.
fn cause(class: &str) -> &'static str {
    match class {
        "copy_in_document" => "Copy of a row of the same document: may be meant",
        "copy_in_source" => "Copy of a row of the same source",
        "copy_across_sources" => "Copy of a row of another source",
        _ => "Nearly the same as another row",
    }
}

fn column(column: &ComparedColumn) -> ColumnView {
    let bits = |bits: f64| format!("{bits:+.1}").replace('-', "\u{2212}");
    let share = |share: f64| if share < 1e-4 { "< 0.01\u{a0}%".to_owned() } else { format!("{:.2}\u{a0}%", 100.0 * share) };
    ColumnView {
        column: name(&column.column, 40),
        content: text::cut(&column.content, 20),
        bar: bar(column.bits),
        bits: column.bits.map(bits),
        equal: column.equal.map(share),
        beside: column.beside.as_ref().map_or_else(|| Html("-".to_owned()), |beside| name(beside, 40)),
    }
}

/// A bar to the right for equal cells, to the left for different ones.
fn bar(bits: [f64; 2]) -> Html {
    const HALF: f64 = 60.0;
    let width = |bits: f64| HALF * (bits / FULL_BITS).clamp(0.0, 1.0);
    let (right, left) = (width(bits[0]), width(-bits[1]));
    Html(format!(
        "<svg class=\"apart\" viewBox=\"0 0 120 10\" width=\"120\" height=\"10\" aria-hidden=\"true\"><rect class=\"pos\" x=\"60\" y=\"1\" width=\"{right:.1}\" \
         height=\"8\"/><rect class=\"neg\" x=\"{:.1}\" y=\"1\" width=\"{left:.1}\" height=\"8\"/></svg>",
        HALF - left
    ))
}

/// Pairs by probability, with the cut; heights on a log scale, for most pairs are certain.
fn histogram(scores: &[u64; N_BARS], threshold: f64, axis: &str) -> Html {
    const WIDTH: f64 = 460.0;
    const HEIGHT: f64 = 110.0;
    let tall = height;
    let most = scores.iter().map(|n| tall(*n)).fold(f64::MIN_POSITIVE, f64::max);
    let step = WIDTH / N_BARS as f64;
    let mut out = format!(
        "<svg class=\"hist\" viewBox=\"0 0 {WIDTH} 150\" width=\"{WIDTH}\" height=\"150\" role=\"img\" aria-label=\"Pairs by {axis}\">"
    );
    for (at, n) in scores.iter().enumerate().filter(|(_, n)| **n > 0) {
        let height = HEIGHT * tall(*n) / most;
        let is_over = (at as f64 + 0.5) / N_BARS as f64 >= threshold;
        let (class, x, y) = (if is_over { "survive" } else { "other" }, at as f64 * step + 1.0, 16.0 + HEIGHT - height);
        out.push_str(&format!("<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>", step - 2.0));
        out.push_str(&format!(
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x + step / 2.0 - 1.0,
            y - 3.0,
            short(*n)
        ));
    }
    let cut = WIDTH * threshold.clamp(0.0, 1.0);
    out.push_str(&format!("<path class=\"limit\" d=\"M{cut:.1} 10V126\"/>"));
    for (x, anchor, label) in [(0.0, "start", "0"), (WIDTH / 2.0, "middle", axis), (WIDTH, "end", "1")] {
        out.push_str(&format!("<text class=\"tick\" x=\"{x}\" y=\"143\" text-anchor=\"{anchor}\">{label}</text>"));
    }
    out.push_str("</svg>");
    Html(out)
}

/// Height of a bar of so many pairs; 0 for none.
#[allow(clippy::cast_precision_loss, reason = "a height in pixels")]
fn height(n: u64) -> f64 {
    (1.0 + n as f64).ln()
}

/// A count in five letters.
fn short(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..10_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}M", n / 1_000_000),
    }
}

/// Lines of the table of sizes: records of an entity, entities, records in all.
fn sizes(sizes: &BTreeMap<u64, u64>) -> Vec<(String, String, String)> {
    let line = |label: String, n: u64, records: u64| (label, count(n), count(records));
    let mut out: Vec<_> = sizes.iter().take(SIZES).map(|(size, n)| line(count(*size), *n, size * n)).collect();
    let rest: Vec<(u64, u64)> = sizes.iter().skip(SIZES).map(|(size, n)| (*size, *n)).collect();
    if let (Some((first, _)), Some((last, _))) = (rest.first(), rest.last()) {
        let (n, records) = rest.iter().fold((0, 0), |(n, records), (size, of)| (n + of, records + size * of));
        out.push(line(format!("{} to {}", count(*first), count(*last)), n, records));
    }
    out
}
