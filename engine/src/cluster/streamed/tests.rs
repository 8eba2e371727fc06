//! Rows that come block by block are parted as those of a table in memory.

use super::super::tests::{OPTIONS, blobs, table};
use super::super::{Choice, Method, cluster};
use super::*;

/// Rows that are read block by block, and may fail at one.
struct File {
    all: Table,
    n_used: usize,
    fails_at: usize,
}

impl RowBlocks for File {
    fn n_rows(&self) -> usize {
        self.all.n_rows
    }

    fn n_used(&self) -> usize {
        self.n_used
    }

    fn n_columns(&self) -> usize {
        self.all.columns.len()
    }

    fn block(&self, at: usize) -> io::Result<Table> {
        if at == self.fails_at {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let rows: Vec<usize> = (at * BLOCK_ROWS..((at + 1) * BLOCK_ROWS).min(self.all.n_rows)).collect();
        let cells = |column: &TableColumn| rows.iter().map(|&row| column.numbers().expect("numbers")[row]).collect::<Vec<f64>>();
        let column =
            |column: &TableColumn| TableColumn { name: column.name.clone(), cells: Cells::Numbers(Float64Array::from(cells(column))) };
        Ok(Table { n_rows: rows.len(), columns: self.all.columns.iter().map(column).collect() })
    }
}

fn file(n: usize) -> File {
    let (mut columns, truth) = blobs(n, 3, 3, 6.0, 4);
    columns.push(truth.iter().map(|blob| (*blob % 2) as f64).collect());
    for row in (5..n).step_by(997) {
        columns[row % 3][row] = f64::NAN;
    }
    // A whole block lacks a cell.
    if n > 2 * BLOCK_ROWS {
        columns[1][BLOCK_ROWS..2 * BLOCK_ROWS].fill(f64::NAN);
    }
    File { all: table(&columns), n_used: 3, fails_at: usize::MAX }
}

fn streamed(file: &File, options: &ClusterOptions) -> io::Result<Option<Clustering>> {
    let mut places = Vec::new();
    let mut next = 0;
    let mut emit = |first: usize, n_rows: usize, of_block: Vec<Place>| {
        assert_eq!(first, next);
        next += n_rows;
        places.extend(of_block);
        Ok(())
    };
    let found = cluster_rows(file, options, &Backend::cpu(), &|| false, &mut emit)?;
    Ok(found.map(|found| Clustering { places, ..found }))
}

#[test]
fn rows_of_a_file_are_parted_as_a_table_in_memory() {
    let cases = [
        (1000, Scale::Robust, None),
        (2000, Scale::Unit, None),
        (BLOCK_ROWS, Scale::None, None),
        (150_000, Scale::Standard, None),
        (150_000, Scale::None, Some(10_000)),
        (150_000, Scale::Unit, Some(BLOCK_ROWS)),
        (DRAWN + 40_000, Scale::Robust, None),
    ];
    for (n, scale, batch_size) in cases {
        let is_weighted = scale == Scale::None;
        let (method, k) = (Method::KMeans, Choice::Given(3));
        let options = ClusterOptions { method, k, bootstrap: 3, restarts: 2, scale, is_weighted, batch_size, ..OPTIONS };
        let file = file(n);
        let mut used = file.all.clone();
        let others = Table { n_rows: n, columns: used.columns.split_off(3) };
        let due = cluster(&used, &others, &options, &Backend::cpu(), &|| false).expect("rows have all cells");
        let found = streamed(&file, &options).expect("blocks can be read").expect("rows have all cells");
        assert_eq!((found.segments.len(), found.n_rows), (3, n as u64));
        assert!(found.segments.iter().map(|segment| segment.n).sum::<u64>() + found.n_incomplete == n as u64);
        // Fewer rows are looked at again where they are in memory.
        let found = Clustering { n_settled: due.n_settled, ..found };
        assert!(found == due, "{n} rows: {:?} and {:?}", found.segments, due.segments);
        // A wrong twin: one cell of the last block.
        let mut cells = file.all.columns[0].numbers().expect("numbers").to_vec();
        cells[n - 1] += 1.0;
        let mut wrong = File { all: file.all.clone(), ..file };
        wrong.all.columns[0].cells = Cells::Numbers(Float64Array::from(cells));
        assert!(streamed(&wrong, &options).expect("blocks can be read") != Some(due));
    }
}

#[test]
fn segments_of_a_file_are_split_as_those_of_a_table() {
    let options =
        ClusterOptions { method: Method::KMeans, k: Choice::Given(2), levels: 2, most_parts: 3, bootstrap: 3, restarts: 2, ..OPTIONS };
    let file = file(DRAWN + 20_000);
    let mut used = file.all.clone();
    let others = Table { n_rows: used.n_rows, columns: used.columns.split_off(3) };
    let due = cluster(&used, &others, &options, &Backend::cpu(), &|| false).expect("rows have all cells");
    let found = streamed(&file, &options).expect("blocks can be read").expect("rows have all cells");
    let found = Clustering { n_settled: due.n_settled, ..found };
    assert!(found == due, "{:?} and {:?}", found.splits, due.splits);
    // Two of three blobs are one segment, and rows that were not drawn find their blob too.
    let n: Vec<u64> = found.splits.iter().map(|split| split.n).collect();
    assert!(n.len() == 4 && n[1] + n[2] == n[0] && n[0] + n[3] + found.n_incomplete == found.n_rows, "{:?}", found.splits);
    let path = |row: usize| found.places[row].finer.path(found.places[row].segment.expect("k-means leaves no row out"));
    let is_whole = |at: usize| found.places[at].n_missing == 0;
    let same = (0..found.places.len() - 3).filter(|&at| is_whole(at) && is_whole(at + 3));
    let right = same.clone().filter(|&at| path(at) == path(at + 3)).count();
    assert!(right * 100 >= same.count() * 99, "{right}");
}

#[test]
fn no_structure_is_no_structure_in_a_file_too() {
    let (columns, _) = blobs(3000, 1, 1, 0.0, 7);
    let options = ClusterOptions { method: Method::KMeans, k: Choice::Auto(4), ..OPTIONS };
    let found = streamed(&File { all: table(&columns), n_used: 1, fails_at: usize::MAX }, &options).expect("blocks can be read");
    let found = found.expect("rows have all cells");
    assert_eq!((found.segments.len(), found.places.len(), found.model.n_noise), (0, 0, 3000));
    assert_eq!(found.model.columns[0].spread.n_present(), 3000);
}

#[test]
fn a_block_that_cannot_be_read_ends_the_work() {
    let options = ClusterOptions { method: Method::KMeans, k: Choice::Given(3), bootstrap: 0, ..OPTIONS };
    let failed = streamed(&File { fails_at: 1, ..file(80_000) }, &options);
    assert_eq!(failed.map_err(|error| error.kind()).err(), Some(io::ErrorKind::StorageFull));
}

#[test]
fn a_draw_is_the_head_of_a_shuffled_order() {
    for (n, most) in [(10, 3), (1000, 999), (5000, 100)] {
        // By the book: the first places of all rows, shuffled.
        let mut stream = crate::stats::Stream::new(9, Purpose::Drawn, 0, 0);
        let mut rows: Vec<usize> = (0..n).collect();
        (0..most).for_each(|at| rows.swap(at, at + stream.below((n - at) as u32) as usize));
        rows.truncate(most);
        rows.sort_unstable();
        assert_eq!(stability::draw(n, most, 9, Purpose::Drawn), rows);
    }
}
