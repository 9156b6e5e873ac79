//! Answers from all lanes, in the order in which the events were processed.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Deref, sync::Arc};

use super::lane::{Lane, Sequence, is_of_type};
use crate::store::{Page, Position, Query, Stored};

/// The most events looked at for one page: bounds how long the lanes are locked when few match.
const MOST_LOOKED_AT: usize = 4096;

/// The events that match, at `from` or later and before `until`, at most `limit` of them. The page is
/// shorter, with `next` set, where too many had to be looked at.
pub(super) fn page(
    lanes: &[impl Deref<Target = Lane>],
    query: &Query,
    from: Position,
    until: Position,
    limit: usize,
) -> Page {
    let wanted = Wanted::from(query);
    let sequences: Vec<Sequence<'_>> = lanes
        .iter()
        .filter_map(|lane| lane.narrowest(wanted.user.as_deref(), wanted.event_type.as_deref()))
        .collect();
    // The place of the next event of each sequence, and where in the sequence it stands.
    let mut heads = BinaryHeap::with_capacity(sequences.len());
    for (number, sequence) in sequences.iter().enumerate() {
        let at = sequence.start(from);
        if let Some(stored) = sequence.get(at) {
            heads.push(Reverse((stored.place, number, at)));
        }
    }
    let mut page = Page { events: Vec::with_capacity(limit.min(256)), next: None };
    let mut looked_at = 0;
    while let Some(Reverse((place, number, at))) = heads.pop().filter(|head| head.0.0 < until) {
        let Some(stored) = sequences[number].get(at) else { continue };
        let has = wanted.has(stored);
        // A full page goes on to the next event that matches, so that what `next` promises is there.
        if looked_at == MOST_LOOKED_AT || (has && page.events.len() == limit) {
            page.next = Some(place);
            break;
        }
        looked_at += 1;
        if has {
            page.events.push(Arc::clone(stored));
        }
        if let Some(following) = sequences[number].get(at + 1) {
            heads.push(Reverse((following.place, number, at + 1)));
        }
    }
    page
}

/// A query as it is compared: against bytes, lower case and milliseconds.
struct Wanted {
    user: Option<Vec<u8>>,
    event_type: Option<String>,
    from: i64,
    to: i64,
}

impl From<&Query> for Wanted {
    fn from(query: &Query) -> Self {
        Self {
            // The serializer that wrote the stored ones.
            user: query.user_id.as_ref().map(|user| serde_json::to_vec(user).unwrap_or_default()),
            event_type: query.event_type.as_ref().map(|event_type| event_type.to_lowercase()),
            from: query.from.map_or(i64::MIN, |from| from.timestamp_millis()),
            to: query.to.map_or(i64::MAX, |to| to.timestamp_millis()),
        }
    }
}

impl Wanted {
    fn has(&self, stored: &Stored) -> bool {
        let event = &stored.event;
        (self.from..self.to).contains(&event.timestamp_millis())
            && self.user.as_ref().is_none_or(|user| user == event.user_id_json())
            && self.event_type.as_ref().is_none_or(|wanted| is_of_type(event, wanted))
    }
}
