//! Fixed-lane sums, and the types that dense products are made of.
//!
//! Sums run in `LANES` accumulators whatever the processor, so that the same numbers give the same bytes on each.

mod panels;

pub(crate) use panels::{PANEL_STEP, Packed};

/// Accumulators of every fixed-lane sum.
pub(crate) const LANES: usize = 8;

/// A column-major matrix: column `j` lies at `values[j * stride .. j * stride + n_rows]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T = f32> {
    /// The cells.
    pub values: &'a [T],
    /// Rows.
    pub n_rows: usize,
    /// Cells from one column's start to the next one's.
    pub stride: usize,
    /// Columns.
    pub n_columns: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Returns `n_rows` rows from `start` on.
    pub(crate) fn rows(self, start: usize, n_rows: usize) -> Self {
        Self { values: &self.values[start.min(self.values.len())..], n_rows, ..self }
    }

    /// Returns the cells of a column.
    pub(crate) fn column(&self, at: usize) -> &'a [T] {
        &self.values[at * self.stride..][..self.n_rows]
    }
}

/// A type that dense products are made of.
pub(crate) trait Element: panels::Multiply + Copy + Send + Sync + Default + Into<f64> + 'static {
    /// Rounds to the type.
    fn from_f64(value: f64) -> Self;
}

impl Element for f32 {
    #[allow(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

impl Element for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
}

/// Runs a loop compiled for the widest vectors that the processor has.
#[inline(always)]
pub(crate) fn widest<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

/// Returns the lanes' total, in a fixed order.
#[inline(always)]
pub(crate) fn total(lanes: [f64; LANES]) -> f64 {
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
}

/// Lanes of one vector's worth of cells.
type Lanes = [f64; LANES];

/// Chunks that are added up before the lanes are emptied: cells on a grid, whole numbers say, round one way again and
/// again, and the error of a long sum of their squares grows with its length.
const RUN: usize = 128;

/// Adds up chunks of cells in four groups of fixed lanes, so that no addition waits for the one before it.
///
/// `add` adds chunk `at` of 0..n to lanes. Chunks come as arrays, because a bound that is checked for every cell keeps the
/// loop from becoming vectors.
#[inline(always)]
fn add_up(n: usize, add: impl Fn(usize, &mut Lanes)) -> f64 {
    let mut sums = [0.0; LANES];
    for start in (0..n).step_by(RUN) {
        let end = (start + RUN).min(n);
        let [mut a, mut b, mut c, mut d] = [[0.0; LANES]; 4];
        let whole = start + (end - start) / 4 * 4;
        for at in (start..whole).step_by(4) {
            add(at, &mut a);
            add(at + 1, &mut b);
            add(at + 2, &mut c);
            add(at + 3, &mut d);
        }
        for at in whole..end {
            add(at, &mut a);
        }
        for lane in 0..LANES {
            sums[lane] += (a[lane] + c[lane]) + (b[lane] + d[lane]);
        }
    }
    total(sums)
}

/// Cells in chunks; the last one is filled up with `fill`.
struct Chunks<'a, T> {
    whole: &'a [[T; LANES]],
    last: Option<[T; LANES]>,
}

impl<'a, T: Copy> Chunks<'a, T> {
    #[inline(always)]
    fn new(cells: &'a [T], fill: T) -> Self {
        let (whole, tail) = cells.as_chunks::<LANES>();
        let mut last = [fill; LANES];
        last[..tail.len()].copy_from_slice(tail);
        Self { whole, last: (!tail.is_empty()).then_some(last) }
    }
}

/// Returns `sum of x[k] * y[k]` in fixed lanes.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len().min(y.len());
    let (x, y) = (Chunks::new(&x[..n], 0.0), Chunks::new(&y[..n], 0.0));
    let last = x.last.zip(y.last).map_or(0.0, |(a, b)| total(std::array::from_fn(|lane| a[lane] * b[lane])));
    last + widest(
        #[inline(always)]
        || {
            add_up(
                x.whole.len(),
                #[inline(always)]
                |at, lanes| {
                    let (a, b) = (&x.whole[at], &y.whole[at]);
                    for lane in 0..LANES {
                        lanes[lane] = a[lane].mul_add(b[lane], lanes[lane]);
                    }
                },
            )
        },
    )
}

