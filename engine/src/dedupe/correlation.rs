//! Correlation clustering (Bansal, Blum and Chawla 2004): of all ways to part the records of a component the one in which closeness less the cut,
//! summed over all pairs of a group, is greatest.
//!
//! It is hard to find in general. Average link joins greedily by the mean of the same pairs; from there one record at a time moves to
//! where it adds most, and groups join that add up to more together, until nothing does. The sum never falls, so that there is an end.

use std::collections::BTreeMap;

use super::group::Apart;

/// Least gain of a move: beyond what rounding makes of none.
const LEAST_GAIN: f64 = 1e-9;

/// Records of a component, what pairs of them add, and where they may not be together.
pub(super) struct Component<'a> {
    pub(super) n: usize,
    /// Pairs and their closeness; of others it is 0.
    pub(super) links: &'a [(u32, u32, f64)],
    pub(super) cut: f64,
    /// Source of a record, of which a group has one record at most; none where that does not matter.
    pub(super) apart: Option<&'a Apart<'a>>,
}

impl Component<'_> {
    /// Moves records and joins groups while that adds something.
    pub(super) fn improved(&self, groups: Vec<Vec<u32>>) -> Vec<Vec<u32>> {
        let mut near: Vec<Vec<(u32, f64)>> = vec![Vec::new(); self.n];
        for &(one, other, closeness) in self.links {
            near[one as usize].push((other, closeness));
            near[other as usize].push((one, closeness));
        }
        let mut parting = Parting::of(self.n, groups);
        while self.move_records(&near, &mut parting) | self.join_groups(&near, &mut parting) {}
        parting.groups.retain(|group| !group.is_empty());
        parting.groups
    }

    /// What a record adds to groups that it has a link with.
    fn closeness(near: &[(u32, f64)], parting: &Parting) -> BTreeMap<usize, f64> {
        let mut of_group: BTreeMap<usize, f64> = BTreeMap::new();
        for (other, closeness) in near {
            *of_group.entry(parting.group_of[*other as usize]).or_default() += closeness;
        }
        of_group
    }

    fn move_records(&self, near: &[Vec<(u32, f64)>], parting: &mut Parting) -> bool {
        let mut has_moved = false;
        for record in 0..self.n as u32 {
            let own = parting.group_of[record as usize];
            let of_group = Self::closeness(&near[record as usize], parting);
            let gain = |group: usize, size: usize| of_group.get(&group).copied().unwrap_or(0.0) - self.cut * size as f64;
            let stays = gain(own, parting.groups[own].len() - 1);
            let alone = (0.0, None);
            let others = of_group.keys().filter(|group| **group != own && self.may_join(record, &parting.groups[**group]));
            let others = others.map(|group| (gain(*group, parting.groups[*group].len()), Some(*group)));
            // Of moves that add as much the one to the first group.
            let best = others.fold(alone, |best, next| if next.0 > best.0 + LEAST_GAIN { next } else { best });
            if best.0 > stays + LEAST_GAIN {
                let group = best.1.unwrap_or_else(|| parting.empty());
                parting.move_to(record, group);
                has_moved = true;
            }
        }
        has_moved
    }

    fn join_groups(&self, near: &[Vec<(u32, f64)>], parting: &mut Parting) -> bool {
        let mut has_joined = false;
        for group in 0..parting.groups.len() {
            loop {
                let mut of_group: BTreeMap<usize, f64> = BTreeMap::new();
                for record in &parting.groups[group] {
                    for (other, closeness) in Self::closeness(&near[*record as usize], parting) {
                        *of_group.entry(other).or_default() += closeness;
                    }
                }
                let size = parting.groups[group].len();
                let gain =
                    |(other, closeness): (&usize, &f64)| (closeness - self.cut * (size * parting.groups[*other].len()) as f64, *other);
                let may = |other: usize| parting.groups[other].iter().all(|record| self.may_join(*record, &parting.groups[group]));
                let best = of_group
                    .iter()
                    .filter(|(other, _)| **other != group)
                    .map(gain)
                    .filter(|(gain, other)| *gain > LEAST_GAIN && may(*other));
                let Some((_, other)) = best.reduce(|best, next| if next.0 > best.0 + LEAST_GAIN { next } else { best }) else { break };
                for record in parting.groups[other].clone() {
                    parting.move_to(record, group);
                }
                has_joined = true;
            }
        }
        has_joined
    }

    fn may_join(&self, record: u32, group: &[u32]) -> bool {
        self.apart.is_none_or(|apart| group.iter().all(|other| *other == record || !apart(record, *other)))
    }
}

