//! Answers from all lanes, in the order in which the events were processed, or the other way round.

use std::{
    collections::BinaryHeap,
    ops::{Deref, Range},
    sync::Arc,
};

use super::{
    lane::{Lane, is_of_type},
    walk::{Stop, Walk},
};
use crate::store::{Direction, Page, Position, Query, Stored};

/// The most looks for one page: bounds how long the lanes are locked when few events match, to some 100 µs.
const MOST_LOOKS: usize = 8 * 1024;
/// How many looks one into an event itself counts for, which is somewhere else in memory.
const LOOK_INSIDE: usize = 16;

/// The events that match, of those whose place is within, at most `limit` of them. The page is shorter, with `rest`
/// set, where too many had to be looked at.
pub(super) fn page(
    lanes: &[impl Deref<Target = Lane>],
    query: &Query,
    within: Range<Position>,
    limit: usize,
) -> Page {
    let wanted = Wanted::from(query);
    let mut walks: Vec<Walk<'_>> =
        lanes.iter().filter_map(|lane| lane.walk(&wanted, query.direction, &within)).collect();
    // Where each walk stands: the greatest is that which is next.
    let head = |walk: &Walk<'_>, number| Some((rank(walk.stop()?.event().place, query.direction), number));
    let mut heads = BinaryHeap::with_capacity(walks.len());
    heads.extend(walks.iter().enumerate().filter_map(|(number, walk)| head(walk, number)));
    let mut page = Page { events: Vec::with_capacity(limit.min(256)), rest: None };
    let mut budget = MOST_LOOKS;
    while let Some((_, number)) = heads.pop() {
        let walk = &mut walks[number];
        let Some(stop) = walk.stop() else { continue };
        let found = match stop {
            Stop::At(stored) if wanted.has(stored) => Some(stored),
            Stop::At(_) | Stop::Before(_) => None,
        };
        // A full page goes on to the next event that matches, so that what `rest` promises is there.
        if budget == 0 || (found.is_some() && page.events.len() == limit) {
            page.rest = Some(query.direction.from(stop.event().place, within));
            break;
        }
        if let Stop::At(_) = stop {
            budget = budget.saturating_sub(LOOK_INSIDE);
        }
        page.events.extend(found.map(Arc::clone));
        walk.step(&mut budget);
        heads.extend(head(walk, number));
    }
    page
}

/// The greater, the sooner it comes.
fn rank(place: Position, direction: Direction) -> u64 {
    match direction {
        Direction::Forward => !place.0,
        Direction::Backward => place.0,
    }
}

/// A query as it is compared: against bytes, lower case and milliseconds.
pub(super) struct Wanted {
    /// A JSON string.
    pub(super) user: Option<Vec<u8>>,
    /// In lower case.
    pub(super) event_type: Option<String>,
    pub(super) times: Range<i64>,
}

impl From<&Query> for Wanted {
    fn from(query: &Query) -> Self {
        let from = query.from.map_or(i64::MIN, |from| from.timestamp_millis());
        let to = query.to.map_or(i64::MAX, |to| to.timestamp_millis());
        Self {
            // The serializer that wrote the stored ones.
            user: query.user_id.as_ref().map(|user| serde_json::to_vec(user).unwrap_or_default()),
            event_type: query.event_type.as_ref().map(|event_type| event_type.to_lowercase()),
            times: from..to,
        }
    }
}

impl Wanted {
    /// Whether the event has these: its time was compared already, of the others no more than hashes.
    fn has(&self, stored: &Stored) -> bool {
        self.user.as_ref().is_none_or(|user| user == stored.user_id_json())
            && self.event_type.as_ref().is_none_or(|wanted| is_of_type(stored, wanted))
    }
}