/// Returns sum and sum of squares of `x` in fixed lanes.
pub(crate) fn sum_and_squares<T: Element>(x: &[T]) -> (f64, f64) {
    let x = Chunks::new(x, T::default());
    let last: Lanes = x.last.map_or([0.0; LANES], |last| last.map(Into::into));
    widest(
        #[inline(always)]
        || {
            let sum = add_up(
                x.whole.len(),
                #[inline(always)]
                |at, lanes| {
                    let cells = &x.whole[at];
                    for lane in 0..LANES {
                        lanes[lane] += cells[lane].into();
                    }
                },
            );
            let squares = add_up(
                x.whole.len(),
                #[inline(always)]
                |at, lanes| {
                    let cells: Lanes = x.whole[at].map(Into::into);
                    for lane in 0..LANES {
                        lanes[lane] = cells[lane].mul_add(cells[lane], lanes[lane]);
                    }
                },
            );
            (sum + total(last), squares + total(last.map(|z| z * z)))
        },
    )
}

/// What one pass over raw cells shows.
pub(crate) struct Reach {
    /// Present cells.
    pub(crate) n: u64,
    /// Smallest and largest of them.
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Sum of their deviations from the pilot, and of the squares of these.
    sum: f64,
    squares: f64,
    pilot: f64,
}

impl Reach {
    /// Returns where deviations start: the mean, on a grid of about an eighth of the standard deviation.
    ///
    /// Cells on a grid of their own (whole numbers, times, f32) then keep short deviations, whose products add up without
    /// rounding or nearly so; deviations from the mean itself would round the same way again and again. What lies between
    /// centre and mean is in the sums.
    #[allow(clippy::cast_precision_loss, reason = "a block has fewer than 2^52 rows")]
    pub(crate) fn centre(&self) -> f64 {
        let n = self.n as f64;
        let mean = self.pilot + self.sum / n;
        if !mean.is_finite() {
            // A sum past the range of f64 says nothing about the middle; the middle of the extremes is as good.
            return self.min / 2.0 + self.max / 2.0;
        }
        let variance = self.squares / n - (self.sum / n) * (self.sum / n);
        // A pilot far off leaves too few digits to tell the size of the deviations.
        if variance.is_normal() && variance > 1e-6 * (self.squares / n) {
            let grid = libm::ldexp(1.0, libm::ilogb(libm::sqrt(variance)) - 3);
            let rounded = libm::round(mean / grid) * grid;
            if rounded.is_finite() {
                return rounded;
            }
        }
        mean.clamp(self.min, self.max)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of cells of a block")]
/// Returns how many cells are no NaN, how far they reach, and their sum about `pilot`, in fixed lanes.
pub(crate) fn reach(raw: &[f64], pilot: f64) -> Reach {
    widest(
        #[inline(always)]
        move || {
            let raw = Chunks::new(raw, f64::NAN);
            let mut n = [0.0; LANES];
            let mut min = [f64::INFINITY; LANES];
            let mut max = [f64::NEG_INFINITY; LANES];
            for chunk in raw.whole.iter().chain(&raw.last) {
                // Every comparison with NaN is false, which leaves the extremes as they were.
                for lane in 0..LANES {
                    min[lane] = if chunk[lane] < min[lane] { chunk[lane] } else { min[lane] };
                }
                for lane in 0..LANES {
                    max[lane] = if chunk[lane] > max[lane] { chunk[lane] } else { max[lane] };
                }
                for lane in 0..LANES {
                    n[lane] += if chunk[lane].is_nan() { 0.0 } else { 1.0 };
                }
            }
            let deviations = |chunk: &Lanes| -> Lanes { chunk.map(|x| if x.is_nan() { 0.0 } else { x - pilot }) };
            let sum = add_up(
                raw.whole.len(),
                #[inline(always)]
                |at, lanes| {
                    let (cells, pilot) = (&raw.whole[at], pilot);
                    for lane in 0..LANES {
                        lanes[lane] += if cells[lane].is_nan() { 0.0 } else { cells[lane] - pilot };
                    }
                },
            );
            let squares = add_up(
                raw.whole.len(),
                #[inline(always)]
                |at, lanes| {
                    let (cells, pilot) = (&raw.whole[at], pilot);
                    for lane in 0..LANES {
                        let deviation = if cells[lane].is_nan() { 0.0 } else { cells[lane] - pilot };
                        lanes[lane] = deviation.mul_add(deviation, lanes[lane]);
                    }
                },
            );
            let last = raw.last.as_ref().map_or([0.0; LANES], deviations);
            Reach {
                n: total(n) as u64,
                min: min.iter().copied().fold(f64::INFINITY, f64::min),
                max: max.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                sum: sum + total(last),
                squares: squares + total(last.map(|x| x * x)),
                pilot,
            }
        },
    )
}
