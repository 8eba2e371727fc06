//! The contract of a pass: absorb blocks, merge partials, end the pass.
//!
//! ```text
//! block -> absorb -> Partial      pure; in any order, on any thread, on GPU or CPU
//!          merge(Partial, later)  associative up to rounding; folded here in block order, so that bytes repeat
//!          end_pass -> Again | Done
//! ```
//!
//! Laws     the answer does not depend on how rows were cut into batches, on the number of threads, or on the order in
//!          which partials arrive. Partials survive a round trip through bytes.
//! Memory   a window of blocks, their partials, and the folded partial; early partials wait in a bounded buffer.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use rayon::prelude::*;

use crate::EngineError;
use crate::backend::Backend;
use crate::columns::{Block, BlockBuilder, Stored};

/// What a pass reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Columns, by index into the source's schema, in the order of the blocks.
    pub columns: Vec<usize>,
    /// Their names.
    pub names: Vec<String>,
    /// What blocks store of each cell.
    pub stored: Stored,
    /// Rows of a canonical block.
    pub rows_per_block: usize,
    /// Blocks that are absorbed at once: as many as keep all threads busy, never more than memory allows.
    pub window: usize,
}

/// What one or more blocks say, in a form that can be merged, kept and sent.
pub trait Partial: Sized + Send {
    /// Adds what later blocks say. Associative up to rounding.
    #[must_use]
    fn merge(self, later: Self) -> Self;
    /// Returns the state as bytes: a version byte, then little-endian numbers.
    fn to_bytes(&self) -> Vec<u8>;
    /// Reads what `to_bytes` wrote.
    ///
    /// # Errors
    /// `Partial` for bytes of another version or length.
    fn from_bytes(bytes: &[u8]) -> Result<Self, EngineError>;
}

/// Whether another pass is needed.
#[derive(Debug)]
pub enum Next<T> {
    /// The analysis wants to read the source again, as `pass` now says.
    Again,
    /// The result.
    Done(T),
}

/// An algorithm in one or more passes over blocks.
pub trait Analysis: Sync {
    /// What a pass accumulates.
    type Partial: Partial;
    /// What comes out in the end.
    type Output;
    /// Returns what the coming pass reads.
    fn pass(&self) -> Pass;
    /// Looks at the first block of a pass before any is absorbed: to plan by it, never to add it up.
    fn look(&mut self, _first: &Block, _on: &Backend) {}
    /// Returns what one block says. Pure: same block, same partial, wherever it is computed.
    fn absorb(&self, block: &Block, on: &Backend) -> Self::Partial;
    /// Takes the folded partial of the pass, none where the source has no rows.
    ///
    /// # Errors
    /// When the data do not allow the analysis.
    fn end_pass(&mut self, folded: Option<Self::Partial>) -> Result<Next<Self::Output>, EngineError>;
}

/// Folds partials in block order, whatever order they arrive in.
#[derive(Debug)]
pub struct Fold<P> {
    next: u64,
    folded: Option<P>,
    early: BTreeMap<u64, P>,
}

impl<P> Default for Fold<P> {
    fn default() -> Self {
        Self { next: 0, folded: None, early: BTreeMap::new() }
    }
}

impl<P: Partial> Fold<P> {
    /// Takes the partial of block `index`.
    pub fn push(&mut self, index: u64, partial: P) {
        self.early.insert(index, partial);
        while let Some(partial) = self.early.remove(&self.next) {
            self.next += 1;
            self.folded = Some(match self.folded.take() {
                Some(folded) => folded.merge(partial),
                None => partial,
            });
        }
    }

    /// Returns the fold of all partials, none where none came.
    ///
    /// # Panics
    /// When a block in the middle never came: that is a bug of the caller.
    #[must_use]
    pub fn finish(self) -> Option<P> {
        assert!(self.early.is_empty(), "block {} never came", self.next);
        self.folded
    }
}

/// A pass under way: takes columns, absorbs every full window of blocks, folds.
pub struct PassRun<'a, A: Analysis> {
    analysis: &'a mut A,
    on: &'a Backend,
    window: usize,
    looked: bool,
    builder: BlockBuilder,
    waiting: Vec<Block>,
    fold: Fold<A::Partial>,
}

impl<'a, A: Analysis> PassRun<'a, A> {
    fn new(analysis: &'a mut A, on: &'a Backend, pass: &Pass) -> Self {
        Self {
            analysis,
            on,
            window: pass.window.max(1),
            looked: false,
            builder: BlockBuilder::new(pass.names.clone(), pass.stored, pass.rows_per_block),
            waiting: Vec::new(),
            fold: Fold::default(),
        }
    }

    /// Lets `next` decode rows into the block under construction, as [`BlockBuilder::fill`]; returns the rows that came.
    ///
    /// # Errors
    /// Those of `next`, and of columns that are no numbers.
    pub fn fill<E: From<EngineError>>(
        &mut self,
        next: impl FnOnce(usize, &crate::columns::Put<'_>) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let rows = self.builder.fill(next)?;
        self.queue_full();
        Ok(rows)
    }

    /// Takes a batch whose columns are those of the pass.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        // A block at a time: a batch may hold all rows of a table.
        let mut start = 0;
        while start < batch.num_rows() {
            start += self.builder.fill_from(batch, start)?;
            self.queue_full();
        }
        Ok(())
    }

    fn queue_full(&mut self) {
        self.waiting.extend(self.builder.take_full());
        if self.waiting.len() == self.window {
            self.absorb();
        }
    }

    fn absorb(&mut self) {
        let blocks = std::mem::take(&mut self.waiting);
        if let Some(first) = blocks.first() {
            self.look(first);
        }
        let (analysis, on) = (&*self.analysis, self.on);
        let partials: Vec<A::Partial> = match &blocks[..] {
            [block] => vec![analysis.absorb(block, on)],
            blocks => blocks.par_iter().map(|block| analysis.absorb(block, on)).collect(),
        };
        for (block, partial) in blocks.into_iter().zip(partials) {
            self.fold.push(block.index, partial);
            self.builder.recycle(block);
        }
    }

    fn look(&mut self, first: &Block) {
        if !std::mem::replace(&mut self.looked, true) {
            self.analysis.look(first, self.on);
        }
    }

    fn finish(mut self) -> Option<A::Partial> {
        self.waiting.extend(self.builder.finish());
        self.absorb();
        self.fold.finish()
    }
}

/// Runs an analysis to its end; `read` streams the columns of a pass, from the first row to the last, into it.
///
/// # Errors
/// Those of `read` and of the analysis.
pub fn run<A: Analysis, E: From<EngineError>>(
    analysis: &mut A,
    on: &Backend,
    mut read: impl FnMut(&Pass, &mut PassRun<'_, A>) -> Result<(), E>,
) -> Result<A::Output, E> {
    loop {
        let pass = analysis.pass();
        let folded = {
            let mut under_way = PassRun::new(analysis, on, &pass);
            read(&pass, &mut under_way)?;
            under_way.finish()
        };
        if let Next::Done(output) = analysis.end_pass(folded)? {
            return Ok(output);
        }
    }
}

/// Runs an analysis over batches in memory.
///
/// # Errors
/// Those of the analysis.
pub fn run_on_batches<A: Analysis>(analysis: &mut A, on: &Backend, batches: &[RecordBatch]) -> Result<A::Output, EngineError> {
    run(analysis, on, |pass, under_way| {
        for batch in batches {
            let columns = batch.project(&pass.columns).map_err(|error| EngineError::Partial(error.to_string()))?;
            under_way.push(&columns)?;
        }
        Ok(())
    })
}
