//! No instance works on a partition that is assigned to another one by now.
//!
//! A process that was stopped (SIGSTOP) between its check of the lease and the store finishes its current batch
//! when it continues. It had read the batch before, so no record of it was written while it was stopped. That much is
//! allowed here; `stored` checks that it is gone at the next quiet point.

use std::collections::{BTreeMap, HashMap};

use super::{Findings, Guarantee, time};
use crate::{
    evidence::Evidence,
    history::{Known, Millis, Processed, Run, TopicOffset},
};

/// Lines are dated in milliseconds, and a batch under way is finished.
const OVERLAP: Millis = 500;
/// So long after a pause what was under way is finished.
const AFTER_A_PAUSE: Millis = 1_000;

/// The owner of a partition.
#[derive(Debug, Clone, Copy)]
struct Owner {
    run: usize,
    assigned: Millis,
    began: Millis,
}

pub(super) fn check(known: &Known, evidence: &Evidence, findings: &mut Findings) {
    let written: HashMap<TopicOffset, Millis> =
        evidence.written.iter().map(|written| (written.place, written.at)).collect();
    let mut lines: Vec<&Processed> = known.processed.iter().collect();
    lines.sort_by_key(|line| line.at);
    let mut owners: BTreeMap<i32, Owner> = BTreeMap::new();
    let mut overstayed: BTreeMap<(usize, usize, i32), (usize, Millis, Millis)> = BTreeMap::new();
    for line in lines {
        let partition = line.place.0;
        let assigned = assigned(&known.runs[line.run], partition, line.at);
        let claim = Owner { run: line.run, assigned, began: line.at };
        let owner = owners.entry(partition).or_insert(claim);
        if owner.run == line.run {
            owner.assigned = owner.assigned.max(assigned);
            continue;
        }
        if assigned >= owner.assigned {
            *owner = claim;
            continue;
        }
        // Records that an unclean election lost are in no log any more.
        let written = written.get(&line.place).copied().unwrap_or(Millis::MIN);
        if line.at <= (owner.began + OVERLAP).max(known.settled)
            || is_of_before_a_pause(&known.runs[line.run], line.at, written)
        {
            continue;
        }
        let key = (line.run, owner.run, partition);
        let stay = overstayed.entry(key).or_insert((0, line.at, owner.began));
        stay.0 += 1;
    }
    for ((late, owner, partition), (events, at, began)) in overstayed {
        let of = |run: usize| known.runs[run].instance;
        let what = format!(
            "partition {partition}: instance {} processed {events} events from {} on, and it was instance {}'s \
             since {}",
            of(late),
            time(at),
            of(owner),
            time(began)
        );
        findings.add(Guarantee::NoWorkOfTheFenced, what);
    }
}

/// When it was last assigned that partition; never is before everything.
fn assigned(run: &Run, partition: i32, by: Millis) -> Millis {
    let of_partition = run.assignments.iter().rev().filter(|(_, partitions)| partitions.contains(&partition));
    of_partition.map(|(at, _)| *at).find(|at| *at <= by).unwrap_or(Millis::MIN)
}

/// Whether what was processed then may have been at hand when the process was stopped.
fn is_of_before_a_pause(run: &Run, at: Millis, written: Millis) -> bool {
    // A line may be dated by the moment before.
    let finished = |resumed: &Millis| resumed.saturating_add(AFTER_A_PAUSE);
    run.pauses
        .iter()
        .any(|(stopped, resumed)| written <= *stopped && (*stopped..finished(resumed)).contains(&at))
}
