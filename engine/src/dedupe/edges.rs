//! Entities from pairs and scores that somebody else made.

use super::group::{self, Apart, Grouping, Link, Linkage};

/// Two records, and how sure it is that they are one thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    /// A record.
    pub a: u32,
    /// Another.
    pub b: u32,
    /// 0 to 1.
    pub score: f64,
}

/// What is asked of edges.
#[derive(Debug, Clone)]
pub struct EdgeOptions {
    /// Mean score over all pairs of two groups from which they are one entity. A pair without an edge was cut off somewhere below the least score
    /// given: it counts as half of that, or half of the threshold where that is less.
    pub threshold: f64,
    /// Source of every record, where only edges between sources count.
    pub source: Option<Vec<u16>>,
    /// How records become entities, unless two clean sources are paired one to one.
    pub grouping: Grouping,
    /// Whether a source holds each thing once; where absent it is taken to, unless one strong edge in 20 lies within a source.
    pub is_clean: Option<bool>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeGroups {
    /// Entity of every record, numbered from 0 by first record.
    pub entity: Vec<u32>,
    /// How many entities there are.
    pub n_entities: usize,
    /// Record of each entity whose edges to the others have the greatest sum; the first of several.
    pub kept: Vec<u32>,
    /// The edges that count, two records once with their best score, by record.
    pub edges: Vec<Edge>,
    /// Whether each source was taken to hold each thing once; none where sources do not matter.
    pub is_clean: Option<bool>,
}

/// Groups `n` records: average link with at most one record of a clean source in an entity; between two clean sources the best first, one to one.
#[must_use]
pub fn entities_of_edges(n: usize, edges: &[Edge], options: &EdgeOptions) -> EdgeGroups {
    let is_within = |edge: &Edge| options.source.as_ref().is_some_and(|source| source[edge.a as usize] == source[edge.b as usize]);
    let is_clean = options.source.as_ref().map(|_| options.is_clean.unwrap_or_else(|| is_clean(edges, options.threshold, &is_within)));
    let mut links: Vec<Link> = edges
        .iter()
        .filter(|edge| edge.a != edge.b && !is_within(edge))
        .map(|edge| Link { a: edge.a.min(edge.b), b: edge.a.max(edge.b), closeness: edge.score })
        .collect();
    links.sort_by(|one, other| (one.a, one.b).cmp(&(other.a, other.b)).then(other.closeness.total_cmp(&one.closeness)));
    links.dedup_by_key(|link| (link.a, link.b));
    let n_sources = options.source.as_ref().map_or(0, |source| source.iter().max().map_or(0, |most| usize::from(*most) + 1));
    let first = if is_clean == Some(true) && n_sources == 2 {
        let mut best: Vec<&Link> = links.iter().filter(|link| link.closeness >= options.threshold).collect();
        best.sort_by(|one, other| other.closeness.total_cmp(&one.closeness));
        group::one_to_one(n, best.into_iter().map(|link| (link.a, link.b)))
    } else {
        let apart = options.source.as_deref().filter(|_| is_clean == Some(true));
        let apart = apart.map(|source| move |a: u32, b: u32| source[a as usize] == source[b as usize]);
        let apart = apart.as_ref().map(|apart| apart as &Apart<'_>);
        // A mean is compared with a cut: what pairs without an edge count can be taken from both.
        let absent = absent(&links, options.threshold);
        let above: Vec<Link> = links.iter().map(|link| Link { closeness: link.closeness - absent, ..*link }).collect();
        group::linked(
            n,
            &above,
            Linkage { least: 0.0, cut: options.threshold - absent, apart, closeness: None, grouping: options.grouping },
        )
    };
    let (entity, n_entities) = group::numbered(&first);
    let edges: Vec<Edge> = links.into_iter().map(|link| Edge { a: link.a, b: link.b, score: link.closeness }).collect();
    let kept = kept(&entity, n_entities, &edges);
    EdgeGroups { entity, n_entities, kept, edges, is_clean }
}

/// Returns what a pair without an edge counts.
fn absent(links: &[Link], threshold: f64) -> f64 {
    links.iter().map(|link| link.closeness).fold(threshold, f64::min) / 2.0
}

fn is_clean(edges: &[Edge], threshold: f64, is_within: &dyn Fn(&Edge) -> bool) -> bool {
    /// Share of the strong edges that may lie within a source.
    const MOST: f64 = 0.05;
    let strong = || edges.iter().filter(|edge| edge.a != edge.b && edge.score >= threshold);
    strong().filter(|edge| is_within(edge)).count() as f64 <= MOST * strong().count() as f64
}

fn kept(entity: &[u32], n_entities: usize, edges: &[Edge]) -> Vec<u32> {
    let mut sum = vec![0.0; entity.len()];
    for edge in edges.iter().filter(|edge| entity[edge.a as usize] == entity[edge.b as usize]) {
        sum[edge.a as usize] += edge.score;
        sum[edge.b as usize] += edge.score;
    }
    let mut kept = vec![u32::MAX; n_entities];
    for (record, entity) in entity.iter().enumerate() {
        let best = &mut kept[*entity as usize];
        if *best == u32::MAX || sum[record] > sum[*best as usize] {
            *best = record as u32;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(n: usize, edges: &[(u32, u32, f64)], source: Option<Vec<u16>>) -> EdgeGroups {
        let edges: Vec<Edge> = edges.iter().map(|&(a, b, score)| Edge { a, b, score }).collect();
        entities_of_edges(n, &edges, &EdgeOptions { threshold: 0.5, source, grouping: Grouping::AverageLink, is_clean: None })
    }

    #[test]
    fn a_chain_is_cut_where_its_ends_are_strangers() {
        // 0-1-2 all alike, 3-4 alike, and one strong edge between the two: 1 of 6 pairs, the others count as 0.25.
        let found = groups(6, &[(0, 1, 0.9), (1, 2, 0.9), (0, 2, 0.8), (2, 3, 0.95), (3, 4, 0.97)], None);
        assert_eq!(found.entity, [0, 0, 0, 1, 1, 2]);
        assert_eq!((found.n_entities, found.is_clean), (3, None));
        assert_eq!(found.kept, [1, 3, 5]);
    }

    #[test]
    fn a_clean_source_gives_each_entity_one_record() {
        let source = Some(vec![0, 0, 1, 2]);
        let found = groups(4, &[(0, 2, 0.9), (1, 2, 0.8), (2, 3, 0.9), (1, 3, 0.7), (0, 3, 0.6)], source);
        assert_eq!(found.entity, [0, 1, 0, 0]);
        assert_eq!(found.is_clean, Some(true));
    }

    #[test]
    fn two_clean_sources_pair_one_to_one() {
        let found = groups(4, &[(0, 2, 0.9), (0, 3, 0.8), (1, 2, 0.8), (1, 3, 0.4)], Some(vec![0, 0, 1, 1]));
        assert_eq!(found.entity, [0, 1, 0, 2]);
    }

    #[test]
    fn a_pair_without_an_edge_counts_as_half_of_the_least() {
        // A third record that two edges of three would join: (0.8 + 0.25) / 2 = 0.525, and (0.8 + 0.15) / 2 = 0.475 where 0.3 is given.
        assert_eq!(groups(5, &[(0, 1, 0.9), (1, 2, 0.8), (3, 4, 0.6)], None).entity, [0, 0, 0, 1, 1]);
        assert_eq!(groups(5, &[(0, 1, 0.9), (1, 2, 0.8), (3, 4, 0.3)], None).entity, [0, 0, 1, 2, 3]);
    }

    #[test]
    fn an_edge_counts_once_and_none_joins_a_record_to_itself() {
        let found = groups(3, &[(1, 0, 0.2), (0, 1, 0.7), (2, 2, 1.0)], None);
        assert_eq!(found.edges, [Edge { a: 0, b: 1, score: 0.7 }]);
        assert_eq!(found.entity, [0, 0, 1]);
    }
}
