//! The cooperative sticky assignor (KIP-429). It has the guarantees of Java's `CooperativeStickyAssignor`, by an algorithm
//! of its own: shares as even as the subscriptions allow, the fewest moves for that, and no partition for a new owner while
//! another member claims it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assignment, Subscriber};

/// Assigns the partitions. One that changes hands is left out in this generation: its owner revokes it and joins again,
/// and the next generation assigns it.
pub fn assign_cooperative_sticky(
    subscribers: &[Subscriber],
    partitions: &BTreeMap<String, usize>,
) -> Assignment {
    let mut shares = Shares::new(subscribers);
    shares.keep_owned(partitions);
    shares.assign_the_rest(partitions);
    shares.even_out();
    shares.withhold_claimed();
    shares.assignment()
}

/// The share of each member, by its index among the subscribers.
struct Shares<'a> {
    subscribers: &'a [Subscriber],
    /// The subscribers of each topic.
    wanted_by: BTreeMap<&'a str, Vec<usize>>,
    held: Vec<BTreeMap<&'a str, BTreeSet<i32>>>,
    sizes: Vec<usize>,
}

impl<'a> Shares<'a> {
    fn new(subscribers: &'a [Subscriber]) -> Self {
        let mut wanted_by: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, subscriber) in subscribers.iter().enumerate() {
            for topic in subscriber.topics.iter().collect::<BTreeSet<_>>() {
                wanted_by.entry(topic).or_default().push(index);
            }
        }
        let nothing = vec![BTreeMap::new(); subscribers.len()];
        Self { subscribers, wanted_by, held: nothing, sizes: vec![0; subscribers.len()] }
    }

    /// If several members claim a partition, the claim of the latest generation counts; of equal ones none does.
    fn keep_owned(&mut self, partitions: &BTreeMap<String, usize>) {
        let mut claims: BTreeMap<(&str, i32), Vec<usize>> = BTreeMap::new();
        for (index, subscriber) in self.subscribers.iter().enumerate() {
            for (topic, partition) in &subscriber.owned {
                let count = partitions.get(topic).copied().unwrap_or(0);
                if subscriber.topics.contains(topic)
                    && usize::try_from(*partition).is_ok_and(|index| index < count)
                {
                    claims.entry((topic, *partition)).or_default().push(index);
                }
            }
        }
        for ((topic, partition), claimants) in claims {
            let generation = |index: &usize| self.subscribers[*index].generation;
            let latest = claimants.iter().map(generation).max();
            let mut rightful = claimants.iter().filter(|index| Some(generation(index)) == latest);
            if let (Some(&owner), None) = (rightful.next(), rightful.next()) {
                self.give(owner, topic, partition);
            }
        }
    }

    fn assign_the_rest(&mut self, partitions: &'a BTreeMap<String, usize>) {
        // Topics with few subscribers come first: partitions of the others can still go elsewhere.
        let mut topics: Vec<_> = partitions.iter().collect();
        topics.sort_by_key(|(topic, _)| self.wanted_by.get(topic.as_str()).map_or(0, Vec::len));
        for (topic, &count) in topics {
            let Some(members) = self.wanted_by.get(topic.as_str()).cloned() else { continue };
            let held: BTreeSet<i32> = members
                .iter()
                .filter_map(|index| self.held[*index].get(topic.as_str()))
                .flatten()
                .copied()
                .collect();
            for partition in (0..count).map(|partition| partition as i32) {
                if !held.contains(&partition)
                    && let Some(least) = self.least_of(&members)
                {
                    self.give(least, topic, partition);
                }
            }
        }
    }

    /// Moves one partition after another from a member to one that has at least two fewer and wants it. Each move makes
    /// the sum of the squares of all shares smaller, so it ends.
    fn even_out(&mut self) {
        while let Some((from, to, topic)) = self.uneven() {
            let Some(partition) = self.movable(from, topic) else { return };
            self.take(from, topic, partition);
            self.give(to, topic, partition);
        }
    }

    /// A partition to move: one that is not processed there, or else any.
    fn movable(&self, from: usize, topic: &str) -> Option<i32> {
        let held = self.held[from].get(topic)?;
        let owned = &self.subscribers[from].owned;
        let idle = held.iter().find(|partition| !owned.contains(&(topic.to_owned(), **partition)));
        idle.or(held.last()).copied()
    }

    fn uneven(&self) -> Option<(usize, usize, &'a str)> {
        let mut largest_first: Vec<usize> = (0..self.sizes.len()).collect();
        largest_first
            .sort_by_key(|index| (usize::MAX - self.sizes[*index], &self.subscribers[*index].member));
        largest_first.into_iter().find_map(|from| {
            let moves = self.held[from].keys().filter_map(|topic| {
                let to = self.least_of(self.wanted_by.get(topic)?)?;
                (self.sizes[to] + 1 < self.sizes[from]).then_some((from, to, *topic))
            });
            moves.min_by_key(|(_, to, _)| self.sizes[*to])
        })
    }

    /// `CooperativeStickyAssignor.adjustAssignment`, for every claim, rightful or not: the claimant may still process
    /// the partition.
    fn withhold_claimed(&mut self) {
        for (claimant, subscriber) in self.subscribers.iter().enumerate() {
            for (topic, partition) in &subscriber.owned {
                for (index, held) in self.held.iter_mut().enumerate() {
                    if index != claimant
                        && let Some(partitions) = held.get_mut(topic.as_str())
                    {
                        partitions.remove(partition);
                    }
                }
            }
        }
    }

    fn assignment(self) -> Assignment {
        let shares = self.subscribers.iter().zip(self.held).map(|(subscriber, held)| {
            let topics = held.into_iter().filter(|(_, partitions)| !partitions.is_empty());
            let topics =
                topics.map(|(topic, partitions)| (topic.to_owned(), partitions.into_iter().collect()));
            (subscriber.member.clone(), topics.collect())
        });
        shares.collect()
    }

    fn least_of(&self, members: &[usize]) -> Option<usize> {
        let size_then_id = |index: &&usize| (self.sizes[**index], &self.subscribers[**index].member);
        members.iter().min_by_key(size_then_id).copied()
    }

    fn give(&mut self, index: usize, topic: &'a str, partition: i32) {
        if self.held[index].entry(topic).or_default().insert(partition) {
            self.sizes[index] += 1;
        }
    }

    fn take(&mut self, index: usize, topic: &'a str, partition: i32) {
        if let Some(partitions) = self.held[index].get_mut(topic)
            && partitions.remove(&partition)
        {
            self.sizes[index] -= 1;
            if partitions.is_empty() {
                self.held[index].remove(topic);
            }
        }
    }
}
