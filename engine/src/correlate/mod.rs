//! Pearson correlation of every pair of columns.
//!
//! ```text
//! r(x, y) = sum (x - mx)(y - my) / sqrt(sum (x - mx)^2 sum (y - my)^2)      over rows where both are present
//! ```
//!
//! Shape    n rows x p columns in; p (p - 1) / 2 pairs out, or the best `top` of them.
//! Nulls    pairwise: a row counts for a pair when both cells are present; every pair reports its n. A column that is
//!          constant over a pair's rows gives no r: null, never NaN and never 0.
//! Numbers  each block is centred on its own means in f64; products run in f64, or in f32 on GPU or CPU; blocks are
//!          merged in f64 (Chan). In f64 the result is that of two passes in one. In f32
//!              |dr| <= (b + 4 + 2 n / b) 2^-24  <= 2e-5   worst case, b = 128 rows summed in registers, n rows of a block,
//!          and 1e-6 is what is seen and tested. So f32 screens: pairs that could be findings, that lie near a
//!          threshold or that a `top` list names are settled in f64 by one loop that does not know where the screening
//!          ran. The others carry the bound of 1e-6 and say so (`settled` is false).
//! Tests    p: Student's t with n - 2 degrees of freedom. Interval: Fisher's z. q: Benjamini and Hochberg over the pairs
//!          that could reach the level at all. Rows are taken as independent.
//! Cost     n p^2 / 2 multiply-adds. Memory: 160 bytes a pair from moments to table; where that passes half of the budget, passes over pairs of column
//!          groups (wide mode), which keep the best `top` pairs alone.
//! Absent   other coefficients, permutation nulls, groups, lags, weights: they need all rows in memory, see [`associate()`].

mod ahead;
mod associate;
mod bootstrap;
mod categories;
mod choose;
mod cpu;
#[cfg(test)]
mod definition;
mod distance;
mod effective;
mod exchange;
mod expand;
mod finish;
mod frame;
pub(crate) mod gpu;
pub mod gram;
mod guards;
pub(crate) mod kendall;
mod layout;
mod method;
mod moments;
mod pair;
mod partial;
mod permute;
pub(crate) mod permuted;
mod pictures;
mod plan;
mod power;
mod ranks;
mod settle;
mod simpson;
mod stat;
mod table;
#[cfg(test)]
mod tests;
mod weighted;
mod xi;

use arrow::datatypes::Schema;

use crate::EngineError;
use crate::analysis::{Analysis, Next, Partial, Pass};
use crate::backend::{Backend, Cost};
use crate::columns::{self, Block, Stored, Width};

use ahead::Ahead;
use choose::Screened;
use moments::{Compared, Moments};
use settle::Settled;

pub use associate::{AssociateOptions, associate, device_cost, likely_device_cost};
pub use finish::{Adjust, ColumnRow, Correlation, PairRow, Verdict};
pub use frame::{Frame, Roles};
pub use layout::Layout;
pub use method::{Method, MethodChoice};
pub use pictures::{Drawn, Grid, LevelBox, Picture, Pictures, Shares};
pub use plan::{affordable_permutations, affordable_rows};
pub use power::Power;
pub use simpson::{Simpson, Within};

/// How products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f64 while it costs little beside reading (up to 1,024 columns), else f32.
    #[default]
    Auto,
    /// f64 throughout, on the CPU.
    F64,
    /// f32 on GPU or CPU, findings settled in f64.
    F32,
}

impl Precision {
    /// Columns up to which `Auto` is f64: reading is then the larger part of the work.
    pub const AUTO_COLUMNS: usize = 1024;

    /// Returns the width of cells for so many columns.
    #[must_use]
    pub const fn width(self, n_columns: usize) -> Width {
        match self {
            Self::F64 => Width::F64,
            Self::Auto if n_columns <= Self::AUTO_COLUMNS => Width::F64,
            Self::Auto | Self::F32 => Width::F32,
        }
    }
}

