//! The range assignor, as Java's `RangeAssignor`.

use std::collections::BTreeMap;

use super::{Assignment, Subscriber};

/// Assigns each topic's partitions in ranges. The members are in order: static ones first, by instance id, then the
/// others by member id. The first ones get one more if the shares are not even.
pub fn assign_range(subscribers: &[Subscriber], partitions: &BTreeMap<String, usize>) -> Assignment {
    let mut assignment: Assignment =
        subscribers.iter().map(|subscriber| (subscriber.member.clone(), BTreeMap::new())).collect();
    for (topic, &count) in partitions {
        let mut members: Vec<_> =
            subscribers.iter().filter(|subscriber| subscriber.topics.contains(topic)).collect();
        members.sort_by_key(|member| {
            (member.instance.is_none(), member.instance.clone(), member.member.clone())
        });
        let mut first = 0;
        for (index, member) in members.iter().enumerate() {
            let share = count / members.len() + usize::from(index < count % members.len());
            let range: Vec<i32> = (first..first + share).map(|partition| partition as i32).collect();
            first += share;
            if !range.is_empty() {
                assignment.entry(member.member.clone()).or_default().insert(topic.clone(), range);
            }
        }
    }
    assignment
}
