//! Tables of any size, part by part, no two of which are alike.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;

use crate::common::Job;

/// Bytes of the cells of a part, about.
const PART_BYTES: u64 = 4 << 20;
/// The same of a wide one: its row group holds more rows than are read at a time.
const WIDE_PART_BYTES: u64 = 32 << 20;
/// Columns of a wide table.
const N_WIDE: usize = 200;

/// The parts of one table that are there.
pub(crate) struct Tables<'a> {
    job: &'a Job,
    kind: &'static str,
    files: Vec<String>,
    random: Random,
    n_rows: i64,
}

impl<'a> Tables<'a> {
    pub(crate) fn new(job: &'a Job, kind: &'static str) -> Self {
        Self { job, kind, files: Vec::new(), random: Random(7), n_rows: 0 }
    }

    /// Returns the bytes of the cells of a part, about.
    pub(crate) fn part_bytes(&self) -> u64 {
        if self.kind == "wide" { WIDE_PART_BYTES } else { PART_BYTES }
    }

    /// Returns the first parts, and makes those that are not there yet.
    pub(crate) fn files(&mut self, n: u64) -> Vec<String> {
        let n = usize::try_from(n).unwrap();
        while self.files.len() < n {
            let batch = self.part();
            let name = format!("part-{:03}.parquet", self.files.len());
            let mut writer = ArrowWriter::try_new(File::create(self.job.path(&name)).unwrap(), batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            self.files.push(name);
        }
        self.files[..n].to_vec()
    }

    fn part(&mut self) -> RecordBatch {
        let first = self.n_rows;
        let (n, columns) = match self.kind {
            "numbers" => self.numbers(first),
            "wide" => self.wide(first),
            "sales" => self.sales(),
            "texts" => self.texts(first),
            _ => self.people(first),
        };
        self.n_rows += n as i64;
        RecordBatch::try_from_iter(columns).unwrap()
    }

    /// Four heaps in many columns.
    fn wide(&mut self, first: i64) -> (usize, Vec<(String, ArrayRef)>) {
        let n = WIDE_PART_BYTES as usize / (8 * N_WIDE);
        let heaps: Vec<usize> = (0..n).map(|_| self.random.below(4)).collect();
        let mut column = |at: usize| -> ArrayRef {
            let heap = |heap: &usize| if at < 4 { 5.0 * (heap * (at + 1) % 4) as f64 } else { 0.0 };
            Arc::new(Float64Array::from_iter_values(heaps.iter().map(|of| heap(of) + self.random.normal())))
        };
        let columns: Vec<(String, ArrayRef)> = (1..N_WIDE).map(|at| (format!("c{at}"), column(at))).collect();
        (n, std::iter::once(("id".to_owned(), ids(first, n))).chain(columns).collect())
    }

    /// Four heaps in 14 columns, two of which go together.
    fn numbers(&mut self, first: i64) -> (usize, Vec<(String, ArrayRef)>) {
        let n = PART_BYTES as usize / (16 * 8);
        let heaps: Vec<usize> = (0..n).map(|_| self.random.below(4)).collect();
        let mut columns: Vec<(String, ArrayRef)> = vec![("id".to_owned(), ids(first, n))];
        let mut shared: Vec<f64> = Vec::new();
        for at in 0..14 {
            let mut cells: Vec<f64> =
                heaps.iter().map(|heap| self.random.normal() + if at < 4 { 5.0 * (heap * (at + 1) % 4) as f64 } else { 0.0 }).collect();
            if at == 5 {
                shared.clone_from(&cells);
            } else if at == 6 {
                cells.iter_mut().zip(&shared).for_each(|(cell, other)| *cell += other);
            }
            columns.push((format!("c{at}"), Arc::new(Float64Array::from(cells))));
        }
        let shops: Vec<&str> = heaps.iter().map(|heap| ["north", "south", "east", "west"][*heap]).collect();
        columns.push(("shop".to_owned(), Arc::new(StringArray::from(shops))));
        (n, columns)
    }

    fn sales(&mut self) -> (usize, Vec<(String, ArrayRef)>) {
        let n = PART_BYTES as usize / 28;
        let random = &mut self.random;
        let customers: Int64Array = (0..n).map(|_| Some(random.below(60_000) as i64)).collect();
        let times = TimestampMicrosecondArray::from_iter_values(
            (0..n).map(|_| 1_600_000_000_000_000 + 1_000_000 * random.below(50_000_000) as i64),
        );
        let amounts: Float64Array = (0..n).map(|_| Some(random.below(10_000) as f64 / 100.0)).collect();
        let categories = StringArray::from_iter_values((0..n).map(|_| ["food", "books", "toys"][random.below(3)]));
        (
            n,
            vec![
                ("customer".to_owned(), Arc::new(customers)),
                ("time".to_owned(), Arc::new(times)),
                ("amount".to_owned(), Arc::new(amounts)),
                ("category".to_owned(), Arc::new(categories)),
            ],
        )
    }

    fn texts(&mut self, first: i64) -> (usize, Vec<(String, ArrayRef)>) {
        let n = PART_BYTES as usize / 420;
        let mut texts: Vec<String> = Vec::with_capacity(n);
        for at in 0..n {
            // One of ten is a copy of another with a word more.
            let text = if at % 10 == 9 {
                format!("{} {}", texts[self.random.below(at)], self.random.word())
            } else {
                (0..60).map(|_| self.random.word()).collect::<Vec<_>>().join(" ")
            };
            texts.push(text);
        }
        (n, vec![("id".to_owned(), ids(first, n)), ("text".to_owned(), Arc::new(StringArray::from(texts)))])
    }

    fn people(&mut self, first: i64) -> (usize, Vec<(String, ArrayRef)>) {
        let n = PART_BYTES as usize / 84;
        let random = &mut self.random;
        let mut columns: [Vec<String>; 7] = Default::default();
        for at in 0..n {
            let is_copy = at % 20 == 19;
            let cells = if is_copy {
                // The same person, with a slip in the street.
                let of = random.below(at);
                let mut cells = std::array::from_fn::<String, 6, _>(|column| columns[column + 1][of].clone());
                cells[3].push('s');
                cells
            } else {
                let year = 1940 + random.below(60);
                [
                    ["anna", "bert", "clara", "david", "emma", "felix", "greta", "hans"][random.below(8)].to_owned(),
                    random.word(),
                    format!("{year}-{:02}-{:02}", 1 + random.below(12), 1 + random.below(28)),
                    format!("{}street {}", random.word(), random.below(200)),
                    (10_000 + random.below(90_000)).to_string(),
                    (1_000_000_000 + random.below(1_000_000_000)).to_string(),
                ]
            };
            columns[0].push(["north", "south"][random.below(2)].to_owned());
            for (column, cell) in columns[1..].iter_mut().zip(cells) {
                column.push(cell);
            }
        }
        let names = ["shop", "first_name", "surname", "birth", "street", "postcode", "phone"];
        let cells = columns.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef);
        let of_people = names.into_iter().map(str::to_owned).zip(cells);
        (n, std::iter::once(("id".to_owned(), ids(first, n))).chain(of_people).collect())
    }
}

fn ids(first: i64, n: usize) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(first..first + n as i64))
}

/// The generator of Steele, Lea and Flood (2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Nearly normal: a sum of uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.next() >> 11) as f64 / (1_u64 << 53) as f64).sum::<f64>() - 6.0
    }

    /// One of 8,000 words.
    fn word(&mut self) -> String {
        const FIRST: &[u8] = b"bcdfghklmnprstvwxzjq";
        const THEN: &[u8] = b"aeiou";
        let mut at = self.below(8_000);
        let mut word = String::new();
        for _ in 0..3 {
            word.push(FIRST[at % 20] as char);
            word.push(THEN[at % 5] as char);
            at /= 20;
        }
        word
    }
}
