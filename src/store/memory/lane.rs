//! One partition's events in their order, and the ways to find some of them without looking at all.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    ops::Range,
    sync::Arc,
};

use super::{
    super::{Direction, Event, Position, Stored},
    Share,
    columns::{Columns, Facts, Neighbours},
    index::{Index, Numbers},
    merge::Wanted,
    walk::Walk,
};

/// One partition's events.
///
/// They are numbered one after the other. Events leave oldest first; so whichever group an event is in,
/// when it leaves it is the first there, and everything here costs the same however much is held.
#[derive(Debug, Default)]
pub(super) struct Lane {
    all: VecDeque<Arc<Stored>>,
    columns: Columns,
    /// What they take.
    bytes: u64,
    /// Whether any had to leave for newer ones.
    overflowed: bool,
    /// The number of the first that is held. Numbers wrap: 32 bits count more events than memory holds.
    first: u32,
    /// The number of the first that was read from the log as it is: where offsets fall, the log was made anew, or
    /// cut, and is read from its beginning.
    of_this_log: u32,
    by_user: Index,
    by_type: Index,
    hasher: RandomState,
}

/// What an event takes beside its JSON, in bytes: what is kept of it, and its places in map, order and indexes. As
/// measured, rounded up.
const BESIDE_JSON: u64 = 224;

impl Lane {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// When the event happened that leaves next, in milliseconds since 1970.
    pub(super) fn oldest_millis(&self) -> Option<i64> {
        self.all.front().map(|stored| stored.timestamp_millis())
    }

    /// Whether it holds more than a share of the store; the newest event stays, however large it is.
    pub(super) fn is_over(&self, share: Share) -> bool {
        self.len() as u64 > share.events || (self.bytes > share.bytes && self.len() > 1)
    }

    /// Whether an older event would have no room.
    pub(super) fn is_full(&self, share: Share) -> bool {
        self.overflowed || self.len() as u64 >= share.events || self.bytes >= share.bytes
    }

    /// As [`Lane::pop_oldest`], for newer ones.
    pub(super) fn evict_oldest(&mut self) -> Option<Arc<Stored>> {
        self.overflowed = true;
        self.pop_oldest()
    }

    /// Appends events, in their order.
    pub(super) fn extend<'a>(&mut self, events: impl Iterator<Item = &'a Arc<Stored>>) {
        let mut hashes = Vec::with_capacity(events.size_hint().1.unwrap_or(0));
        for stored in events {
            let number = self.first.wrapping_add(self.all.len() as u32);
            if self.all.back().is_some_and(|last| stored.offset <= last.offset) {
                self.of_this_log = number;
            }
            let of_type = self.hash_of_type(&stored.event_type());
            hashes.push((number, self.hash_of(stored.user_id_json()), of_type));
            self.bytes += size(stored);
            self.columns.push(stored.timestamp_millis(), of_type);
            self.all.push_back(Arc::clone(stored));
        }
        // Each group is somewhere else in memory. In loops that do nothing else, several are waited for at once.
        for &(number, of_user, _) in &hashes {
            self.by_user.push(of_user, number);
        }
        for &(number, _, of_type) in &hashes {
            self.by_type.push(of_type, number);
        }
    }

    pub(super) fn pop_oldest(&mut self) -> Option<Arc<Stored>> {
        let oldest = self.all.pop_front()?;
        self.bytes -= size(&oldest);
        self.by_user.pop(self.hash_of(oldest.user_id_json()), self.first);
        if let Some(of_type) = self.columns.pop() {
            self.by_type.pop(of_type, self.first);
        }
        let next = self.first.wrapping_add(1);
        if self.of_this_log == self.first {
            self.of_this_log = next;
        }
        self.first = next;
        Some(oldest)
    }

    /// The offset from which on the log can give what is held again.
    pub(super) fn held_from(&self) -> Option<i64> {
        self.get(self.index(self.of_this_log)).map(|oldest| oldest.offset)
    }

    /// A walk through the shortest sequence that has every event that is wanted, among others that are not; `None`
    /// where it is known that there is none.
    pub(super) fn walk(
        &self,
        wanted: &Wanted,
        direction: Direction,
        within: &Range<Position>,
    ) -> Option<Walk<'_>> {
        let mut numbers = None;
        let mut facts = Facts { times: wanted.times.clone(), of_type: None };
        if let Some(user) = &wanted.user {
            numbers = Some(self.by_user.find(self.hash_of(user))?);
        }
        if let Some(lower) = &wanted.event_type {
            let hash = self.hash_of(lower.as_bytes());
            let of_type = self.by_type.find(hash)?;
            if numbers.is_none_or(|of_user: &Numbers| of_type.len() < of_user.len()) {
                numbers = Some(of_type);
            } else {
                facts.of_type = Some(hash);
            }
        }
        (!facts.times.is_empty()).then(|| Walk::new(self, numbers, facts, direction, within))
    }

    /// The event that stands there, counted from the oldest.
    pub(super) fn get(&self, index: usize) -> Option<&Arc<Stored>> {
        self.all.get(index)
    }

    /// Where the event of that number stands.
    pub(super) fn index(&self, number: u32) -> usize {
        number.wrapping_sub(self.first) as usize
    }

    /// What there is to compare of the event that stands there, and of those near it.
    pub(super) fn around(&self, index: usize) -> Option<Neighbours<'_>> {
        self.columns.around(index)
    }

    /// How many events have an earlier place.
    pub(super) fn before(&self, place: Position) -> usize {
        // A listing begins and ends with all there is, as a rule: no search, each step of which would be somewhere
        // else in memory.
        if self.all.back().is_none_or(|last| last.place < place) {
            self.len()
        } else if self.all.front().is_none_or(|first| first.place >= place) {
            0
        } else {
            self.all.partition_point(|stored| stored.place < place)
        }
    }

    fn hash_of(&self, bytes: &[u8]) -> u32 {
        self.hasher.hash_one(bytes) as u32
    }

    /// That of the type in lower case.
    fn hash_of_type(&self, event_type: &str) -> u32 {
        // Nearly all are short, and of letters for which no allocation is needed.
        let mut short = [0; 64];
        match short.get_mut(..event_type.len()).filter(|_| event_type.is_ascii()) {
            Some(lower) => {
                lower.copy_from_slice(event_type.as_bytes());
                lower.make_ascii_lowercase();
                self.hash_of(lower)
            }
            None => self.hash_of(event_type.to_lowercase().as_bytes()),
        }
    }
}

fn size(event: &Event) -> u64 {
    event.json().len() as u64 + BESIDE_JSON
}

/// Whether the event is of a type, given in lower case.
pub(super) fn is_of_type(event: &Event, lower: &str) -> bool {
    let event_type = event.event_type();
    event_type.eq_ignore_ascii_case(lower) || event_type.to_lowercase() == lower
}