/// What a correlation is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct CorrelateOptions {
    /// How products are computed.
    pub precision: Precision,
    /// Level of tests and intervals.
    pub alpha: f64,
    /// Smallest |r| that is worth a finding.
    pub min_effect: f64,
    /// Fewest rows that a pair is judged on.
    pub min_n: u64,
    /// How many of the best pairs to keep; all where absent, and 10,000 in wide mode.
    pub top: Option<usize>,
    /// So many of the first columns are targets: they are paired with the others alone. 0 pairs all with all.
    pub n_targets: usize,
    /// How p-values are adjusted over the family.
    pub adjust: Adjust,
    /// Bytes that the analysis may hold.
    pub memory_bytes: u64,
    /// Threads that share the work; changes the schedule, never the answer.
    pub threads: usize,
}

impl Default for CorrelateOptions {
    fn default() -> Self {
        Self {
            precision: Precision::Auto,
            alpha: 0.05,
            min_effect: 0.1,
            min_n: 30,
            top: None,
            n_targets: 0,
            adjust: Adjust::Bh,
            memory_bytes: 1 << 30,
            threads: rayon::current_num_threads(),
        }
    }
}

/// The pairs that wide mode keeps where `top` is absent.
const WIDE_TOP: usize = 10_000;

/// Bytes of a pair from its moments to its row in the table.
const BYTES_PER_PAIR: u64 = 160;

/// Bytes of a pair of two column groups in wide mode: its moments, and those of the block that is added to them.
const BYTES_PER_PAIR_AT_ONCE: u64 = 96;

/// The analysis: screening passes, then settling passes.
#[derive(Debug)]
pub struct Correlate {
    options: CorrelateOptions,
    columns: Vec<usize>,
    names: Vec<String>,
    width: Width,
    groups: Groups,
    screened: Screened,
    ahead: Ahead,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The position among the pairs of column groups.
    Screen(usize),
    /// Pairs are computed again in f64.
    Settle {
        /// The chunks that are still to be settled, the current one last.
        left: Vec<Chunk>,
        /// Whether these are the shaky pairs, after which the chosen ones follow.
        shaky: bool,
    },
}

/// Pairs that are settled in one pass.
#[derive(Debug)]
struct Chunk {
    /// Columns, by position among the columns of the analysis.
    columns: Vec<usize>,
    /// Pairs, by position among `columns`, and where each stands among the screened ones.
    pairs: Vec<(u32, u32)>,
    screened: Vec<usize>,
}

/// The column groups of wide mode: a single group where all pairs fit at once.
#[derive(Debug)]
struct Groups {
    n_columns: usize,
    /// Targets, in every pass; 0 pairs all with all.
    n_targets: usize,
    width: usize,
}

impl Groups {
    fn new(n_columns: usize, options: &CorrelateOptions) -> Self {
        let n_targets = options.n_targets.min(n_columns);
        let n_others = n_columns - n_targets;
        let n_pairs = if n_targets > 0 { n_targets * n_others } else { n_columns * (n_columns.max(1) - 1) / 2 };
        let mut width = n_others.max(1);
        if n_pairs as u64 * BYTES_PER_PAIR > options.memory_bytes / 2 {
            // Two groups at a time, or the targets and a group: few of these pairs are kept, and of the others the moments.
            let at_once = usize::try_from(options.memory_bytes / 4 / BYTES_PER_PAIR_AT_ONCE).unwrap_or(usize::MAX);
            let fits = at_once.checked_div(n_targets).unwrap_or_else(|| at_once.isqrt());
            width = width.min(fits.max(64).next_multiple_of(64));
        }
        Self { n_columns, n_targets, width }
    }

    const fn count(&self) -> usize {
        (self.n_columns - self.n_targets).div_ceil(self.width)
    }

    const fn wide(&self) -> bool {
        self.count() > 1
    }

    fn columns(&self, group: usize) -> std::ops::Range<usize> {
        let start = self.n_targets + group * self.width;
        start..(start + self.width).min(self.n_columns)
    }

