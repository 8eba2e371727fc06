//! The textbook: Fellegi-Sunter by expectation-maximisation over every pair, one by one, levels independent of each other given the class.

/// Prior, `m` and `u` by column and level.
pub(super) struct Model {
    pub(super) lambda: f64,
    pub(super) m: Vec<Vec<f64>>,
    pub(super) u: Vec<Vec<f64>>,
}

/// Winkler 1988: fits the mixture to the levels of all pairs, none of them absent.
pub(super) fn fellegi_sunter(pairs: &[Vec<usize>], n_levels: &[usize]) -> Model {
    let start = |n: &usize| {
        let shares: Vec<f64> = (0..*n).map(|level| 0.25_f64.powi(level as i32)).collect();
        let sum: f64 = shares.iter().sum();
        shares.into_iter().map(|share| share / sum).collect::<Vec<f64>>()
    };
    let all = |n: &usize| vec![1.0 / *n as f64; *n];
    let mut model = Model { lambda: 0.01, m: n_levels.iter().map(start).collect(), u: n_levels.iter().map(all).collect() };
    for _ in 0..2_000 {
        let mut m: Vec<Vec<f64>> = n_levels.iter().map(|n| vec![0.0; *n]).collect();
        let mut u = m.clone();
        let mut n_matches = 0.0;
        for levels in pairs {
            let product = |of: &Vec<Vec<f64>>| -> f64 { levels.iter().enumerate().map(|(at, level)| of[at][*level]).product() };
            let (yes, no) = (model.lambda * product(&model.m), (1.0 - model.lambda) * product(&model.u));
            let p = yes / (yes + no);
            n_matches += p;
            for (at, level) in levels.iter().enumerate() {
                m[at][*level] += p;
                u[at][*level] += 1.0 - p;
            }
        }
        let n = pairs.len() as f64;
        let scale = |sums: Vec<Vec<f64>>, all: f64| sums.into_iter().map(|of| of.into_iter().map(|sum| sum / all).collect()).collect();
        model = Model { lambda: n_matches / n, m: scale(m, n_matches), u: scale(u, n - n_matches) };
    }
    model
}
