//! Each stored event was posted, and is stored once, by the owner of its partition.

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::{Findings, Guarantee};
use crate::{
    evidence::{Evidence, InstanceContents},
    history::{Known, WriteState},
};

pub(super) fn check(known: &Known, evidence: &Evidence, findings: &mut Findings) {
    let mut partitions: HashMap<Uuid, BTreeSet<i32>> = HashMap::new();
    for written in &evidence.written {
        if let Some(id) = written.id {
            partitions.entry(id).or_default().insert(written.place.0);
        }
    }
    for instance in &evidence.instances {
        let mut seen = HashSet::new();
        for event in &instance.events {
            if !seen.insert(event.id) {
                let what = format!("instance {} has event {} more than once", instance.number, event.id);
                findings.add(Guarantee::NothingTwice, what);
            }
            let Some(posted) = known.posted.get(&event.id) else {
                if !known.of_before.contains_key(&event.id) {
                    let what = format!("instance {} has event {}", instance.number, event.id);
                    findings.add(Guarantee::NothingInvented, what);
                }
                continue;
            };
            if posted.state == WriteState::Aborted {
                let what = format!("event {} of an aborted transaction is stored", event.id);
                findings.add(Guarantee::NothingInvented, what);
            }
            if (posted.user, posted.number) != (event.user, event.number) {
                let what = format!("event {} has not the content that was posted", event.id);
                findings.add(Guarantee::NothingInvented, what);
            }
        }
    }
    if evidence.stored.is_some() {
        return; // each instance has all of it
    }
    for (id, holders) in evidence.holders.iter().filter(|(_, holders)| holders.len() > 1) {
        let Some(posted) = known.posted.get(id) else { continue };
        if posted.spans_partition_counts() {
            continue;
        }
        let holders: BTreeSet<usize> = holders.iter().copied().collect();
        if holders.len() < 2 {
            continue; // told above
        }
        let empty = BTreeSet::new();
        let written = partitions.get(id).unwrap_or(&empty);
        let is_owner = |instance: &&InstanceContents| !instance.partitions.is_disjoint(written);
        let of = |holder: &usize| evidence.instances.iter().find(|instance| instance.number == *holder);
        let (owners, others): (Vec<_>, Vec<_>) = holders.iter().filter_map(of).partition(is_owner);
        if let (Some(owner), Some(other)) = (owners.first(), others.first()) {
            let what = format!(
                "instance {} still has event {id} of partition {written:?}, which is instance {}'s",
                other.number, owner.number
            );
            findings.add(Guarantee::NoWorkOfTheFenced, what);
        } else {
            let what = format!("event {id} of partitions {written:?} is stored by instances {holders:?}");
            findings.add(Guarantee::NothingTwice, what);
        }
    }
}