    /// Returns the columns of a pass, and which of them are compared: the targets with each group, or each group with
    /// itself and then with every later one.
    fn pass(&self, at: usize) -> Option<(Vec<usize>, Compared)> {
        let n = self.count();
        if self.n_targets > 0 {
            let group = (0..n).nth(at)?;
            return Some(((0..self.n_targets).chain(self.columns(group)).collect(), Compared::FirstWithRest(self.n_targets)));
        }
        let (a, b) = (0..n).flat_map(|a| (a..n).map(move |b| (a, b))).nth(at)?;
        let first = self.columns(a);
        if a == b {
            return Some((first.collect(), Compared::All));
        }
        let n_first = first.len();
        Some((first.chain(self.columns(b)).collect(), Compared::FirstWithRest(n_first)))
    }
}

/// What a pass of this analysis accumulates.
#[derive(Debug, Clone, PartialEq)]
pub struct CorrelatePartial(State);

#[derive(Debug, Clone, PartialEq)]
enum State {
    Screen(Box<Moments>, Settled),
    Settle(Settled),
}

impl Correlate {
    /// Prepares the correlation of these columns of a source, given by index into its schema.
    ///
    /// # Errors
    /// When a column is no number, or fewer than two are left.
    pub fn new(schema: &Schema, columns: Vec<usize>, options: CorrelateOptions) -> Result<Self, EngineError> {
        for &column in &columns {
            columns::require(schema, column)?;
        }
        if columns.len() < 2 {
            return Err(EngineError::TooFewColumns { found: columns.len(), needed: 2 });
        }
        let names = columns.iter().map(|&column| schema.field(column).name().clone()).collect();
        let width = options.precision.width(columns.len());
        let groups = Groups::new(columns.len(), &options);
        let mut options = options;
        if groups.wide() {
            options.top = options.top.or(Some(WIDE_TOP));
        }
        let kept_bytes = options.top.unwrap_or(0) as u64 * 4 * BYTES_PER_PAIR;
        if groups.wide() && kept_bytes > options.memory_bytes / 2 {
            let what = format!("a `top` list of {} pairs", options.top.unwrap_or(0));
            return Err(EngineError::Budget { what, needed_bytes: kept_bytes * 2, budget_bytes: options.memory_bytes });
        }
        let screened = Screened::new(columns.len(), &options, width, groups.wide());
        Ok(Self { options, columns, names, width, groups, screened, ahead: Ahead::default(), stage: Stage::Screen(0) })
    }

    /// Returns how cells are stored while screening.
    #[must_use]
    pub const fn width(&self) -> Width {
        self.width
    }

    /// Returns whether the pairs do not fit at once, so that only the best are kept.
    #[must_use]
    pub const fn wide(&self) -> bool {
        self.groups.wide()
    }

    /// Returns what screening `n_rows` would cost; nothing on a GPU where it runs in f64.
    #[must_use]
    pub fn cost(&self, n_rows: u64) -> Option<Cost> {
        let (n, targets) = (self.columns.len(), self.groups.n_targets);
        let layout = if targets > 0 { Layout::new(targets, n - targets, false) } else { Layout::new(n, n, true) };
        (self.width == Width::F32).then(|| gram::cost(n_rows, &layout))
    }

    /// Returns the bytes that the analysis holds at the most.
    #[must_use]
    pub fn needed_bytes(&self) -> u64 {
        // In wide mode two groups of columns meet in a pass.
        let (n, compared) = match (self.groups.width, self.groups.n_targets) {
            (width, 0) if self.wide() => (2 * width, Compared::FirstWithRest(width)),
            (width, 0) => (width, Compared::All),
            (width, targets) => (targets + width, Compared::FirstWithRest(targets)),
        };
        let (stored, rows_per_block) = (self.stored(), columns::rows_per_block(n, self.width));
        let blocks = self.window(n, stored, rows_per_block) as u64 + 1;
        let kept = if self.wide() { self.options.top.unwrap_or(0).max(1000) as u64 * 8 * BYTES_PER_PAIR } else { 0 };
        let settled = if stored == Stored::NarrowAndRaw { (n * n / 4 * size_of::<settle::SettledPair>()) as u64 } else { 0 };
        columns::BlockBuilder::bytes(n, stored, rows_per_block) * blocks + (Moments::bytes(n, compared) + settled) * blocks + kept
    }

