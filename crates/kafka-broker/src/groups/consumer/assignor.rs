//! The assignors of the coordinator (`UniformAssignor` and `RangeAssignor` in Java's group coordinator).

use std::{collections::BTreeMap, str::FromStr};

use thiserror::Error;
use uuid::Uuid;

use super::{Partitions, TopicPartition};

/// An assignor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerAssignor {
    /// All members get as many partitions, and as few move as can be: Kafka's default.
    Uniform,
    /// Each topic's partitions are cut into ranges, so that members have the same ones of several topics.
    Range,
}

/// The coordinator has no assignor of that name.
#[derive(Debug, Error)]
#[error("ServerAssignor {0} is not supported. Supported assignors: uniform, range.")]
pub struct UnknownAssignor(String);

impl ServerAssignor {
    /// Its name in Kafka's protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The target of each subscriber, in their order.
    pub(super) fn assign(self, subscribers: &[Subscriber<'_>]) -> Vec<Partitions> {
        match self {
            Self::Uniform => uniform(subscribers),
            Self::Range => range(subscribers),
        }
    }
}

impl FromStr for ServerAssignor {
    type Err = UnknownAssignor;

    fn from_str(name: &str) -> Result<Self, UnknownAssignor> {
        match name {
            "uniform" => Ok(Self::Uniform),
            "range" => Ok(Self::Range),
            _ => Err(UnknownAssignor(name.to_owned())),
        }
    }
}

/// A member, as assignors see it.
#[derive(Debug)]
pub(super) struct Subscriber<'a> {
    pub(super) id: &'a str,
    pub(super) instance: Option<&'a str>,
    /// The ids of the topics that it subscribes to and that exist, and their numbers of partitions.
    pub(super) topics: BTreeMap<Uuid, i32>,
    /// Its target before.
    pub(super) target: &'a Partitions,
}

impl Subscriber<'_> {
    fn can_have(&self, (topic, partition): TopicPartition) -> bool {
        self.topics.get(&topic).is_some_and(|partitions| partition < *partitions)
    }
}

/// The topics of all subscribers.
fn topics(subscribers: &[Subscriber<'_>]) -> BTreeMap<Uuid, i32> {
    subscribers.iter().flat_map(|subscriber| &subscriber.topics).map(|(id, count)| (*id, *count)).collect()
}

fn uniform(subscribers: &[Subscriber<'_>]) -> Vec<Partitions> {
    let kept = subscribers.iter().map(|subscriber| {
        subscriber.target.iter().copied().filter(|partition| subscriber.can_have(*partition)).collect()
    });
    let mut targets: Vec<Partitions> = kept.collect();
    for (topic, count) in topics(subscribers) {
        for partition in (0..count).map(|number| (topic, number)) {
            if targets.iter().any(|target| target.contains(&partition)) {
                continue;
            }
            if let Some(least) = least_loaded(&targets, subscribers, partition) {
                targets[least].insert(partition);
            }
        }
    }
    while let Some((partition, from, to)) = unfair(&targets, subscribers) {
        targets[from].remove(&partition);
        targets[to].insert(partition);
    }
    targets
}

/// The subscriber that has the fewest partitions of those that can have this one.
fn least_loaded(
    targets: &[Partitions],
    subscribers: &[Subscriber<'_>],
    partition: TopicPartition,
) -> Option<usize> {
    let able = (0..subscribers.len()).filter(|index| subscribers[*index].can_have(partition));
    able.min_by_key(|index| targets[*index].len())
}

/// A partition whose move makes two subscribers more alike: the partition, the subscriber that
/// has it, and the one that gets it.
fn unfair(targets: &[Partitions], subscribers: &[Subscriber<'_>]) -> Option<(TopicPartition, usize, usize)> {
    let moves = targets.iter().enumerate().flat_map(|(from, target)| {
        target.iter().rev().filter_map(move |partition| {
            let to = least_loaded(targets, subscribers, *partition)?;
            (targets[to].len() + 1 < target.len()).then_some((*partition, from, to))
        })
    });
    moves.max_by_key(|(_, from, to)| targets[*from].len() - targets[*to].len())
}

/// Static members come first, by their instance ids, so that a restart changes nothing (`sortMemberIds`).
fn range(subscribers: &[Subscriber<'_>]) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..subscribers.len()).collect();
    order.sort_by_key(|index| {
        let Subscriber { id, instance, .. } = &subscribers[*index];
        (instance.is_none(), *instance, *id)
    });
    let mut targets = vec![Partitions::new(); subscribers.len()];
    for (topic, count) in topics(subscribers) {
        let able = order.iter().copied().filter(|index| subscribers[*index].topics.contains_key(&topic));
        let able: Vec<usize> = able.collect();
        let mut left = 0..count;
        for (place, index) in able.iter().enumerate() {
            let share = left.len().div_ceil(able.len() - place);
            targets[*index].extend(left.by_ref().take(share).map(|partition| (topic, partition)));
        }
    }
    targets
}
