//! The cooperative sticky assignor: even shares, few moves, and one owner per partition, whatever
//! the members claim.

use std::collections::{BTreeMap, BTreeSet};

use highwater_kafka::group::{Assignment, Assignor, Subscriber, assign_cooperative_sticky, is_cooperative};
use proptest::prelude::*;

fn subscriber(member: &str, topics: &[&str], owned: &[i32]) -> Subscriber {
    Subscriber {
        member: member.to_owned(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        owned: owned.iter().map(|partition| ("t".to_owned(), *partition)).collect(),
        generation: 1,
        ..Subscriber::default()
    }
}

fn counts(topics: &[(&str, usize)]) -> BTreeMap<String, usize> {
    topics.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect()
}

fn share(assignment: &Assignment, member: &str) -> BTreeSet<(String, i32)> {
    let topics = assignment[member].iter();
    topics.flat_map(|(topic, partitions)| partitions.iter().map(|p| (topic.clone(), *p))).collect()
}

/// The partitions of the members after one generation, in which they give up those no longer assigned to them.
fn follow(subscribers: &[Subscriber], assignment: &Assignment, generation: i32) -> Vec<Subscriber> {
    let next = subscribers.iter().map(|subscriber| Subscriber {
        owned: share(assignment, &subscriber.member),
        generation,
        ..subscriber.clone()
    });
    next.collect()
}

#[test]
fn a_group_is_cooperative_where_every_assignor_on_offer_is() {
    assert!(is_cooperative(&[Assignor::CooperativeSticky]));
    assert!(!is_cooperative(&[Assignor::CooperativeSticky, Assignor::Range]));
    assert!(!is_cooperative(&[Assignor::Range]));
}

#[test]
fn a_new_member_gets_its_share_only_when_it_has_been_given_up() {
    let members = [subscriber("a", &["t"], &[0, 1, 2]), subscriber("b", &["t"], &[])];
    let first = assign_cooperative_sticky(&members, &counts(&[("t", 3)]));
    assert_eq!(first["a"]["t"].len(), 2);
    assert!(first["b"].is_empty());
    let second = assign_cooperative_sticky(&follow(&members, &first, 2), &counts(&[("t", 3)]));
    assert_eq!(second["a"], first["a"]);
    assert_eq!(second["b"]["t"].len(), 1);
}

#[test]
fn of_two_claims_the_one_of_the_later_generation_counts_but_both_must_be_given_up() {
    let mut late = subscriber("late", &["t"], &[0]);
    late.generation = 7;
    let members = [subscriber("early", &["t"], &[0]), late];
    let first = assign_cooperative_sticky(&members, &counts(&[("t", 1)]));
    assert!(first["early"].is_empty() && first["late"].is_empty());
    let second = assign_cooperative_sticky(&follow(&members, &first, 8), &counts(&[("t", 1)]));
    assert_eq!(second["early"].len() + second["late"].len(), 1);
}

#[test]
fn what_nobody_wants_or_does_not_exist_any_more_goes_to_nobody() {
    let members = [subscriber("a", &["u"], &[0]), subscriber("b", &["t"], &[5])];
    let assignment = assign_cooperative_sticky(&members, &counts(&[("t", 1), ("u", 1), ("v", 1)]));
    assert_eq!(assignment["a"], BTreeMap::from([("u".into(), vec![0])]));
    assert!(assignment["b"].is_empty(), "the other one still claims t/0");
}

/// Members that want one or two of three topics, and claim whatever they like.
fn claims() -> impl Strategy<Value = Vec<Subscriber>> {
    let wants = prop::sample::subsequence(vec!["t", "u", "v"], 1..=3);
    let owned = prop::collection::btree_set((prop::sample::select(vec!["t", "u", "v"]), 0..8_i32), 0..12);
    prop::collection::vec((wants, owned, -1..3_i32), 1..7).prop_map(|members| {
        let members = members.into_iter().enumerate().map(|(place, (wants, owned, generation))| Subscriber {
            member: format!("member-{place}"),
            topics: wants.into_iter().map(str::to_owned).collect(),
            owned: owned.into_iter().map(|(topic, partition)| (topic.to_owned(), partition)).collect(),
            generation,
            ..Subscriber::default()
        });
        members.collect()
    })
}

proptest! {
    #[test]
    fn no_partition_has_two_owners_or_an_owner_while_another_claims_it(
        members in claims(),
        (t, u, v) in (0_usize..9, 0_usize..9, 0_usize..9),
    ) {
        let counts = counts(&[("t", t), ("u", u), ("v", v)]);
        let assignment = assign_cooperative_sticky(&members, &counts);
        prop_assert_eq!(assignment.len(), members.len());
        let mut seen = BTreeSet::new();
        for member in &members {
            for partition in share(&assignment, &member.member) {
                prop_assert!(member.topics.contains(&partition.0));
                prop_assert!((partition.1 as usize) < counts[&partition.0]);
                let claimed = members.iter().any(|other| other != member && other.owned.contains(&partition));
                prop_assert!(!claimed, "{partition:?} is still another's");
                prop_assert!(seen.insert(partition.clone()), "{partition:?} has two owners");
            }
        }
    }

    #[test]
    fn whatever_is_claimed_all_is_assigned_evenly_some_generations_later_and_stays(
        members in claims(),
        (t, u, v) in (0_usize..9, 0_usize..9, 0_usize..9),
    ) {
        let counts = counts(&[("t", t), ("u", u), ("v", v)]);
        // Two are enough where all want the same; else what is given up can make another move worth while.
        let alike = members.windows(2).all(|pair| pair[0].topics == pair[1].topics);
        let mut now = members;
        for generation in 3..if alike { 5 } else { 8 } {
            let assignment = assign_cooperative_sticky(&now, &counts);
            now = follow(&now, &assignment, generation);
        }
        let wanted = |topic: &str| now.iter().any(|member| member.topics.iter().any(|t| t == topic));
        let all: usize = counts.iter().filter(|(topic, _)| wanted(topic)).map(|(_, count)| count).sum();
        prop_assert_eq!(now.iter().map(|member| member.owned.len()).sum::<usize>(), all);
        for richer in &now {
            for poorer in &now {
                let could_move = richer.owned.iter().any(|(topic, _)| poorer.topics.contains(topic));
                prop_assert!(
                    !could_move || richer.owned.len() <= poorer.owned.len() + 1,
                    "{richer:?} {poorer:?}"
                );
            }
        }
        let again = assign_cooperative_sticky(&now, &counts);
        prop_assert_eq!(&follow(&now, &again, now[0].generation), &now, "nothing moves without a reason");
    }

    #[test]
    fn when_a_member_comes_or_goes_no_more_moves_than_its_share(
        partitions in 1_usize..40,
        before in 1_usize..8,
    ) {
        let counts = counts(&[("t", partitions)]);
        let names: Vec<String> = (0..=before).map(|place| format!("member-{place}")).collect();
        let fresh: Vec<_> = names[..before].iter().map(|name| subscriber(name, &["t"], &[])).collect();
        let settled = follow(&fresh, &assign_cooperative_sticky(&fresh, &counts), 1);

        let mut joined = settled.clone();
        joined.push(subscriber(&names[before], &["t"], &[]));
        let first = assign_cooperative_sticky(&joined, &counts);
        let kept: usize = settled.iter().map(|member| share(&first, &member.member).len()).sum();
        prop_assert_eq!(partitions - kept, partitions / (before + 1), "exactly the new one's share is given up");
        let with_all = follow(&joined, &first, 2);
        let with_all = follow(&with_all, &assign_cooperative_sticky(&with_all, &counts), 3);

        let left = &with_all[1..];
        let after = assign_cooperative_sticky(left, &counts);
        for member in left {
            prop_assert!(share(&after, &member.member).is_superset(&member.owned), "who stays keeps all");
        }
    }
}
