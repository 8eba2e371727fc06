//! Co-moments of one pair of columns, mergeable.

/// Counts, means and co-moments of one pair over the rows where both cells are present.
///
/// Means are deviations from a centre of the column, in a power-of-two unit of the column; both are kept beside it.
/// `merge` is associative up to rounding (Chan, Golub and `LeVeque` 1983; Pebay 2008).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct PairMoments {
    pub(crate) n: u64,
    pub(crate) mean_x: f64,
    pub(crate) mean_y: f64,
    pub(crate) m2_x: f64,
    pub(crate) m2_y: f64,
    pub(crate) co: f64,
}

/// How the later of two states of one column is brought to the centre and unit of the merged state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// Factor of the earlier state's deviations: a power of two.
    pub(crate) earlier: f64,
    /// Factor of the later state's deviations: a power of two.
    pub(crate) later: f64,
    /// From the earlier centre to the later one, in the merged unit.
    pub(crate) shift: f64,
}

/// Centre and unit of a column's deviations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    pub(crate) centre: f64,
    pub(crate) unit: i32,
    /// Whether any cell stands behind it; an empty frame takes the other one.
    pub(crate) known: bool,
}

impl Frame {
    /// Returns the merged frame, and how both states are brought to it.
    pub(crate) fn merge(self, later: Self) -> (Self, Step) {
        if !later.known {
            return (self, Step { earlier: 1.0, later: 1.0, shift: 0.0 });
        }
        if !self.known {
            return (later, Step { earlier: 1.0, later: 1.0, shift: 0.0 });
        }
        // Halved first: two centres of opposite sign may be further apart than f64 reaches.
        let apart = later.centre / 2.0 - self.centre / 2.0;
        let unit = self.unit.max(later.unit).max(if apart == 0.0 { i32::MIN } else { libm::ilogb(apart) + 1 });
        let step = Step {
            earlier: libm::ldexp(1.0, self.unit - unit),
            later: libm::ldexp(1.0, later.unit - unit),
            shift: libm::ldexp(apart, 1 - unit),
        };
        (Self { centre: self.centre, unit, known: true }, step)
    }
}

impl PairMoments {
    /// No row has both cells.
    pub(crate) const NONE: Self = Self { n: 0, mean_x: 0.0, mean_y: 0.0, m2_x: 0.0, m2_y: 0.0, co: 0.0 };

    /// Returns the moments of sums over rows that both columns have.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    pub(crate) fn of_sums(n: u64, sum: [f64; 2], squares: [f64; 2], products: f64) -> Self {
        if n == 0 {
            return Self::default();
        }
        let rows = n as f64;
        let [mean_x, mean_y] = sum.map(|sum| sum / rows);
        Self {
            n,
            mean_x,
            mean_y,
            m2_x: (squares[0] - sum[0] * mean_x).max(0.0),
            m2_y: (squares[1] - sum[1] * mean_y).max(0.0),
            co: products - sum[0] * mean_y,
        }
    }

    /// Adds what later rows say.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    pub(crate) fn merge(&mut self, later: &Self, x: Step, y: Step) {
        let n = self.n + later.n;
        if n == 0 {
            return;
        }
        let share = later.n as f64 / n as f64;
        let weight = self.n as f64 * share;
        let (mean_x, mean_y) = (self.mean_x * x.earlier, self.mean_y * y.earlier);
        let dx = if later.n == 0 { 0.0 } else { x.shift + later.mean_x * x.later - mean_x };
        let dy = if later.n == 0 { 0.0 } else { y.shift + later.mean_y * y.later - mean_y };
        self.m2_x = self.m2_x * (x.earlier * x.earlier) + later.m2_x * (x.later * x.later) + dx * dx * weight;
        self.m2_y = self.m2_y * (y.earlier * y.earlier) + later.m2_y * (y.later * y.later) + dy * dy * weight;
        self.co = self.co * (x.earlier * y.earlier) + later.co * (x.later * y.later) + dx * dy * weight;
        self.mean_x = mean_x + dx * share;
        self.mean_y = mean_y + dy * share;
        self.n = n;
    }

    /// Returns Pearson's r; none where a column is constant over the pair's rows, or r is no number.
    #[allow(clippy::cast_precision_loss, reason = "2^53 rows are not reached")]
    pub(crate) fn r(&self) -> Option<f64> {
        // In units of the largest deviation: below this, equal cells differ by the rounding of means alone.
        let nothing = self.n as f64 * 1e-28;
        if self.m2_x <= nothing || self.m2_y <= nothing {
            return None;
        }
        let product = self.m2_x * self.m2_y;
        // The root of a square is exact, so that copies get r = 1; apart where the product leaves the range of f64.
        let r = if product.is_normal() { self.co / libm::sqrt(product) } else { self.co / libm::sqrt(self.m2_x) / libm::sqrt(self.m2_y) };
        r.is_finite().then(|| r.clamp(-1.0, 1.0))
    }
}
