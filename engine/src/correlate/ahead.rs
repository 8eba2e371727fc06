//! Pairs that are settled while screening is still under way.
//!
//! Settling needs the cells again, and reading a file a second time costs as much as screening it. What the first block
//! shows of a pair tells which pairs are likely to be chosen in the end: those are settled block by block beside the
//! products. A pair that was taken without need costs one dot product a block; a chosen pair that was not foreseen is
//! settled in a pass of its own. The values are the same either way, so that nothing depends on the forecast.

use std::collections::HashMap;

use super::CorrelateOptions;
use super::moments::Moments;
use super::settle::{Settled, SettledPair, Spare};
use crate::columns::Block;

/// Standard errors of the first block's r within which the final r is expected.
const REACH: f64 = 4.5;

/// The forecast and what came of it.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    pairs: Vec<(u32, u32)>,
    /// The first block's moments, so that they are not computed twice.
    first: Option<Moments>,
    settled: HashMap<(u32, u32), SettledPair>,
    pub(super) spare: Spare,
}

impl Ahead {
    /// Plans by the moments of the first block.
    pub(super) fn plan(&mut self, first: Moments, options: &CorrelateOptions) {
        self.pairs = likely(&first, options);
        self.first = Some(first);
    }

    /// Returns the moments of a block where they are known.
    pub(super) fn known(&self, block: &Block) -> Option<Moments> {
        self.first.clone().filter(|_| block.index == 0)
    }

    /// Settles the likely pairs over one block.
    pub(super) fn absorb(&self, block: &Block) -> Settled {
        Settled::of(block, &self.pairs, &self.spare)
    }

    /// Takes what the pass settled.
    pub(super) fn take(&mut self, settled: Settled) {
        self.first = None;
        self.settled = self.pairs.drain(..).zip(settled.into_pairs()).collect();
    }

    /// Returns the moments of a pair that was settled.
    pub(super) fn get(&self, (i, j): (usize, usize)) -> Option<SettledPair> {
        let at = |column: usize| u32::try_from(column).ok();
        self.settled.get(&(at(i)?, at(j)?)).copied()
    }
}

/// Returns the pairs that a first block says may be chosen; none where it cannot tell.
#[allow(clippy::cast_precision_loss, reason = "a rough figure")]
fn likely(first: &Moments, options: &CorrelateOptions) -> Vec<(u32, u32)> {
    let sizes: Vec<((usize, usize), f64, f64)> = (first.compared())
        .filter_map(|(i, j)| {
            let pair = first.pair(i, j);
            let r = pair.r()?.abs();
            Some(((i, j), r, REACH * (1.0 - r * r) / (pair.n.saturating_sub(3).max(1) as f64).sqrt()))
        })
        .collect();
    let mut least = options.min_effect;
    if let Some(top) = options.top.filter(|&top| 0 < top && top < sizes.len()) {
        let mut lowest: Vec<f64> = sizes.iter().map(|(_, r, reach)| r - reach).collect();
        least = least.min(*lowest.select_nth_unstable_by(top - 1, |a, b| b.total_cmp(a)).1);
    }
    let mut pairs = Vec::new();
    for ((i, j), r, reach) in &sizes {
        if r + reach >= least
            && let (Ok(i), Ok(j)) = (u32::try_from(*i), u32::try_from(*j))
        {
            pairs.push((i, j));
        }
    }
    // Where most pairs are likely the block has told nothing, and a second pass for the right ones is cheaper.
    if pairs.len() * 2 > sizes.len().max(64) { Vec::new() } else { pairs }
}
