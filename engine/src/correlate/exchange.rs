//! Which rows may change places under the null, and new orders of them.
//!
//! ```text
//! rows        any order within a stratum                         exchangeable rows
//! time        a shift in a circle within a stratum               keeps what neighbours share
//! entities    entities of the same size change places as a whole keeps what an entity's rows share
//! ```
//!
//! Random   Philox, keyed by (seed, column, turn); how many words an order takes does not depend on the words, so that a device
//!          draws the same ones: [`Exchange::draws`].

use std::collections::HashMap;
use std::ops::Range;

use super::ranks;
use crate::stats::{Stream, WORDS};

/// Which rows may change places: units of rows within a stratum.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exchange {
    /// Rows, those of a unit side by side and units of a stratum side by side, in order of time where there is one.
    order: Vec<u32>,
    strata: Vec<Stratum>,
    /// Whether units of a stratum are shifted in a circle, which keeps their neighbours, or put into any order.
    shifts: bool,
}

/// A stratum, and where its words of a stream start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Draw {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) unit: usize,
    pub(super) first_word: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Stratum {
    /// Where it ends in the order.
    end: usize,
    /// Rows of each of its units.
    unit: usize,
}

impl Exchange {
    /// Rows change places within a stratum (rows with the same `stratum`), and are shifted in a circle in order of `time`
    /// where there is one. Rows without a time come last.
    pub(super) fn new(n_rows: usize, stratum: Option<&[u32]>, time: Option<&[f64]>) -> Self {
        let mut order = in_time(n_rows, time);
        let of = |row: u32| stratum.map_or(0, |stratum| stratum[row as usize]);
        order.sort_by_key(|&row| of(row));
        let ends = ends(&order, |a, b| of(a) == of(b));
        let strata = ends.into_iter().map(|end| Stratum { end, unit: 1 }).collect();
        Self { order, strata, shifts: time.is_some() }
    }

    /// Whole entities (rows with the same `entity`) change places with others of the same size and stratum; within an entity
    /// rows stay in order of time. An entity of a size of its own keeps its place.
    pub(super) fn of_entities(entity: &[u32], stratum: Option<&[u32]>, time: Option<&[f64]>) -> Self {
        let mut order = in_time(entity.len(), time);
        let of = |row: u32| (stratum.map_or(0, |stratum| stratum[row as usize]), entity[row as usize]);
        let mut sizes: HashMap<(u32, u32), usize> = HashMap::new();
        for &row in &order {
            *sizes.entry(of(row)).or_default() += 1;
        }
        let key = |row: u32| (of(row).0, sizes[&of(row)], of(row).1);
        order.sort_by_key(|&row| key(row));
        let ends = ends(&order, |a, b| (key(a).0, key(a).1) == (key(b).0, key(b).1));
        let strata = ends.into_iter().map(|end| Stratum { end, unit: key(order[end - 1]).1 }).collect();
        Self { order, strata, shifts: false }
    }

    /// Returns whether rows are shifted in a circle, in order of time.
    pub(super) const fn shifts(&self) -> bool {
        self.shifts
    }

    /// Returns how many units there are, and how many have no other unit to change places with.
    pub(super) fn n_units(&self) -> (usize, usize) {
        let (mut start, mut n, mut alone) = (0, 0, 0);
        for stratum in &self.strata {
            let units = (stratum.end - start) / stratum.unit.max(1);
            start = stratum.end;
            n += units;
            alone += usize::from(units == 1);
        }
        (n, alone)
    }

    /// Calls `body` with the rows of each unit, by position in the order; single rows come `block` at a time.
    pub(super) fn each_unit(&self, block: usize, mut body: impl FnMut(Range<usize>)) {
        let mut start = 0;
        for stratum in &self.strata {
            let unit = if stratum.unit > 1 { stratum.unit } else { block.max(1) };
            (start..stratum.end).step_by(unit).for_each(|first| body(first..(first + unit).min(stratum.end)));
            start = stratum.end;
        }
    }

    /// Returns cells in the order of the strata.
    pub(super) fn arranged<T: Copy>(&self, cells: &[T]) -> Vec<T> {
        self.order.iter().map(|&row| cells[row as usize]).collect()
    }

    /// Returns, for each stratum, where it starts and ends, the rows of a unit, and the first word of the stream that it takes.
    pub(super) fn draws(&self) -> Vec<Draw> {
        let (mut start, mut word) = (0, 0);
        let draw = |&Stratum { end, unit }: &Stratum| {
            let n_units = (end - start) / unit;
            let n_words = if self.shifts { 1 } else { n_units.saturating_sub(1) };
            // Rows take whole refills of the stream, shifts and entities single words.
            let step = if self.shifts || unit > 1 || n_words == 0 { 1 } else { WORDS };
            let first_word = usize::next_multiple_of(word, step);
            word = (first_word + n_words).next_multiple_of(step);
            let draw = Draw { start, end, unit, first_word };
            start = end;
            draw
        };
        self.strata.iter().map(draw).collect()
    }

