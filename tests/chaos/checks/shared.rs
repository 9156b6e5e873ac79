//! A database that all instances share has each acknowledged event in one row, and each instance lists all of it.

use std::collections::HashSet;

use uuid::Uuid;

use super::{Findings, Guarantee};
use crate::{
    database::Stored,
    evidence::{Copies, Evidence},
    history::{Known, WriteState},
};

pub(super) fn check(stored: &Stored, known: &Known, evidence: &Evidence, findings: &mut Findings) {
    let rows = stored.events.len();
    let ids: HashSet<Uuid> = stored.events.iter().map(|(id, _)| *id).collect();
    if ids.len() < rows {
        findings
            .add(Guarantee::NothingTwice, format!("the database has {rows} rows for {} events", ids.len()));
    }
    let of_now = known.posted.iter().map(|(id, posted)| (id, posted.state));
    let of_before = known.of_before.iter().map(|(id, state)| (id, *state));
    let acknowledged = of_now.chain(of_before).filter(|(_, state)| *state == WriteState::Acknowledged);
    for (id, _) in acknowledged.filter(|(id, _)| !ids.contains(id) && evidence.lost(id) != Some(Copies::All))
    {
        findings.add(Guarantee::NothingLost, format!("event {id} is in no row of the database"));
    }
    if i64::try_from(rows).ok() != Some(stored.sum) {
        let guarantee =
            if stored.sum < rows as i64 { Guarantee::NothingLost } else { Guarantee::NothingTwice };
        findings.add(guarantee, format!("the database counts {} events in {rows} rows", stored.sum));
    }
    for instance in &evidence.instances {
        let listed: HashSet<Uuid> = instance.events.iter().map(|event| event.id).collect();
        for id in ids.difference(&listed) {
            let what =
                format!("instance {} does not list event {id}, which is in the database", instance.number);
            findings.add(Guarantee::NothingLost, what);
        }
        for id in listed.difference(&ids) {
            let what = format!("instance {} lists event {id}, which is not in the database", instance.number);
            findings.add(Guarantee::NothingInvented, what);
        }
    }
    for (partition, end) in &evidence.ends {
        let position = stored.positions.get(partition).copied().unwrap_or(0);
        if position != *end {
            let what = format!(
                "partition {partition}: {end} is committed, the log's end, and the database is at {position}"
            );
            findings.add(Guarantee::OffsetsNeverAhead, what);
        }
    }
}
