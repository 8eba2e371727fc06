//! What a step asks for: columns by their parts, coefficient, nulls.

use arrow::datatypes::Schema;
use gristmill_engine::columns::{self, is_text};
use gristmill_engine::correlate::{Adjust, CorrelateOptions, Method, MethodChoice, Precision};

use crate::manifest::LeftOut;
use crate::spec::{Spanned, StepSpec};

/// Smallest effect of a finding where the spec names none: |r| of a tenth, 1 % of shared variance.
const MIN_EFFECT: f64 = 0.1;

/// The columns of a step, by index into the schema of its input.
pub(super) struct Asked {
    /// Columns that are related: targets first.
    pub(super) used: Vec<usize>,
    /// How many of them are targets.
    pub(super) n_targets: usize,
    /// Columns whose values are strata.
    pub(super) within: Vec<usize>,
    /// Columns that are held fixed.
    pub(super) controls: Vec<usize>,
    /// Columns whose values are groups.
    pub(super) group_by: Vec<usize>,
    /// The column of weights.
    pub(super) weights: Option<usize>,
    /// The column of entities that vary independently.
    pub(super) cluster_by: Option<usize>,
    /// The column of time.
    pub(super) time: Option<usize>,
    /// Columns that cannot be used, with the reason.
    pub(super) left_out: Vec<LeftOut>,
    /// Which coefficient pairs get.
    pub(super) method: MethodChoice,
}

impl Asked {
    /// Reads a step against the schema of its input; columns that are not there are passed over, `check` has named them.
    pub(super) fn of(step: &StepSpec, schema: &Schema) -> Self {
        let method = method(step);
        let index = |column: &Spanned<String>| schema.column_with_name(&column.value).map(|(at, _)| at);
        let all = |key: &str| step.list(key).iter().filter_map(index).collect::<Vec<usize>>();
        let (targets, within, controls) = (all("target"), all("within"), all("controls"));
        let one = |column: &Option<Spanned<String>>| column.as_ref().and_then(index);
        let mut asked = Self {
            used: Vec::new(),
            n_targets: 0,
            within,
            controls,
            group_by: all("group_by"),
            weights: one(&step.weights),
            cluster_by: one(&step.cluster_by),
            time: one(&step.time),
            left_out: Vec::new(),
            method,
        };
        for &at in &targets {
            if asked.take(schema, at) {
                asked.n_targets += 1;
            }
        }
        for at in wanted(step, schema) {
            let has_a_part = asked.within.contains(&at)
                || asked.group_by.contains(&at)
                || [asked.weights, asked.cluster_by, asked.time].contains(&Some(at));
            let is_related = !has_a_part || is_named(step, schema.field(at).name());
            if !targets.contains(&at) && !asked.controls.contains(&at) && is_related {
                asked.take(schema, at);
            }
        }
        asked
    }

    /// Takes a column, or notes why not.
    fn take(&mut self, schema: &Schema, at: usize) -> bool {
        let field = schema.field(at);
        let usable = takes(self.method, field.data_type());
        if usable {
            self.used.push(at);
        } else {
            let reason = refusal(self.method);
            self.left_out.push(LeftOut { column: field.name().clone(), data_type: columns::type_words(field.data_type()), reason });
        }
        usable
    }

    /// Returns every column that has to be read: those that are related, then strata, controls, groups, weights, entities
    /// and time.
    pub(super) fn read(&self) -> Vec<usize> {
        let lists = self.used.iter().chain(&self.within).chain(&self.controls).chain(&self.group_by);
        lists.copied().chain(self.weights).chain(self.cluster_by).chain(self.time).collect()
    }

    /// Returns the positions, among those read, of columns whose values only have to be told apart: strata and entities.
    pub(super) fn keys(&self) -> Vec<usize> {
        let (first, n) = (self.used.len(), self.within.len());
        let entities = first + n + self.controls.len() + self.group_by.len() + usize::from(self.weights.is_some());
        (first..first + n).chain(self.cluster_by.map(|_| entities)).collect()
    }

