//! The textbook: two passes over the rows of one pair, in f64, one term after the other.

/// Returns n and Pearson's r of two columns over the rows where both are present; NaN is missing.
pub(crate) fn pearson(x: &[f64], y: &[f64]) -> (u64, Option<f64>) {
    let rows: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let n = rows.len() as f64;
    // Means from the first row on: at an offset of 1e12 the plain mean is off by more than a tenth of a millionth.
    let Some(&(x0, y0)) = rows.first() else { return (0, None) };
    let (mx, my) = (rows.iter().map(|(x, _)| x - x0).sum::<f64>() / n, rows.iter().map(|(_, y)| y - y0).sum::<f64>() / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in &rows {
        let (dx, dy) = (x - x0 - mx, y - y0 - my);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    #[allow(clippy::float_cmp, reason = "constant means the very same number")]
    let constant = rows.iter().all(|(x, _)| *x == x0) || rows.iter().all(|(_, y)| *y == y0);
    (rows.len() as u64, (!constant).then(|| (xy / xx.sqrt() / yy.sqrt()).clamp(-1.0, 1.0)))
}
