//! The events of one partition in the order of processing, with columns and indexes to find some of them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    ops::Range,
    sync::Arc,
};

use super::{
    PartitionBounds,
    ages::{Ages, Retention},
    columns::{BlockView, ColumnFilter, Columns},
    index::{Index, Postings},
    scan::{Scan, Slot, partition_point},
};
use uuid::Uuid;

use crate::store::{ActivityEvent, Criteria, Direction, StoredEvent};

/// The events of one partition.
///
/// Events are numbered one after the other and leave oldest first. So an event that leaves is the first of each posting
/// list it is in, and every operation costs the same however many events are held.
#[derive(Debug, Default)]
pub(super) struct StoreLog {
    /// `None` in the place of an event that was erased, by its user or its age.
    all: VecDeque<Option<Arc<StoredEvent>>>,
    /// The erased events whose ids are still known, by their numbers.
    erased: HashMap<u32, ErasedEvent>,
    /// The users, as JSON strings, whose events were erased, by the positions of the markers.
    erasures: BTreeMap<i64, Box<[u8]>>,
    columns: Columns,
    ages: Ages,
    /// The number of events at the beginning that are erased since they were older than the retention.
    expired: usize,
    /// The bytes of the events in memory.
    bytes: u64,
    /// Whether an event has left for a newer one.
    overflowed: bool,
    /// The position from which on no event has left; `None` where none has left at all.
    complete_from: Option<i64>,
    /// The number of the first event. Numbers wrap; 32 bits count more events than memory holds.
    first: u32,
    numbering: Numbering,
    by_user: Index,
    by_type: Index,
    hasher: RandomState,
}

/// The remains of an erased event.
#[derive(Debug)]
struct ErasedEvent {
    id: Uuid,
    slot: Slot,
}

/// The rule that gives offsets their positions. If offsets fall, the topic was recreated or truncated: then positions go on
/// above the given ones.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Numbering {
    /// The number that is added to an offset.
    base: i64,
    /// The position from which this number counts.
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

impl StoreLog {
    /// A log that has no event of before that offset, though there may have been some.
    pub(super) fn beginning_at(offset: i64) -> Self {
        let numbering = Numbering { next: offset, ..Numbering::default() };
        Self { complete_from: Some(offset).filter(|offset| *offset > 0), numbering, ..Self::default() }
    }

    /// The number of known ids.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The number of events.
    pub(super) fn events(&self) -> usize {
        self.all.len() - self.erased.len()
    }

    /// The timestamp of the event that leaves next, in milliseconds since 1970.
    pub(super) fn oldest_millis(&self) -> Option<i64> {
        self.all.iter().skip(self.expired).flatten().next().map(|stored| stored.timestamp_millis())
    }

    /// Whether the log exceeds its bounds. The newest event stays, however large it is.
    pub(super) fn is_over(&self, bounds: PartitionBounds) -> bool {
        self.len() as u64 > bounds.events || (self.bytes > bounds.bytes && self.len() > 1)
    }

    /// Whether an older event would not fit.
    pub(super) fn is_full(&self, bounds: PartitionBounds) -> bool {
        self.overflowed || self.len() as u64 >= bounds.events || self.bytes >= bounds.bytes
    }

    /// As [`StoreLog::pop_oldest`], to make room for a newer event. Erasures that came before all events that are left
    /// are forgotten, so that the log can be restored from the oldest of these.
    pub(super) fn evict_oldest(&mut self) -> Option<Uuid> {
        self.overflowed = true;
        self.leave_behind(0);
        let id = self.pop_oldest()?;
        let oldest = self.slot(0).map_or(i64::MAX, |slot| slot.position);
        while self.erasures.first_key_value().is_some_and(|(position, _)| *position < oldest) {
            self.erasures.pop_first();
        }
        Some(id)
    }

    /// The position from which on no event has left, but those of erased users; `None` where none has left at all.
    pub(super) fn complete_from(&self) -> Option<i64> {
        self.complete_from
    }