    /// Returns what screening stores of each cell: where pairs are settled beside it, the raw cells too.
    fn stored(&self) -> Stored {
        // Blocks of so few columns have the rows of a settling block, which the bytes of a pair depend on.
        let ahead = self.width == Width::F32 && !self.wide() && self.columns.len() <= settle::COLUMNS;
        if ahead { Stored::NarrowAndRaw } else { Stored::Deviations(self.width) }
    }

    fn compared(&self, at: usize) -> (Vec<usize>, Compared) {
        self.groups.pass(at).expect("the stage ends with the last pass")
    }

    /// Returns how many blocks are absorbed at once: enough for all threads, within an eighth of the memory.
    fn window(&self, n_columns: usize, stored: Stored, rows_per_block: usize) -> usize {
        // A block of many columns keeps all threads busy by itself.
        if n_columns >= 512 {
            return 1;
        }
        let block = columns::BlockBuilder::bytes(n_columns, stored, rows_per_block).max(1);
        let fit = usize::try_from(self.options.memory_bytes / 8 / block).unwrap_or(usize::MAX);
        self.options.threads.min(fit).max(1)
    }

    /// Returns the columns of the coming pass, by position among those of the analysis.
    fn positions(&self) -> Vec<usize> {
        match &self.stage {
            Stage::Screen(at) => self.compared(*at).0,
            Stage::Settle { left, .. } => left.last().map(|chunk| chunk.columns.clone()).unwrap_or_default(),
        }
    }

    fn end_screen(&mut self, at: usize, moments: &Moments) -> Next<Correlation> {
        let (positions, _) = self.compared(at);
        self.screened.take(moments, &positions);
        if self.groups.pass(at + 1).is_some() {
            self.stage = Stage::Screen(at + 1);
            return Next::Again;
        }
        self.settle(self.screened.shaky(), true)
    }

    /// Settles these of the screened pairs: those that were foreseen at once, the others in passes.
    fn settle(&mut self, wanted: Vec<usize>, shaky: bool) -> Next<Correlation> {
        let (mut known, mut values, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for at in wanted {
            match self.ahead.get(self.screened.columns_of(at)) {
                Some(pair) => {
                    known.push(at);
                    values.push(pair);
                }
                None => left.push(at),
            }
        }
        self.screened.settle(&known, values);
        self.settle_next(chunks(left, &self.screened), shaky)
    }

    /// Goes on to the next chunk; after the shaky pairs to the chosen ones, and after those to the end.
    fn settle_next(&mut self, left: Vec<Chunk>, shaky: bool) -> Next<Correlation> {
        if !left.is_empty() {
            self.stage = Stage::Settle { left, shaky };
            return Next::Again;
        }
        if shaky { self.settle(self.screened.choose(), false) } else { Next::Done(self.finish()) }
    }

    fn finish(&mut self) -> Correlation {
        let screened = std::mem::replace(&mut self.screened, Screened::new(0, &self.options, self.width, false));
        finish::finish(screened, &self.names, &self.options, self.width)
    }
}

/// Cuts the pairs to be settled into passes of at most `settle::COLUMNS` columns.
fn chunks(mut pairs: Vec<usize>, screened: &Screened) -> Vec<Chunk> {
    // By squares of columns: taken row by row, the pairs of a wide table would need a pass for every few rows.
    const SQUARE: usize = settle::COLUMNS / 2 - 1;
    pairs.sort_by_key(|&at| {
        let (i, j) = screened.columns_of(at);
        (i / SQUARE, j / SQUARE, at)
    });
    let mut chunks = Vec::new();
    let mut open: Option<(std::collections::BTreeMap<usize, u32>, Chunk)> = None;
    for at in pairs {
        let (i, j) = screened.columns_of(at);
        let (seen, chunk) = open.get_or_insert_with(|| (std::collections::BTreeMap::new(), Chunk::EMPTY));
        let mut place = |column: usize| {
            *seen.entry(column).or_insert_with(|| {
                chunk.columns.push(column);
                u32::try_from(chunk.columns.len() - 1).expect("a chunk has few columns")
            })
        };
        let pair = (place(i), place(j));
        chunk.pairs.push(pair);
        chunk.screened.push(at);
        if chunk.columns.len() + 2 > settle::COLUMNS {
            chunks.extend(open.take().map(|(_, chunk)| chunk));
        }
    }
    chunks.extend(open.map(|(_, chunk)| chunk));
    chunks
}

impl Chunk {
    const EMPTY: Self = Self { columns: Vec::new(), pairs: Vec::new(), screened: Vec::new() };
}

impl Analysis for Correlate {
    type Partial = CorrelatePartial;
    type Output = Correlation;

