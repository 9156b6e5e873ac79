//! Committed offsets never went back, and never passed a record that was not processed.

use std::collections::{BTreeMap, HashMap, btree_map::Entry};

use uuid::Uuid;

use super::{Findings, Guarantee, time};
use crate::{
    commits::Commit,
    evidence::Evidence,
    history::{Known, Millis},
    logs::Written,
    malformed,
};

/// Instances and brokers read one clock, in milliseconds.
const TICK: Millis = 5;
/// The least time from an owner's last commit to that of another who took over because the first was not heard: a session
/// less what the heartbeats before count.
const SESSION: Millis = 4_000;
/// For so long at most a coordinator's log may have what is not answered: its replicas' lag, a broker's session.
const UNANSWERED: Millis = 12_000;
/// The last lines of a process that is killed can be lost, of so long a time.
const LAST_LINES: Millis = 300;

pub(super) fn check(known: &Known, evidence: &Evidence, findings: &mut Findings) {
    let mut by_partition: BTreeMap<i32, Vec<Commit>> = BTreeMap::new();
    for commit in evidence.commits.iter().filter(|commit| commit.at >= known.since) {
        by_partition.entry(commit.partition).or_default().push(*commit);
    }
    let mut processed: HashMap<Uuid, Millis> = HashMap::new();
    for line in &known.processed {
        let first = processed.entry(line.id).or_insert(line.at);
        *first = (*first).min(line.at);
    }
    // A line is missing where the answer of the database was lost.
    for (id, at) in evidence.stored.iter().flat_map(|stored| &stored.events) {
        let first = processed.entry(*id).or_insert(*at);
        *first = (*first).min(*at);
    }
    for (partition, commits) in &by_partition {
        let settled = commits.partition_point(|commit| commit.at < known.settled);
        never_back(*partition, &commits[settled..], known, evidence, findings);
        never_ahead(*partition, commits, &processed, known, evidence, findings);
    }
    for (partition, end) in &evidence.ends {
        let committed = evidence.committed.get(partition).copied().unwrap_or(0);
        if committed > *end {
            let what = format!("partition {partition}: {committed} is committed, and the log ends at {end}");
            findings.add(Guarantee::OffsetsNeverAhead, what);
        }
    }
}

fn never_back(
    partition: i32,
    commits: &[Commit],
    known: &Known,
    evidence: &Evidence,
    findings: &mut Findings,
) {
    let is_reset =
        |at: Millis| known.resets.iter().any(|(from, until)| (*from - TICK..=until + TICK).contains(&at));
    let mut before: Vec<(Millis, i64)> = Vec::new();
    for commit in commits {
        let Some(now) = commit.offset else {
            before.clear();
            continue;
        };
        if is_reset(commit.at) {
            before.clear();
        }
        // After an unclean election the log is another from there on.
        before.retain(|(at, _)| !evidence.elected_between(partition, *at, commit.at));
        if let Some((at, offset)) = before.last().copied()
            && now < offset
        {
            if may_be_overtaken(&before, commit.at, now) {
                findings.overtaken += 1;
            } else {
                let (at, then) = (time(at), time(commit.at));
                let what = format!("partition {partition}: {offset} at {at}, then {now} at {then}");
                findings.add(Guarantee::OffsetsNeverBack, what);
            }
        }
        before.push((commit.at, now));
    }
}

/// Whether a lower commit may be that of an owner that did not know of those just before. A commit that the coordinator
/// cannot replicate is in its log, and no answer tells it, neither the committer's nor another's. If its owner's session
/// ends meanwhile, the next owner begins at the last commit that was answered.
fn may_be_overtaken(before: &[(Millis, i64)], at: Millis, now: i64) -> bool {
    let answered = before.iter().filter(|(then, _)| *then <= at - UNANSWERED);
    before.last().is_some_and(|(last, _)| at - last >= SESSION)
        && answered.map(|(_, offset)| *offset).max().is_none_or(|answered| answered <= now)
}

fn never_ahead(
    partition: i32,
    commits: &[Commit],
    processed: &HashMap<Uuid, Millis>,
    known: &Known,
    evidence: &Evidence,
    findings: &mut Findings,
) {
    // When an offset was first below what is committed: by the height of the commit.
    let mut passed: BTreeMap<i64, Millis> = BTreeMap::new();
    for commit in commits {
        if let Some(offset) = commit.offset
            && let Entry::Vacant(vacant) = passed.entry(offset)
        {
            vacant.insert(commit.at);
        }
    }
    let of_partition = evidence.written.iter().filter(|written| written.place.0 == partition);
    for written in of_partition {
        let mut above = passed.range(written.place.1 + 1..);
        let covering = above.find(|(_, at)| !evidence.is_of_the_log_before(written.place, **at));
        let Some((committed, at)) = covering.map(|(committed, at)| (*committed, *at)) else { continue };
        let done = done_at(written, processed, evidence);
        if done.is_some_and(|done| done <= at + TICK) {
            continue;
        }
        let kills = known.runs.iter().filter_map(|run| run.killed);
        if done.is_none() && kills.into_iter().any(|killed| (killed - at).abs() < LAST_LINES) {
            findings.undecided += 1;
            continue;
        }
        let (partition, offset) = written.place;
        let when = done.map_or("never was".to_owned(), |done| format!("was so at {}", time(done)));
        let what = format!(
            "partition {partition}: {committed} at {}, when offset {offset} was not processed (it {when})",
            time(at)
        );
        findings.add(Guarantee::OffsetsNeverAhead, what);
    }
}

/// When a record was processed, or set aside; an event that is there twice is processed once.
fn done_at(written: &Written, processed: &HashMap<Uuid, Millis>, evidence: &Evidence) -> Option<Millis> {
    if written.key.starts_with(malformed::KEY) {
        return evidence.letters.get(&written.key).copied();
    }
    processed.get(&written.id?).copied()
}