    /// Gives arranged cells a new order.
    #[allow(clippy::cast_possible_truncation, reason = "a table has fewer than 2^32 rows")]
    pub(super) fn shuffle<T: Copy>(&self, cells: &mut [T], stream: &mut Stream) {
        let mut start = 0;
        for &Stratum { end, unit } in &self.strata {
            let cells = &mut cells[start..end];
            start = end;
            if self.shifts {
                cells.rotate_left(stream.below(cells.len().max(1) as u32) as usize);
            } else if unit == 1 {
                shuffle_rows(cells, stream);
            } else {
                for last in (1..cells.len() / unit).rev() {
                    let other = stream.below(last as u32 + 1) as usize;
                    if other < last {
                        let (head, tail) = cells.split_at_mut(last * unit);
                        head[other * unit..][..unit].swap_with_slice(&mut tail[..unit]);
                    }
                }
            }
        }
    }
}

/// Puts cells into any order, each with the same probability (Fisher and Yates), words of the stream 64 at a time.
#[allow(clippy::cast_possible_truncation, reason = "a table has fewer than 2^32 rows")]
fn shuffle_rows<T: Copy>(cells: &mut [T], stream: &mut Stream) {
    let mut last = cells.len().saturating_sub(1);
    while last > 0 {
        for word in stream.words() {
            // `last` is below the length, and the other place is not beyond it.
            let other = ((u64::from(*word) * (last as u64 + 1)) >> 32) as usize;
            cells.swap(last, other);
            last -= 1;
            if last == 0 {
                break;
            }
        }
    }
}

/// Returns the rows in order of time, or as they are.
fn in_time(n_rows: usize, time: Option<&[f64]>) -> Vec<u32> {
    time.map_or_else(|| (0..u32::try_from(n_rows).expect("a table has fewer than 2^32 rows")).collect(), ranks::order)
}

/// Returns where runs of rows end that belong together.
fn ends(order: &[u32], together: impl Fn(u32, u32) -> bool) -> Vec<usize> {
    (1..=order.len()).filter(|&at| at == order.len() || !together(order[at - 1], order[at])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Purpose;

    /// An order by the words that `draws` names alone, as a device makes it.
    fn by_draws(exchange: &Exchange, cells: &mut [u32], stream: &Stream) {
        let word = |at: usize| {
            let mut stream = stream.clone();
            (0..at).for_each(|_| _ = stream.word());
            u64::from(stream.word())
        };
        let below = |at: usize, n: usize| usize::try_from((word(at) * n as u64) >> 32).expect("a place");
        for Draw { start, end, unit, first_word } in exchange.draws() {
            if exchange.shifts() {
                cells[start..end].rotate_left(below(first_word, end - start));
                continue;
            }
            for (step, last) in (1..(end - start) / unit).rev().enumerate() {
                let other = below(first_word + step, last + 1);
                (0..unit).for_each(|row| cells.swap(start + last * unit + row, start + other * unit + row));
            }
        }
    }

    #[test]
    fn draws_name_the_words_that_an_order_takes() {
        let stratum: Vec<u32> = (0..300).map(|row| row / 7 % 5).collect();
        let alone: Vec<u32> = (0..300).map(|row| if row < 3 { row } else { 3 + row % 2 }).collect();
        let entity: Vec<u32> = (0..300).map(|row| row * row / 700).collect();
        let time: Vec<f64> = (0..300).map(|row| f64::from(row * 7 % 300)).collect();
        let exchanges = [
            Exchange::new(300, None, None),
            Exchange::new(300, Some(&stratum), None),
            Exchange::new(300, Some(&alone), None),
            Exchange::new(300, None, Some(&time)),
            Exchange::new(300, Some(&stratum), Some(&time)),
            Exchange::of_entities(&entity, None, None),
            Exchange::of_entities(&entity, Some(&stratum), Some(&time)),
        ];
        for (at, exchange) in exchanges.iter().enumerate() {
            let stream = Stream::new(9, Purpose::Permutation, 4, 2);
            let (mut due, mut found): (Vec<u32>, Vec<u32>) = ((0..300).collect(), (0..300).collect());
            exchange.shuffle(&mut due, &mut stream.clone());
            by_draws(exchange, &mut found, &stream);
            assert_eq!(found, due, "exchange {at}");
            by_draws(exchange, &mut found, &Stream::new(9, Purpose::Permutation, 4, 3));
            assert_ne!(found, due, "exchange {at}: another turn");
        }
    }
}
