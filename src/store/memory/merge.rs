//! A page of a query: a merge of the scans of all store logs, in the order of processing or its reverse.

use std::{
    collections::BinaryHeap,
    ops::{Deref, Range},
    sync::Arc,
};

use super::{
    scan::{Candidate, Scan},
    store_log::StoreLog,
};
use crate::store::{Criteria, Direction, EventPage, EventQuery, PAGE_BYTES, Positions, SequenceNumber, Span};

/// The most comparisons for one page. It bounds the time for which the logs are locked when few events match, to some 100
/// µs.
const MAX_COMPARISONS: usize = 8 * 1024;
/// The number of comparisons that a look into an event counts for. Such a look is a cache miss.
const COST_OF_EVENT: usize = 16;

/// The events that match and are within the span, at most `limit` of them. The page is shorter, with `rest` set, if
/// [`MAX_COMPARISONS`] or [`PAGE_BYTES`] ends it.
pub(super) fn page(
    logs: &[(i32, impl Deref<Target = StoreLog>)],
    query: &EventQuery,
    within: &Span,
    limit: usize,
) -> EventPage {
    let criteria = Criteria::from(query);
    let (partitions, mut scans): (Vec<i32>, Vec<Scan<'_>>) = logs
        .iter()
        .filter_map(|(partition, log)| {
            let range = within.0.get(partition)?;
            Some((*partition, log.scan(&criteria, query.direction, range)?))
        })
        .unzip();
    // One entry per scan; the greatest rank comes next.
    let head =
        |scan: &Scan<'_>, number| Some((rank(scan.candidate()?.slot().sequence, query.direction), number));
    let mut heads = BinaryHeap::with_capacity(scans.len());
    heads.extend(scans.iter().enumerate().filter_map(|(number, scan)| head(scan, number)));
    let complete_from = logs.iter().filter(|(partition, _)| within.0.contains_key(partition));
    let complete_from = complete_from.filter_map(|(partition, log)| Some((*partition, log.complete_from()?)));
    let mut page = EventPage {
        events: Vec::with_capacity(limit.min(256)),
        rest: None,
        complete_from: Positions(complete_from.collect()),
    };
    let mut budget = MAX_COMPARISONS;
    let mut bytes = 0;
    while let Some((_, number)) = heads.pop() {
        let scan = &mut scans[number];
        let Some(candidate) = scan.candidate() else { continue };
        let found = match candidate {
            Candidate::Likely(stored) if criteria.match_content(stored) => Some(stored),
            Candidate::Likely(_) | Candidate::Unchecked(_) => None,
        };
        // A full page goes on to the next match, so that `rest` is only set where an event follows.
        let is_full = page.events.len() == limit || bytes >= PAGE_BYTES;
        if budget == 0 || (found.is_some() && is_full) {
            let next = scans.iter().map(|scan| scan.candidate().map(|candidate| candidate.slot().position));
            page.rest = Some(rest(within, query.direction, partitions.into_iter().zip(next)));
            break;
        }
        if let Candidate::Likely(_) = candidate {
            budget = budget.saturating_sub(COST_OF_EVENT);
        }
        bytes += found.map_or(0, |stored| stored.json().len());
        page.events.extend(found.map(Arc::clone));
        scan.advance(&mut budget);
        heads.extend(head(scan, number));
    }
    page
}

/// The rest of a span, given the partitions' next candidates. Partitions without one are read to their ends.
fn rest(within: &Span, direction: Direction, candidates: impl Iterator<Item = (i32, Option<i64>)>) -> Span {
    let nothing = |(partition, range): (&i32, &Range<i64>)| (*partition, direction.nothing(range.clone()));
    let mut rest = Span(within.0.iter().map(nothing).collect());
    for (partition, candidate) in candidates {
        if let (Some(candidate), Some(range)) = (candidate, within.0.get(&partition)) {
            rest.0.insert(partition, direction.rest(candidate, range.clone()));
        }
    }
    rest
}

/// A key by which the next event is the greatest.
fn rank(sequence: SequenceNumber, direction: Direction) -> u64 {
    match direction {
        Direction::Forward => !sequence.0,
        Direction::Backward => sequence.0,
    }
}
