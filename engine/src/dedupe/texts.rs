//! Many texts in one piece of memory.

use std::ops::Index;

use rayon::prelude::*;

/// Texts, one after another: their letters and 8 bytes each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    letters: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Texts {
    /// Adds a text.
    pub fn push(&mut self, text: &str) {
        self.letters.push_str(text);
        self.ends.push(self.letters.len());
    }

    /// Returns how many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the bytes that they hold.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.letters.capacity() + size_of::<usize>() * self.ends.capacity()
    }

    /// Returns each in turn.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|at| &self[at])
    }

    /// Returns each in turn, by all threads.
    pub fn par_iter(&self) -> impl IndexedParallelIterator<Item = &str> {
        (0..self.len()).into_par_iter().map(|at| &self[at])
    }

    /// Returns the last one.
    #[must_use]
    pub fn last(&self) -> Option<&str> {
        self.len().checked_sub(1).map(|at| &self[at])
    }

    /// Returns where a text is, of texts in ascending order.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<usize> {
        let (mut at, mut end) = (0, self.len());
        while at < end {
            let middle = usize::midpoint(at, end);
            if &self[middle] < text {
                at = middle + 1;
            } else {
                end = middle;
            }
        }
        (at < self.len() && &self[at] == text).then_some(at)
    }

    /// Returns their places in ascending order of the texts, equal ones by place.
    #[must_use]
    pub(super) fn order(&self) -> Vec<u32> {
        // The first letters settle most comparisons without a look at the text.
        let mut order: Vec<(u64, u32)> = self.par_iter().enumerate().map(|(at, text)| (first_letters(text), at as u32)).collect();
        order.par_sort_unstable_by(|one, other| {
            one.0.cmp(&other.0).then_with(|| self[one.1 as usize].cmp(&self[other.1 as usize])).then(one.1.cmp(&other.1))
        });
        order.into_iter().map(|(_, at)| at).collect()
    }

    /// Returns a text for each, as `form` writes it.
    pub(super) fn map(&self, form: impl Fn(&str, &mut String) + Sync) -> Self {
        /// Texts that a thread takes at a time.
        const AT_ONCE: usize = 16_384;
        let of_part = |from: usize| {
            let mut part = Self::default();
            for at in from..(from + AT_ONCE).min(self.len()) {
                form(&self[at], &mut part.letters);
                part.ends.push(part.letters.len());
            }
            part
        };
        let parts: Vec<Self> = (0..self.len()).into_par_iter().step_by(AT_ONCE).map(of_part).collect();
        let mut all = Self {
            letters: String::with_capacity(parts.iter().map(|part| part.letters.len()).sum()),
            ends: Vec::with_capacity(self.len()),
        };
        for part in parts {
            let before = all.letters.len();
            all.letters.push_str(&part.letters);
            all.ends.extend(part.ends.iter().map(|end| before + end));
        }
        all
    }
}

/// The first eight bytes, so that what comes first in the alphabet is less.
fn first_letters(text: &str) -> u64 {
    let mut first = [0; 8];
    let n = text.len().min(8);
    first[..n].copy_from_slice(&text.as_bytes()[..n]);
    u64::from_be_bytes(first)
}

impl Index<usize> for Texts {
    type Output = str;

    #[inline]
    fn index(&self, at: usize) -> &str {
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.letters[from..self.ends[at]]
    }
}