    fn pass(&self) -> Pass {
        let positions = self.positions();
        let (stored, rows_per_block) = match self.stage {
            Stage::Screen(_) => (self.stored(), columns::rows_per_block(positions.len(), self.width)),
            Stage::Settle { .. } => (Stored::Raw, settle::ROWS),
        };
        Pass {
            columns: positions.iter().map(|&at| self.columns[at]).collect(),
            names: positions.iter().map(|&at| self.names[at].clone()).collect(),
            stored,
            rows_per_block,
            window: self.window(positions.len(), stored, rows_per_block),
        }
    }

    fn look(&mut self, first: &Block, on: &Backend) {
        if let Stage::Screen(at) = self.stage
            && self.stored() == Stored::NarrowAndRaw
        {
            let compared = self.compared(at).1;
            self.ahead.plan(Moments::of(first, compared, on), &self.options);
        }
    }

    fn absorb(&self, block: &Block, on: &Backend) -> CorrelatePartial {
        CorrelatePartial(match &self.stage {
            Stage::Screen(at) => {
                let moments = self.ahead.known(block).unwrap_or_else(|| Moments::of(block, self.compared(*at).1, on));
                State::Screen(Box::new(moments), self.ahead.absorb(block))
            }
            Stage::Settle { left, .. } => {
                let pairs = left.last().map_or(&[][..], |chunk| &chunk.pairs);
                State::Settle(Settled::of(block, pairs, &self.ahead.spare))
            }
        })
    }

    fn end_pass(&mut self, folded: Option<CorrelatePartial>) -> Result<Next<Correlation>, EngineError> {
        let Some(CorrelatePartial(state)) = folded else {
            self.screened.take_nothing(self.groups.n_targets);
            return Ok(Next::Done(self.finish()));
        };
        match (std::mem::replace(&mut self.stage, Stage::Screen(0)), state) {
            (Stage::Screen(at), State::Screen(moments, ahead)) => {
                self.ahead.take(ahead);
                Ok(self.end_screen(at, &moments))
            }
            (Stage::Settle { mut left, shaky }, State::Settle(settled)) => {
                if let Some(chunk) = left.pop() {
                    self.screened.settle(&chunk.screened, settled.into_pairs());
                }
                Ok(self.settle_next(left, shaky))
            }
            _ => Err(EngineError::Partial("it belongs to another pass".to_owned())),
        }
    }
}

impl Partial for CorrelatePartial {
    fn merge(self, later: Self) -> Self {
        match (self.0, later.0) {
            (State::Screen(a, a_ahead), State::Screen(b, b_ahead)) => Self(State::Screen(Box::new(a.merge(*b)), a_ahead.merge(b_ahead))),
            (State::Settle(a), State::Settle(b)) => Self(State::Settle(a.merge(b))),
            (mine, _) => unreachable!("one pass gives one sort of partial, not another beside {mine:?}"),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            State::Screen(moments, ahead) => {
                let moments = moments.to_bytes();
                [vec![0], (moments.len() as u64).to_le_bytes().to_vec(), moments, ahead.to_bytes()].concat()
            }
            State::Settle(settled) => [vec![1], settled.to_bytes()].concat(),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, EngineError> {
        match bytes.split_first() {
            Some((0, rest)) => {
                let short = || EngineError::Partial("it ends too early".to_owned());
                let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
                let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|error| EngineError::Partial(error.to_string()))?;
                let (moments, ahead) = rest.split_at_checked(length).ok_or_else(short)?;
                Ok(Self(State::Screen(Box::new(Moments::from_bytes(moments)?), Settled::from_bytes(ahead)?)))
            }
            Some((1, rest)) => Settled::from_bytes(rest).map(|settled| Self(State::Settle(settled))),
            _ => Err(EngineError::Partial("it names no known sort".to_owned())),
        }
    }
}