/// Which group every record is in.
struct Parting {
    groups: Vec<Vec<u32>>,
    group_of: Vec<usize>,
}

impl Parting {
    fn of(n: usize, groups: Vec<Vec<u32>>) -> Self {
        let mut group_of = vec![0; n];
        for (at, group) in groups.iter().enumerate() {
            for record in group {
                group_of[*record as usize] = at;
            }
        }
        Self { groups, group_of }
    }

    /// Returns a group without records: the first there is, or one to come.
    fn empty(&self) -> usize {
        self.groups.iter().position(Vec::is_empty).unwrap_or(self.groups.len())
    }

    fn move_to(&mut self, record: u32, group: usize) {
        let own = self.group_of[record as usize];
        self.groups[own].retain(|other| *other != record);
        if group == self.groups.len() {
            self.groups.push(Vec::new());
        }
        self.groups[group].push(record);
        self.group_of[record as usize] = group;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Purpose, Stream};

    /// What a way of parting adds up to.
    fn sum(component: &Component<'_>, group_of: &[usize]) -> f64 {
        let mut closeness = vec![vec![0.0; component.n]; component.n];
        for (one, other, c) in component.links {
            closeness[*one as usize][*other as usize] = *c;
        }
        let pairs = (0..component.n).flat_map(|one| (one + 1..component.n).map(move |other| (one, other)));
        pairs.filter(|(one, other)| group_of[*one] == group_of[*other]).map(|(one, other)| closeness[one][other] - component.cut).sum()
    }

    fn numbers(n: usize, groups: &[Vec<u32>]) -> Vec<usize> {
        Parting::of(n, groups.to_vec()).group_of
    }

    /// The greatest sum over all ways of parting records `at` and beyond.
    fn best(component: &Component<'_>, group_of: &mut Vec<usize>, n_groups: usize) -> f64 {
        if group_of.len() == component.n {
            return sum(component, group_of);
        }
        let mut most = f64::MIN;
        for group in 0..=n_groups {
            group_of.push(group);
            most = most.max(best(component, group_of, n_groups.max(group + 1)));
            group_of.pop();
        }
        most
    }

    #[test]
    fn it_is_hardly_ever_less_than_the_best_there_is() {
        let (mut n_best, mut lacking) = (0, 0.0);
        for seed in 0..200 {
            let mut stream = Stream::new(seed, Purpose::Pairs, 3, 0);
            let mut share = || f64::from(stream.word()) / f64::from(u32::MAX);
            let links: Vec<(u32, u32, f64)> =
                (0..7).flat_map(|one| (one + 1..7).map(move |other| (one, other))).map(|(one, other)| (one, other, share())).collect();
            let component = Component { n: 7, links: &links, cut: 0.5, apart: None };
            let alone: Vec<Vec<u32>> = (0..7).map(|record| vec![record]).collect();
            let found = sum(&component, &numbers(7, &component.improved(alone)));
            let most = best(&component, &mut Vec::new(), 0);
            assert!(found <= most + 1e-9 && found >= -1e-9, "{found} of {most}");
            n_best += usize::from(found > most - 1e-9);
            lacking += (most - found) / most.max(1e-9);
        }
        assert!(n_best >= 150 && lacking / 200.0 < 0.03, "{n_best} of 200 are the best, {} is lacking", lacking / 200.0);
    }

    #[test]
    fn a_clean_source_gives_each_group_one_record() {
        let links = [(0, 1, 0.9), (0, 2, 0.9), (1, 2, 0.9)];
        let component = Component { n: 3, links: &links, cut: 0.5, apart: Some(&|one, other| (one == 2) == (other == 2)) };
        let groups = component.improved(vec![vec![0], vec![1], vec![2]]);
        assert!(groups.iter().all(|group| !(group.contains(&0) && group.contains(&1))), "{groups:?}");
        assert_eq!(groups.len(), 2);
    }
}
