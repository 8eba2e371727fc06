//! Rows that are the same, cell by cell.
//!
//! ```text
//! first reading:  cells -> normal form -> bytes of the row (arrow's row format) -> 128 bits of BLAKE3 -> classes of one hash
//! second reading: rows of a class of two or more -> their bytes, compared -> groups
//! ```
//!
//! What     the group of every row: rows whose cells are equal, after what does not count was taken away
//! Shape    24 bytes a row, and the bytes of one row of every class while they are compared; classes that do not fit wait for another reading
//! Nulls    null and NaN are missing; two missing cells are the same, and so are 0 and -0
//! Order    groups do not depend on the order of the rows, nor do their numbers

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use rayon::prelude::*;
use unicode_normalization::UnicodeNormalization;

use crate::columns::is_text;

/// What counts when two texts are compared; letter by letter where all of it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactOptions {
    /// Whether upper and lower case differ.
    pub case: bool,
    /// Whether white space at the ends counts, and how much of it lies between words.
    pub spaces: bool,
    /// Whether different code points for one character differ (NFKC takes them for one).
    pub unicode: bool,
}

/// Rows that are hashed together by one thread.
const AT_ONCE: usize = 2_048;

/// Turns cells into the bytes of rows.
struct Encoder {
    how: ExactOptions,
    converter: RowConverter,
}

impl Encoder {
    fn new(types: &[DataType], how: ExactOptions) -> Result<Self, ArrowError> {
        let fields = types.iter().map(|of| SortField::new(normal_type(of))).collect();
        Ok(Self { how, converter: RowConverter::new(fields)? })
    }

    fn rows(&self, columns: &[ArrayRef], from: usize, n: usize) -> Result<Rows, ArrowError> {
        let cells: Vec<ArrayRef> = columns.iter().map(|column| normal(&column.slice(from, n), self.how)).collect::<Result<_, _>>()?;
        self.converter.convert_columns(&cells)
    }

    /// Hands the rows of a block, part by part and side by side, to `each`.
    fn by_part<T: Send>(&self, columns: &[ArrayRef], each: impl Fn(usize, Rows) -> T + Sync) -> Result<Vec<T>, ArrowError> {
        let n = columns.first().map_or(0, Array::len);
        let starts: Vec<usize> = (0..n).step_by(AT_ONCE).collect();
        let part = |start: usize| Ok(each(start, self.rows(columns, start, AT_ONCE.min(n - start))?));
        starts.into_par_iter().map(part).collect()
    }
}

/// Returns the type that cells are compared as.
fn normal_type(of: &DataType) -> DataType {
    match of {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        of if is_text(of) => DataType::LargeUtf8,
        of => of.clone(),
    }
}

fn normal(cells: &ArrayRef, how: ExactOptions) -> Result<ArrayRef, ArrowError> {
    let cells = cast(cells, &normal_type(cells.data_type()))?;
    Ok(match cells.data_type() {
        DataType::Float64 => {
            let number = |x: Option<f64>| x.filter(|x| !x.is_nan()).map(|x| x + 0.0);
            Arc::new(cells.as_primitive::<Float64Type>().iter().map(number).collect::<arrow::array::Float64Array>())
        }
        DataType::LargeUtf8 if how != (ExactOptions { case: true, spaces: true, unicode: true }) => {
            let texts = cells.as_string::<i64>().iter();
            Arc::new(texts.map(|text| text.map(|text| normal_text(text, how))).collect::<LargeStringArray>())
        }
        _ => cells,
    })
}

fn normal_text(text: &str, how: ExactOptions) -> String {
    let text: String = if how.unicode { text.to_owned() } else { text.nfkc().collect() };
    let text = if how.case { text } else { text.to_lowercase() };
    if how.spaces { text } else { text.split_whitespace().collect::<Vec<_>>().join(" ") }
}

/// The hashes of all rows: what the first reading leaves.
pub struct RowHashes {
    encoder: Encoder,
    hashes: Vec<[u64; 2]>,
}

impl RowHashes {
    /// Returns no row yet, of columns of these types.
    ///
    /// # Errors
    /// When cells of a type cannot be compared.
    pub fn new(types: &[DataType], how: ExactOptions) -> Result<Self, ArrowError> {
        Ok(Self { encoder: Encoder::new(types, how)?, hashes: Vec::new() })
    }

