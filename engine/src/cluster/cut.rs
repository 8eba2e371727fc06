//! How well segments are parted: the normalised cut of the graph of nearest neighbours.
//!
//! ```text
//! cut(S)     = ends of edges that leave S or come to it from elsewhere        volume(S) = ends of edges of the points of S
//! the mean over segments of cut / volume        0: no point has a neighbour in another segment
//! ```
//!
//! A labelling that goes along a gap has a small cut, one that goes through a dense place a large one, whatever the shape of segments;
//! volumes keep it from cutting off single points.
//!
//! Source   Shi and Malik 2000.

use super::density::NOISE;
use super::tree::Neighbours;

/// Neighbours of a point in the graph.
pub(super) const NEIGHBOURS: usize = 10;

/// Returns the mean over segments of cut by volume; points without a segment are a place that edges leave for.
#[allow(clippy::cast_precision_loss, reason = "2^53 edges are not reached")]
pub(super) fn normalised_cut(near: &Neighbours, labels: &[u32], n_segments: usize) -> f64 {
    let (mut cut, mut volume) = (vec![0_u64; n_segments], vec![0_u64; n_segments]);
    for (point, &from) in labels.iter().enumerate() {
        for (_, other) in near.of(point) {
            let to = labels[other as usize];
            for end in [from, to].into_iter().filter(|end| *end != NOISE) {
                volume[end as usize] += 1;
                cut[end as usize] += u64::from(from != to);
            }
        }
    }
    let parts = cut.iter().zip(&volume).map(|(cut, volume)| *cut as f64 / (*volume).max(1) as f64);
    parts.sum::<f64>() / n_segments.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::points::Points;
    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn the_cut_is_that_of_the_hand() {
        // Each point's nearest other: 0 -> 1, 1 -> 0, 2 -> 1, 10 -> 11, 11 -> 10.
        let near = Tree::new(&Points::new(vec![0.0, 1.0, 2.0, 10.0, 11.0], 1)).neighbours(1);
        let cut = |labels: [u32; 5], n_segments: usize| normalised_cut(&near, &labels, n_segments);
        assert!(cut([0, 0, 0, 1, 1], 2).abs() < 1e-12);
        // The edge from 2 to 1 is cut: 1 of 5 ends of the first, 1 of 5 of the second.
        assert!((cut([0, 0, 1, 1, 1], 2) - 0.2).abs() < 1e-12);
        // Noise takes no part itself, and the edge to it is cut: 1 of 5 ends, and 0 of 4.
        assert!((cut([0, 0, NOISE, 1, 1], 2) - 0.1).abs() < 1e-12);
    }
}
