//! Each acknowledged event is at its partition and offset, is stored, and is in its user's order.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Findings, Guarantee};
use crate::{
    evidence::{Copies, Evidence},
    history::{Known, TopicOffset, WriteState, user_name},
};

pub(super) fn check(known: &Known, evidence: &Evidence, findings: &mut Findings) {
    let log: HashMap<TopicOffset, Option<Uuid>> =
        evidence.written.iter().map(|written| (written.place, written.id)).collect();
    let is_there =
        |id: &Uuid, place: &TopicOffset| log.get(place).is_some_and(|found| found.as_ref() == Some(id));
    for (id, posted) in known.posted.iter().filter(|(_, posted)| posted.state == WriteState::Acknowledged) {
        findings.spanning += usize::from(posted.spans_partition_counts());
        let name = || format!("event {id} of {}", user_name(posted.user));
        let lost = evidence.lost(id);
        let missing = posted.acknowledged.iter().find(|place| !is_there(id, place));
        if let Some((partition, offset)) = missing.filter(|_| lost.is_none()) {
            let what = format!("{}, acknowledged at {partition}/{offset}, is not there in the log", name());
            findings.add(Guarantee::NothingLost, what);
        } else if !evidence.holders.contains_key(id) && lost != Some(Copies::All) {
            let what = format!("{}, acknowledged at {:?}, is stored by nobody", name(), posted.acknowledged);
            findings.add(Guarantee::NothingLost, what);
        }
    }
    for instance in &evidence.instances {
        // Of what was stored so far, the event with the highest number.
        let mut highest: HashMap<(u32, i32), (u32, Uuid)> = HashMap::new();
        for event in &instance.events {
            let Some(posted) = known.posted.get(&event.id) else { continue };
            // Where it was really written: a record that Kafka never acknowledged has no order.
            let Some(place) = posted.acknowledged.iter().find(|place| is_there(&event.id, place)) else {
                continue;
            };
            if posted.spans_partition_counts() {
                continue;
            }
            let highest = highest.entry((posted.user, place.0)).or_insert((posted.number, event.id));
            if posted.before < highest.0 {
                let what = format!(
                    "instance {} has {} of {} after its number {} ({} after {})",
                    instance.number,
                    posted.number,
                    user_name(posted.user),
                    highest.0,
                    event.id,
                    highest.1
                );
                findings.add(Guarantee::UsersInOrder, what);
            }
            *highest = (posted.number, event.id).max(*highest);
        }
    }
}