    /// Adds rows: the same stretch of every column.
    ///
    /// # Errors
    /// When the cells are not of the types that were promised.
    pub fn absorb(&mut self, columns: &[ArrayRef]) -> Result<(), ArrowError> {
        let hash = |row: &[u8]| {
            let hash = blake3::hash(row);
            let half = |at: usize| u64::from_le_bytes(hash.as_bytes()[8 * at..8 * at + 8].try_into().expect("eight bytes are eight bytes"));
            [half(0), half(1)]
        };
        let hashes = self.encoder.by_part(columns, |_, rows| rows.iter().map(|row| hash(row.as_ref())).collect::<Vec<_>>())?;
        self.hashes.extend(hashes.into_iter().flatten());
        Ok(())
    }

    /// Returns how many rows there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Says whether there is no row.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Ends the first reading: rows of one hash are a class.
    #[must_use]
    pub fn classes(self, most_bytes: u64) -> RowClasses {
        let Self { encoder, hashes } = self;
        let mut order: Vec<u32> = (0..hashes.len() as u32).collect();
        order.par_sort_unstable_by_key(|row| (hashes[*row as usize], *row));
        let mut class = vec![ALONE; hashes.len()];
        let mut n_classes = 0;
        for same in order.chunk_by(|a, b| hashes[*a as usize] == hashes[*b as usize]).filter(|same| same.len() > 1) {
            for row in same {
                class[*row as usize] = n_classes;
            }
            n_classes += 1;
        }
        let is_done = vec![false; n_classes as usize];
        RowClasses { encoder, order, class, is_done, variant: BTreeMap::new(), held: BTreeMap::new(), held_bytes: 0, most_bytes, at: 0 }
    }
}

/// Class of a row whose hash no other has.
const ALONE: u32 = u32::MAX;

/// Rows of one hash, whose bytes are compared in a second reading.
pub struct RowClasses {
    encoder: Encoder,
    /// Rows by hash.
    order: Vec<u32>,
    class: Vec<u32>,
    is_done: Vec<bool>,
    /// Which of several different rows of one hash a row is, where it is not the first.
    variant: BTreeMap<u32, u32>,
    /// The different rows of the classes that are being compared.
    held: BTreeMap<u32, Vec<Box<[u8]>>>,
    held_bytes: u64,
    most_bytes: u64,
    at: usize,
}

