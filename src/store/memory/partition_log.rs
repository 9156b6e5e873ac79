//! The events of one partition in the order of processing, with columns and indexes to find some of them.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    ops::Range,
    sync::Arc,
};

use super::{
    PartitionBounds,
    columns::{BlockView, ColumnFilter, Columns},
    index::{Index, Postings},
    merge::Criteria,
    scan::Scan,
};
use crate::store::{ActivityEvent, Direction, StoredEvent};

/// The events of one partition.
///
/// Events are numbered one after the other and leave oldest first. So an event that leaves is the first of each posting
/// list it is in, and every operation costs the same however many events are held.
#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    all: VecDeque<Arc<StoredEvent>>,
    columns: Columns,
    /// The memory that the events take.
    bytes: u64,
    /// Whether an event has left for a newer one.
    overflowed: bool,
    /// The number of the first event. Numbers wrap; 32 bits count more events than memory holds.
    first: u32,
    numbering: Numbering,
    by_user: Index,
    by_type: Index,
    hasher: RandomState,
}

/// How positions follow from offsets. Where offsets fall, the topic was recreated or truncated: then positions go on above
/// those that were given.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Numbering {
    /// The number that is added to an offset.
    base: i64,
    /// The position from which on this is so.
    since: i64,
    /// The number that was added before.
    base_before: i64,
    /// The position after the last event.
    next: i64,
}

impl Numbering {
    /// The position of the next event, and the numbering after it.
    pub(super) fn assign(self, offset: i64) -> (i64, Self) {
        let position = self.base + offset;
        if position >= self.next {
            return (position, Self { next: position + 1, ..self });
        }
        let (base, since, base_before) = (self.next - offset, self.next, self.base);
        (since, Self { base, since, base_before, next: since + 1 })
    }
}

/// The bytes that an event takes beside its JSON: its fields, and its entries in map, log and indexes. Measured and
/// rounded up.
const BESIDE_JSON: u64 = 224;

impl PartitionLog {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The timestamp of the event that leaves next, in milliseconds since 1970.
    pub(super) fn oldest_millis(&self) -> Option<i64> {
        self.all.front().map(|stored| stored.timestamp_millis())
    }

    /// Whether the log exceeds its bounds. The newest event stays, however large it is.
    pub(super) fn is_over(&self, bounds: PartitionBounds) -> bool {
        self.len() as u64 > bounds.events || (self.bytes > bounds.bytes && self.len() > 1)
    }

    /// Whether an older event would not fit.
    pub(super) fn is_full(&self, bounds: PartitionBounds) -> bool {
        self.overflowed || self.len() as u64 >= bounds.events || self.bytes >= bounds.bytes
    }

    /// As [`PartitionLog::pop_oldest`], to make room for a newer event.
    pub(super) fn evict_oldest(&mut self) -> Option<Arc<StoredEvent>> {
        self.overflowed = true;
        self.pop_oldest()
    }

    /// How the next events get their positions.
    pub(super) fn numbering(&self) -> Numbering {
        self.numbering
    }

    /// The position of the next event.
    pub(super) fn end(&self) -> i64 {
        self.numbering.next
    }

