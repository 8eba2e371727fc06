//! Which segments lie near one another: their centres joined two by two, those first that cost the least (Ward's linkage).
//!
//! ```text
//! height(A, B) = sqrt(2 |A| |B| / (|A| + |B|)) |a - b|      |A| rows, a centre in scaled units
//! centre(A B)  = (|A| a + |B| b) / (|A| + |B|)
//! ```
//!
//! The heights are those that scipy's `ward` gives the same rows, were each at the centre of its segment. Heights never fall from one
//! link to the next, but for rounding.
//!
//! Shape    k centres with rows in, k - 1 links out, lowest first.
//! Numbers  f64. Of equal heights the link of the lowest numbers, left before right: the same on any number of threads.
//! Cost     about k^2 d: what is joined has the highest number and looks at all others, and only what lay nearest to one of its parts
//!          looks again. Of k^2 distances none is held.
//! Absent   shapes: segments that reach round one another have like centres and are joined early.
//! Source   Ward 1963; Lance and Williams 1967, whose recurrence the test follows.

use rayon::prelude::*;

use super::Segment;
use super::assign::Centres;

/// Multiply-adds below which a thread is not worth waking.
const LEAST_WORK: usize = 1 << 16;

/// Two segments that are joined, or what was joined of them before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// The lower number: positions of segments, from `k` on those of links before.
    pub left: usize,
    /// The higher number.
    pub right: usize,
    /// Height of the two in scaled units.
    pub height: f64,
    /// Rows of both.
    pub n: u64,
}

/// Returns how segments are joined, the nearest first; none where there is one.
pub(super) fn links(segments: &[Segment], centres: &Centres) -> Vec<Link> {
    let sizes: Vec<u64> = segments.iter().map(|segment| segment.n).collect();
    joined(&sizes, &centres.cells, centres.d)
}

/// Joins weighted centres, one after another in `cells`.
fn joined(sizes: &[u64], cells: &[f64], d: usize) -> Vec<Link> {
    let mut groups = Groups::new(sizes, cells, d);
    let mut links = Vec::new();
    while groups.left.len() > 1 {
        links.push(groups.join());
    }
    links
}

/// What is joined so far; numbers are those of segments and links.
struct Groups {
    d: usize,
    sizes: Vec<u64>,
    cells: Vec<f64>,
    /// The square of the height to the nearest group of a lower number, and that; the first has none.
    nearest: Vec<(f64, usize)>,
    /// Groups that are left, by number.
    left: Vec<usize>,
}

impl Groups {
    fn new(sizes: &[u64], cells: &[f64], d: usize) -> Self {
        let (left, none) = ((0..sizes.len()).collect(), Vec::new());
        let mut groups = Self { d, sizes: sizes.to_vec(), cells: cells.to_vec(), nearest: none, left };
        groups.nearest = (0..sizes.len()).map(|number| groups.find(number)).collect();
        groups
    }

    /// Joins the two with the lowest height.
    fn join(&mut self) -> Link {
        let key = |number: &usize| (self.nearest[*number], *number);
        let lowest = |a: &usize, b: &usize| {
            let (((a, of_a), a_number), ((b, of_b), b_number)) = (key(a), key(b));
            a.total_cmp(&b).then(of_a.cmp(&of_b)).then(a_number.cmp(&b_number))
        };
        let right = *self.left.iter().min_by(|a, b| lowest(a, b)).expect("two groups are left");
        let (square, left) = self.nearest[right];
        let n = self.sizes[left] + self.sizes[right];
        self.left.retain(|number| *number != left && *number != right);
        self.push(left, right, n);
        for at in 0..self.left.len() {
            let number = self.left[at];
            if [left, right].contains(&self.nearest[number].1) {
                self.nearest[number] = self.find(number);
            }
        }
        Link { left, right, height: libm::sqrt(square), n }
    }