    /// Returns how many times its columns the step may hold: ranks, permutations and bootstrap make copies of them, groups and
    /// the lags of many series too.
    pub(super) fn share_of_memory(&self, step: &StepSpec) -> u64 {
        // Where nobody says how many permutations there are, there are some if they are cheap.
        let copies = step.integer("permutations").is_none_or(|n| n > 0) || step.integer("bootstrap").is_some_and(|n| n > 0);
        let copies = copies || self.method == MethodChoice::One(Method::Spearman) || !self.controls.is_empty();
        let n_series_lags = if self.cluster_by.is_some() || !self.within.is_empty() { step.integers("lags").len() as u64 } else { 0 };
        (if copies { 4 } else { 2 }) + u64::from(!self.group_by.is_empty()) + 2 * n_series_lags
    }

    /// Returns whether the step asks for more than the streaming engine gives: all rows in memory are needed.
    pub(super) fn needs_memory(&self, step: &StepSpec) -> bool {
        let other_method = !matches!(self.method, MethodChoice::Auto | MethodChoice::One(Method::Pearson));
        let turns = |key: &str| step.integer(key).is_some_and(|n| n > 0);
        other_method
            || turns("permutations")
            || turns("bootstrap")
            || !self.within.is_empty()
            || !self.controls.is_empty()
            || !self.group_by.is_empty()
            || self.weights.is_some()
            || self.time.is_some()
    }
}

/// Returns whether a type can take part.
pub(super) fn takes(method: MethodChoice, data_type: &arrow::datatypes::DataType) -> bool {
    let (numbers, texts) = method.takes();
    numbers && columns::unit(data_type).is_some() || texts && is_text(data_type)
}

/// Says why a column of another type is left out.
pub(super) fn refusal(method: MethodChoice) -> String {
    let taken = match method.takes() {
        (true, true) => "numbers, booleans, dates, timestamps and texts",
        (true, false) => "numbers, booleans, dates and timestamps",
        (false, _) => "texts",
    };
    match method {
        MethodChoice::Auto => format!("`correlate` takes {taken}"),
        MethodChoice::One(method) => format!("`method = \"{}\"` takes {taken}", method.word()),
    }
}

/// Returns the coefficient that a step asks for.
pub(super) fn method(step: &StepSpec) -> MethodChoice {
    let word = step.text("method").unwrap_or("auto");
    match Method::ALL.into_iter().find(|method| method.word() == word) {
        Some(method) => MethodChoice::One(method),
        // Controls are held fixed, and weights are taken, among numbers alone.
        None if !step.list("controls").is_empty() || step.weights.is_some() => MethodChoice::One(Method::Pearson),
        None => MethodChoice::Auto,
    }
}

pub(super) fn is_named(step: &StepSpec, column: &str) -> bool {
    step.columns.iter().any(|named| named.value == column)
}

/// Returns the columns that the step asks for: those that it names, else all but the excluded and the id.
fn wanted(step: &StepSpec, schema: &Schema) -> Vec<usize> {
    let excluded = |name: &str| step.exclude.iter().any(|column| column.value == name);
    let is_id = |name: &str| step.id.as_ref().is_some_and(|id| id.value == name);
    let chosen = |name: &str| if step.columns.is_empty() { !is_id(name) } else { is_named(step, name) };
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(_, field)| chosen(field.name()) && !excluded(field.name())).map(|(at, _)| at).collect()
}

/// Returns the engine's options.
pub(super) fn options(step: &StepSpec, (alpha, memory_bytes): (f64, u64), n_targets: usize) -> CorrelateOptions {
    let precision = match step.text("precision") {
        Some("f64") => Precision::F64,
        Some("f32") => Precision::F32,
        _ => Precision::Auto,
    };
    CorrelateOptions {
        precision,
        alpha,
        min_effect: step.min_effect.unwrap_or(MIN_EFFECT),
        min_n: step.integer("min_n").and_then(|n| u64::try_from(n).ok()).unwrap_or(30),
        top: step.integer("top").and_then(|n| usize::try_from(n).ok()),
        n_targets,
        adjust: if step.text("adjust") == Some("by") { Adjust::By } else { Adjust::Bh },
        memory_bytes,
        threads: rayon::current_num_threads(),
    }
}