    /// The event at this index, and all before it, leave.
    fn leave_behind(&mut self, index: usize) {
        let after = self.slot(index).map(|slot| slot.position + 1);
        self.complete_from = self.complete_from.max(after);
    }

    /// Notes the erasure whose marker has this offset, of a user given as a JSON string.
    pub(super) fn note_erasure(&mut self, offset: i64, user: &[u8]) {
        self.erasures.insert(self.numbering.base + offset, user.into());
    }

    /// Whether the erasure is noted whose marker has this offset.
    pub(super) fn knows_erasure(&self, offset: i64, user: &[u8]) -> bool {
        self.erasures.get(&(self.numbering.base + offset)).is_some_and(|noted| **noted == *user)
    }

    /// The offset below which a record may be of an erased user.
    pub(super) fn erased_below(&self) -> i64 {
        self.erasures.last_key_value().map_or(i64::MIN, |(position, _)| position - self.numbering.base)
    }

    /// Whether a noted erasure came after this offset.
    pub(super) fn is_erased(&self, offset: i64, user: &[u8]) -> bool {
        let later = self.numbering.base + offset + 1;
        self.erasures.range(later..).any(|(_, noted)| **noted == *user)
    }

    /// Erases events of a user, given as a JSON string, before this offset, at most `most` of them. Returns their ids.
    pub(super) fn erase(&mut self, user: &[u8], before: i64, most: usize) -> Vec<Uuid> {
        let end = self.numbering.base + before;
        let hash = self.hash_of(user);
        let Self { all, by_user, first, .. } = self;
        let index = |number: u32| number.wrapping_sub(*first) as usize;
        let goes = |stored: &Arc<StoredEvent>| stored.position < end && stored.user_id_json() == user;
        let numbers = by_user
            .remove(hash, most, |number| all.get(index(number)).and_then(Option::as_ref).is_some_and(goes));
        let mut ids = Vec::with_capacity(numbers.len());
        for number in numbers {
            let index = self.index(number);
            ids.extend(self.blank(index).map(|event| event.id()));
        }
        ids
    }

    /// Erases the oldest events that are older than the retention, at most `most` of them. Returns their ids.
    pub(super) fn expire(&mut self, now: i64, retention: Retention, most: usize) -> Vec<Uuid> {
        let younger = self.ages.first_younger(now, retention);
        // An event that has left by now is before the first.
        let due = younger.map_or(self.len(), |number| {
            Some(self.index(number)).filter(|index| *index < self.len()).unwrap_or(0)
        });
        let mut ids = Vec::new();
        while self.expired < due && ids.len() < most {
            let index = self.expired;
            self.expired += 1;
            let Some(event) = self.blank(index) else { continue };
            let number = self.first.wrapping_add(index as u32);
            self.by_user.pop(self.hash_of(event.user_id_json()), number);
            ids.push(event.id());
        }
        if let Some(last) = self.expired.checked_sub(1) {
            self.leave_behind(last);
        }
        ids
    }

    /// Removes the event from its place, which stays known with its id. The event stays in the indexes.
    fn blank(&mut self, index: usize) -> Option<Arc<StoredEvent>> {
        let event = self.all.get_mut(index)?.take()?;
        self.bytes -= event.json().len() as u64;
        self.columns.erase(index);
        let slot = Slot { sequence: event.sequence, position: event.position };
        let number = self.first.wrapping_add(index as u32);
        self.erased.insert(number, ErasedEvent { id: event.id(), slot });
        Some(event)
    }

    /// The numbering of the next events.
    pub(super) fn numbering(&self) -> Numbering {
        self.numbering
    }

    /// The position of the next event.
    pub(super) fn end(&self) -> i64 {
        self.numbering.next
    }