    /// Adds the group of two others.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    fn push(&mut self, left: usize, right: usize, n: u64) {
        let share = self.sizes[right] as f64 / n as f64;
        let middle = self.centre(left).iter().zip(self.centre(right)).map(|(a, b)| a + share * (b - a));
        let middle: Vec<f64> = middle.collect();
        self.cells.extend(middle);
        self.left.push(self.sizes.len());
        self.sizes.push(n);
        self.nearest.push(self.find(self.sizes.len() - 1));
    }

    fn centre(&self, number: usize) -> &[f64] {
        &self.cells[number * self.d..][..self.d]
    }

    /// Returns the nearest of the groups of lower numbers that are left; of equal ones the lowest.
    fn find(&self, number: usize) -> (f64, usize) {
        let lower = &self.left[..self.left.partition_point(|other| *other < number)];
        let nearer = |a: (f64, usize), b: (f64, usize)| if b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).is_lt() { b } else { a };
        let each = lower.par_iter().with_min_len((LEAST_WORK / self.d.max(1)).max(1));
        each.map(|&other| (self.square(other, number), other)).reduce(|| (f64::INFINITY, usize::MAX), nearer)
    }

    /// Returns the square of the height of two groups.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    fn square(&self, a: usize, b: usize) -> f64 {
        let apart: f64 = self.centre(a).iter().zip(self.centre(b)).map(|(x, y)| (x - y) * (x - y)).sum();
        let [a, b] = [a, b].map(|number| self.sizes[number] as f64);
        2.0 * a * b / (a + b) * apart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of seven segments, and what scipy makes of them: with rows, and each as one.
    const SIZES: [u64; 7] = [120, 80, 50, 30, 20, 7, 3];
    const SCIPY: [(usize, usize, f64, u64); 6] = [
        (3, 6, 4.0451991747794525, 33),
        (2, 5, 6.069769786668838, 57),
        (1, 4, 9.79795897113271, 100),
        (0, 7, 13.594588416888488, 153),
        (9, 10, 69.80719786157648, 253),
        (8, 11, 89.62894749065545, 310),
    ];
    const SCIPY_OF_ONES: [(usize, usize, f64, u64); 6] = [
        (0, 3, 1.7320508075688772, 2),
        (1, 4, 1.7320508075688772, 2),
        (2, 5, 1.7320508075688772, 2),
        (6, 7, 2.9999999999999996, 3),
        (8, 10, 8.586501033599193, 5),
        (9, 11, 15.42161748048128, 7),
    ];

    fn cells(k: usize, d: usize) -> Vec<f64> {
        (0..k * d).map(|at| (((at / d) * 37 + (at % d) * 53) % 101) as f64 / 10.0).collect()
    }

    /// Ward by the book: a square of all heights, renewed by the recurrence of Lance and Williams.
    fn by_the_book(sizes: &[u64], cells: &[f64], d: usize) -> Vec<Link> {
        let k = sizes.len();
        let mut sizes: Vec<f64> = sizes.iter().map(|n| *n as f64).collect();
        let first = |a: usize, b: usize| {
            let apart: f64 = (0..d).map(|column| (cells[a * d + column] - cells[b * d + column]).powi(2)).sum();
            2.0 * sizes[a] * sizes[b] / (sizes[a] + sizes[b]) * apart
        };
        let mut squares: Vec<Vec<f64>> = (0..k).map(|a| (0..k).map(|b| first(a, b)).collect()).collect();
        let mut left: Vec<usize> = (0..k).collect();
        let mut links = Vec::new();
        while left.len() > 1 {
            let pairs = left.iter().flat_map(|a| left.iter().filter(move |b| a < b).map(move |b| (*a, *b)));
            let (a, b) = pairs.min_by(|x, y| squares[x.0][x.1].total_cmp(&squares[y.0][y.1])).expect("two are left");
            let new = squares.len();
            left.retain(|number| *number != a && *number != b);
            let of_all: Vec<f64> = (0..new)
                .map(|c| {
                    let [x, y, z] = [a, b, c].map(|number| sizes[number]);
                    ((x + z) * squares[a][c] + (y + z) * squares[b][c] - z * squares[a][b]) / (x + y + z)
                })
                .collect();
            let n = sizes[a] + sizes[b];
            links.push(Link { left: a, right: b, height: squares[a][b].sqrt(), n: n as u64 });
            squares.iter_mut().zip(&of_all).for_each(|(row, square)| row.push(*square));
            squares.push([of_all, vec![0.0]].concat());
            sizes.push(n);
            left.push(new);
        }
        links
    }

    /// Says whether links join the same, at the same heights but for rounding.
    fn agree(a: &[Link], b: &[Link]) -> bool {
        let same = |(a, b): (&Link, &Link)| {
            (a.left, a.right, a.n) == (b.left, b.right, b.n) && (a.height - b.height).abs() <= 1e-10 * (1.0 + b.height)
        };
        a.len() == b.len() && a.iter().zip(b).all(same)
    }

    #[test]
    fn links_are_those_of_the_book() {
        for (k, d) in [(1, 2), (2, 1), (3, 3), (20, 5), (60, 4), (97, 2)] {
            // Uneven enough that no two heights are equal.
            let cells: Vec<f64> = cells(k, d).iter().enumerate().map(|(at, x)| x + (at as f64 * 0.7).sin() / 3.0).collect();
            let sizes: Vec<u64> = (0..k as u64).map(|at| 1 + (at * 7919) % 500).collect();
            let (found, due) = (joined(&sizes, &cells, d), by_the_book(&sizes, &cells, d));
            assert!(agree(&found, &due), "{k} x {d}: {found:?} {due:?}");
            assert!(found.windows(2).all(|two| two[1].height >= two[0].height * (1.0 - 1e-12)));
            assert_eq!(found.last().map_or(sizes[0], |link| link.n), sizes.iter().sum::<u64>());
            // A wrong twin: segments of equal size.
            assert!(k < 3 || !agree(&joined(&vec![1; k], &cells, d), &due), "{k} x {d}");
        }
    }

    #[test]
    fn links_are_those_of_scipy() {
        // scipy 1.17, linkage(x, "ward"): of as many copies of every centre as it has rows, without the links of copies; of the centres.
        for (sizes, due) in [(SIZES, SCIPY), ([1; 7], SCIPY_OF_ONES)] {
            let due: Vec<Link> = due.iter().map(|&(left, right, height, n)| Link { left, right, height, n }).collect();
            let found = joined(&sizes, &cells(7, 3), 3);
            assert!(agree(&found, &due), "{found:?}");
        }
    }

    #[test]
    fn equal_heights_are_taken_by_the_lowest_numbers_on_any_number_of_threads() {
        let found: Vec<(usize, usize)> = joined(&[5; 6], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 1).iter().map(|l| (l.left, l.right)).collect();
        assert_eq!(found, [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]);
        // Copies of a centre, and enough columns that threads share the work.
        let cells = [cells(300, 900), cells(60, 900)].concat();
        let sizes: Vec<u64> = (0..360).map(|at| 1 + at % 5).collect();
        let of_threads = |n: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("threads can be started");
            pool.install(|| joined(&sizes, &cells, 900))
        };
        assert!(of_threads(1) == of_threads(5));
    }
}
