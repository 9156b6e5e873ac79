//! The range assignor, by the examples in the documentation of Java's `RangeAssignor`, and by property.

use std::collections::BTreeMap;

use highwater_kafka::group::{Subscriber, assign_range};
use proptest::prelude::*;

fn subscriber(member: &str, topics: &[&str]) -> Subscriber {
    Subscriber {
        member: member.to_owned(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        ..Subscriber::default()
    }
}

fn counts(topics: &[(&str, usize)]) -> BTreeMap<String, usize> {
    topics.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect()
}

#[test]
fn the_first_members_get_one_more_where_it_does_not_come_out_even() {
    let subscribers = [subscriber("c1", &["t0", "t1"]), subscriber("c0", &["t0", "t1"])];
    let assignment = assign_range(&subscribers, &counts(&[("t0", 3), ("t1", 3)]));
    assert_eq!(assignment["c0"], BTreeMap::from([("t0".into(), vec![0, 1]), ("t1".into(), vec![0, 1])]));
    assert_eq!(assignment["c1"], BTreeMap::from([("t0".into(), vec![2]), ("t1".into(), vec![2])]));
}

#[test]
fn only_subscribers_of_a_topic_share_it() {
    let subscribers = [subscriber("a", &["t0"]), subscriber("b", &["t0", "t1"]), subscriber("c", &["t1"])];
    let assignment = assign_range(&subscribers, &counts(&[("t0", 2), ("t1", 2)]));
    assert_eq!(assignment["a"], BTreeMap::from([("t0".into(), vec![0])]));
    assert_eq!(assignment["b"], BTreeMap::from([("t0".into(), vec![1]), ("t1".into(), vec![0])]));
    assert_eq!(assignment["c"], BTreeMap::from([("t1".into(), vec![1])]));
}

#[test]
fn more_members_than_partitions_leaves_the_last_ones_idle() {
    let subscribers = [subscriber("a", &["t"]), subscriber("b", &["t"]), subscriber("c", &["t"])];
    let assignment = assign_range(&subscribers, &counts(&[("t", 2)]));
    assert!(assignment["c"].is_empty());
}

#[test]
fn static_members_come_first_and_by_their_instance_id() {
    let mut z = subscriber("z", &["t"]);
    z.instance = Some("1".to_owned());
    let mut y = subscriber("y", &["t"]);
    y.instance = Some("2".to_owned());
    let subscribers = [subscriber("a", &["t"]), y, z];
    let assignment = assign_range(&subscribers, &counts(&[("t", 3)]));
    assert_eq!(assignment["z"]["t"], [0]);
    assert_eq!(assignment["y"]["t"], [1]);
    assert_eq!(assignment["a"]["t"], [2]);
}

proptest! {
    #[test]
    fn every_partition_goes_to_exactly_one_member_and_shares_differ_by_one_at_most(
        members in prop::collection::btree_set("[a-z]{1,6}", 1..8),
        partitions in 0_usize..40,
    ) {
        let subscribers: Vec<_> = members.iter().map(|member| subscriber(member, &["t"])).collect();
        let assignment = assign_range(&subscribers, &counts(&[("t", partitions)]));
        let shares: Vec<Vec<i32>> =
            assignment.values().map(|topics| topics.get("t").cloned().unwrap_or_default()).collect();
        let mut all: Vec<i32> = shares.concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..partitions as i32).collect::<Vec<_>>());
        let sizes = shares.iter().map(Vec::len);
        prop_assert!(sizes.clone().max().unwrap_or(0) - sizes.min().unwrap_or(0) <= 1);
        prop_assert!(shares.iter().all(|share| share.windows(2).all(|pair| pair[1] == pair[0] + 1)));
    }
}