    /// Appends events, in their order, whose positions came to this numbering.
    pub(super) fn extend<'a>(
        &mut self,
        events: impl Iterator<Item = &'a Arc<StoredEvent>>,
        numbering: Numbering,
    ) {
        self.numbering = numbering;
        let mut hashes = Vec::with_capacity(events.size_hint().1.unwrap_or(0));
        for stored in events {
            let number = self.first.wrapping_add(self.all.len() as u32);
            let type_hash = self.hash_of_type(&stored.event_type());
            hashes.push((number, self.hash_of(stored.user_id_json()), type_hash));
            self.bytes += size(stored);
            self.columns.push(stored.timestamp_millis(), type_hash);
            self.all.push_back(Arc::clone(stored));
        }
        // Each posting list is a cache miss. In loops that do nothing else, the CPU overlaps several of them.
        for &(number, user_hash, _) in &hashes {
            self.by_user.push(user_hash, number);
        }
        for &(number, _, type_hash) in &hashes {
            self.by_type.push(type_hash, number);
        }
    }

    pub(super) fn pop_oldest(&mut self) -> Option<Arc<StoredEvent>> {
        let oldest = self.all.pop_front()?;
        self.bytes -= size(&oldest);
        self.by_user.pop(self.hash_of(oldest.user_id_json()), self.first);
        if let Some(type_hash) = self.columns.pop() {
            self.by_type.pop(type_hash, self.first);
        }
        self.first = self.first.wrapping_add(1);
        Some(oldest)
    }

    /// The offset from which Kafka's partition, as it is now, can restore what is held. Of a log that was truncated it may
    /// still have the oldest events, whose offsets are lower than those that were written since.
    pub(super) fn held_from(&self) -> Option<i64> {
        let Numbering { base, since, base_before, .. } = self.numbering;
        let since_truncated = self.get(self.count_before(since)).map(|oldest| oldest.position - base);
        let oldest = self.all.front().filter(|oldest| oldest.position < since);
        let before = oldest.map(|oldest| (oldest.position - base_before).max(0));
        since_truncated.into_iter().chain(before).min()
    }

    /// A scan of the shortest sequence that contains every match; `None` where it is known that there is no match.
    pub(super) fn scan(
        &self,
        criteria: &Criteria,
        direction: Direction,
        within: &Range<i64>,
    ) -> Option<Scan<'_>> {
        let mut postings = None;
        let mut filter = ColumnFilter { times: criteria.times.clone(), type_hash: None };
        if let Some(user) = &criteria.user {
            postings = Some(self.by_user.find(self.hash_of(user))?);
        }
        if let Some(lower) = &criteria.event_type {
            let hash = self.hash_of(lower.as_bytes());
            let of_type = self.by_type.find(hash)?;
            if postings.is_none_or(|of_user: &Postings| of_type.len() < of_user.len()) {
                postings = Some(of_type);
            } else {
                filter.type_hash = Some(hash);
            }
        }
        (!filter.times.is_empty()).then(|| Scan::new(self, postings, filter, direction, within))
    }

    /// The event at this index, counted from the oldest.
    pub(super) fn get(&self, index: usize) -> Option<&Arc<StoredEvent>> {
        self.all.get(index)
    }

    /// The index of the event of this number.
    pub(super) fn index(&self, number: u32) -> usize {
        number.wrapping_sub(self.first) as usize
    }

    /// The block of columns that contains this index.
    pub(super) fn block_at(&self, index: usize) -> Option<BlockView<'_>> {
        self.columns.block_at(index)
    }

    /// How many events have a smaller position.
    pub(super) fn count_before(&self, position: i64) -> usize {
        // Most listings begin before the first event and end after the last. That needs no binary search, each step of
        // which is a cache miss.
        if self.all.back().is_none_or(|last| last.position < position) {
            self.len()
        } else if self.all.front().is_none_or(|first| first.position >= position) {
            0
        } else {
            self.all.partition_point(|stored| stored.position < position)
        }
    }

    fn hash_of(&self, bytes: &[u8]) -> u32 {
        self.hasher.hash_one(bytes) as u32
    }

    /// The hash of the type in lower case.
    fn hash_of_type(&self, event_type: &str) -> u32 {
        // Nearly all types are short and ASCII, and need no allocation.
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

fn size(event: &ActivityEvent) -> u64 {
    event.json().len() as u64 + BESIDE_JSON
}

/// Whether the event is of this type, given in lower case.
pub(super) fn is_of_type(event: &ActivityEvent, lower: &str) -> bool {
    let event_type = event.event_type();
    event_type.eq_ignore_ascii_case(lower) || event_type.to_lowercase() == lower
}