impl RowClasses {
    /// Says whether the rows must be read (again).
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_done.contains(&false)
    }

    /// Compares the rows of a block with those of their classes.
    ///
    /// # Errors
    /// When the cells are not of the types that were promised.
    pub fn absorb(&mut self, columns: &[ArrayRef]) -> Result<(), ArrowError> {
        let (at, class, is_done) = (self.at, &self.class, &self.is_done);
        let wanted = self.encoder.by_part(columns, |start, rows| {
            let is_wanted = |row: u32| class[row as usize] != ALONE && !is_done[class[row as usize] as usize];
            let numbered = rows.iter().enumerate().map(|(place, row)| ((at + start + place) as u32, row));
            numbered
                .filter(|(row, _)| is_wanted(*row))
                .map(|(row, bytes)| (row, Box::from(bytes.as_ref())))
                .collect::<Vec<(u32, Box<[u8]>)>>()
        })?;
        self.at += columns.first().map_or(0, Array::len);
        for (row, bytes) in wanted.into_iter().flatten() {
            let class = self.class[row as usize];
            let is_full = self.held_bytes + bytes.len() as u64 > self.most_bytes && !self.held.is_empty();
            if is_full && !self.held.contains_key(&class) {
                continue;
            }
            let variants = self.held.entry(class).or_default();
            match variants.iter().position(|beside| *beside == bytes) {
                Some(0) => {}
                Some(variant) => drop(self.variant.insert(row, variant as u32)),
                None => {
                    if !variants.is_empty() {
                        self.variant.insert(row, variants.len() as u32);
                    }
                    self.held_bytes += bytes.len() as u64 + 64;
                    variants.push(bytes);
                }
            }
        }
        Ok(())
    }

    /// Ends a reading.
    pub fn end_pass(&mut self) {
        for class in std::mem::take(&mut self.held).into_keys() {
            self.is_done[class as usize] = true;
        }
        self.held_bytes = 0;
        self.at = 0;
    }

    /// Returns the group of every row, numbered from 0 in the order of their hashes, and how many there are.
    #[must_use]
    pub fn groups(&self) -> (Vec<u32>, usize) {
        let mut group = vec![0; self.order.len()];
        let mut n = 0;
        let mut number: BTreeMap<u32, u32> = BTreeMap::new();
        let mut last = ALONE;
        for &row in &self.order {
            let class = self.class[row as usize];
            if class == ALONE || class != last {
                number.clear();
                last = class;
            }
            let variant = self.variant.get(&row).copied().unwrap_or(0);
            group[row as usize] = if class == ALONE { n } else { *number.entry(variant).or_insert(n) };
            n = n.max(group[row as usize] + 1);
        }
        (group, n as usize)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringArray};

    use super::*;

    const LETTER_BY_LETTER: ExactOptions = ExactOptions { case: true, spaces: true, unicode: true };

    fn columns(names: &[Option<&str>], prices: &[Option<f64>]) -> Vec<ArrayRef> {
        vec![Arc::new(StringArray::from(names.to_vec())), Arc::new(Float64Array::from(prices.to_vec()))]
    }

    fn hashes(columns: &[ArrayRef], how: ExactOptions) -> RowHashes {
        let mut hashes = RowHashes::new(&[DataType::Utf8, DataType::Float64], how).expect("texts and numbers can be compared");
        hashes.absorb(columns).expect("cells are of these types");
        hashes
    }

    /// Groups and how often the rows were read for them.
    fn groups(mut classes: RowClasses, columns: &[ArrayRef]) -> (Vec<u32>, usize, usize) {
        let mut passes = 0;
        while classes.is_open() {
            classes.absorb(columns).expect("cells are of these types");
            classes.end_pass();
            passes += 1;
        }
        let (group, n) = classes.groups();
        (group, n, passes)
    }

    /// Says for every two rows whether they are one.
    fn together(group: &[u32]) -> Vec<bool> {
        group.iter().flat_map(|one| group.iter().map(move |other| one == other)).collect()
    }

    #[test]
    fn missing_cells_and_zeros_of_either_sign_are_the_same() {
        let cells = columns(
            &[Some("a"), Some("a"), None, None, Some("b"), Some("b"), Some("")],
            &[Some(f64::NAN), None, Some(0.0), Some(-0.0), Some(1.0), Some(2.0), Some(0.0)],
        );
        let (group, n, passes) = groups(hashes(&cells, LETTER_BY_LETTER).classes(1 << 20), &cells);
        assert_eq!((n, passes), (5, 1));
        assert_eq!((group[0], group[2]), (group[1], group[3]));
        assert!(group[4] != group[5] && group[2] != group[6]);
    }

    #[test]
    fn rows_of_one_hash_are_told_apart_by_their_bytes() {
        let names: Vec<String> = (0..300).map(|row| format!("name {}", row % 70)).collect();
        let cells = columns(&names.iter().map(|name| Some(name.as_str())).collect::<Vec<_>>(), &vec![Some(1.0); 300]);
        let honest = hashes(&cells, LETTER_BY_LETTER);
        let mut colliding = hashes(&cells, LETTER_BY_LETTER);
        for hash in &mut colliding.hashes {
            *hash = [hash[0] % 3, 0];
        }
        let (group, n, _) = groups(honest.classes(1 << 20), &cells);
        assert_eq!(n, 70);
        let (again, n, _) = groups(colliding.classes(1 << 20), &cells);
        assert_eq!(n, 70);
        assert_eq!(together(&again), together(&group));
        // Without the second reading they would be three.
        let mut unread = hashes(&cells, LETTER_BY_LETTER);
        for hash in &mut unread.hashes {
            *hash = [hash[0] % 3, 0];
        }
        assert_eq!(unread.classes(1 << 20).groups().1, 3);
    }

    #[test]
    fn what_does_not_fit_is_compared_in_another_reading() {
        let names: Vec<String> = (0..400).map(|row| format!("name {}", row % 100)).collect();
        let cells = columns(&names.iter().map(|name| Some(name.as_str())).collect::<Vec<_>>(), &vec![None; 400]);
        let all = groups(hashes(&cells, LETTER_BY_LETTER).classes(1 << 20), &cells);
        let tight = groups(hashes(&cells, LETTER_BY_LETTER).classes(2_000), &cells);
        assert_eq!(all.2, 1);
        assert!(tight.2 > 2, "{} readings", tight.2);
        assert_eq!((tight.0, tight.1), (all.0, all.1));
    }
}