    /// Appends events in their order, each with the time at which it was written. Their positions led to this numbering.
    pub(super) fn extend<'a>(
        &mut self,
        events: impl Iterator<Item = (&'a Arc<StoredEvent>, i64)>,
        numbering: Numbering,
        retention: Option<Retention>,
    ) {
        self.numbering = numbering;
        let mut hashes = Vec::with_capacity(events.size_hint().1.unwrap_or(0));
        for (stored, written_at) in events {
            let number = self.first.wrapping_add(self.all.len() as u32);
            let type_hash = self.hash_of_type(&stored.event_type());
            hashes.push((number, self.hash_of(stored.user_id_json()), type_hash));
            self.bytes += size(stored);
            self.columns.push(stored.timestamp_millis(), type_hash);
            if let Some(retention) = retention {
                self.ages.push(number, written_at, retention);
            }
            self.all.push_back(Some(Arc::clone(stored)));
        }
        // Each posting list is a cache miss. In loops that do nothing else, the CPU overlaps several of them.
        for &(number, user_hash, _) in &hashes {
            self.by_user.push(user_hash, number);
        }
        for &(number, _, type_hash) in &hashes {
            self.by_type.push(type_hash, number);
        }
    }

    /// Removes the oldest event, erased or not. Returns its id.
    pub(super) fn pop_oldest(&mut self) -> Option<Uuid> {
        let id = match self.all.pop_front()? {
            Some(oldest) => {
                self.bytes -= size(&oldest);
                self.by_user.pop(self.hash_of(oldest.user_id_json()), self.first);
                Some(oldest.id())
            }
            None => {
                self.bytes -= BESIDE_JSON;
                self.erased.remove(&self.first).map(|erased| erased.id)
            }
        };
        if let Some(type_hash) = self.columns.pop() {
            self.by_type.pop(type_hash, self.first);
        }
        self.first = self.first.wrapping_add(1);
        self.expired = self.expired.saturating_sub(1);
        id
    }

    /// The offset from which Kafka's partition, as it is now, can restore the held events. A log that was truncated may
    /// still have the oldest events, whose offsets are lower than those that were written since.
    pub(super) fn held_from(&self) -> Option<i64> {
        let Numbering { base, since, base_before, .. } = self.numbering;
        let offset = |position: i64| match position < since {
            true => (position - base_before).max(0),
            false => position - base,
        };
        let slots = [self.slot(0), self.slot(self.count_before(since))];
        let erasures = [self.erasures.keys().next(), self.erasures.range(since..).next().map(|(at, _)| at)];
        let positions = slots.into_iter().flatten().map(|slot| slot.position);
        positions.chain(erasures.into_iter().flatten().copied()).map(offset).min()
    }

    /// A scan of the shortest sequence that contains every match; `None` if it is known that there is no match.
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

    /// The number of events at the beginning that no scan need look at.
    pub(super) fn expired(&self) -> usize {
        self.expired
    }

    /// The event at this index, counted from the oldest; `None` if it was erased.
    pub(super) fn get(&self, index: usize) -> Option<&Arc<StoredEvent>> {
        self.all.get(index)?.as_ref()
    }

    /// The slot of the event at this index, erased or not.
    pub(super) fn slot(&self, index: usize) -> Option<Slot> {
        match self.all.get(index)? {
            Some(stored) => Some(Slot { sequence: stored.sequence, position: stored.position }),
            None => self.erased.get(&self.first.wrapping_add(index as u32)).map(|erased| erased.slot),
        }
    }

    /// The index of the event of this number.
    pub(super) fn index(&self, number: u32) -> usize {
        number.wrapping_sub(self.first) as usize
    }

    /// The block of columns that contains this index.
    pub(super) fn block_at(&self, index: usize) -> Option<BlockView<'_>> {
        self.columns.block_at(index)
    }

    /// The number of events with a smaller position.
    pub(super) fn count_before(&self, position: i64) -> usize {
        let is_before = |index| self.slot(index).is_some_and(|slot| slot.position < position);
        // Most listings begin before the first event and end after the last. That needs no binary search, each step of
        // which is a cache miss.
        match self.len() {
            len if len == 0 || is_before(len - 1) => len,
            _ if !is_before(0) => 0,
            len => partition_point(0..len, is_before),
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
