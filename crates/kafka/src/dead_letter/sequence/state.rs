//! The keys of a partition that wait, and the rules that follow, without I/O.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use super::{Entry, EntryKind, SequenceBounds, Waiting};

/// The keys of one partition that wait, each with its dead letters that are neither processed nor dropped.
///
/// The entries of the dead letter topic, applied in their order, give the same state in every process.
#[derive(Debug, Default)]
pub struct KeySequences {
    bounds: SequenceBounds,
    /// The letters of each waiting key; no key is without letters. A key's letters are in the order of their offsets in the
    /// source topic.
    keys: BTreeMap<Box<[u8]>, BTreeMap<i64, Letter>>,
}

#[derive(Debug, Clone, Copy)]
struct Letter {
    /// Milliseconds since 1970. A log that was truncated has other records at the same offsets.
    timestamp: i64,
    /// Its offset in the dead letter topic; `None` until it is read back from there.
    at: Option<i64>,
    state: LetterState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LetterState {
    /// It was processed in vain, and waits for a verdict.
    Poison,
    /// It is to be processed when those before it are.
    Waiting,
    /// It is processed, and the dead letter topic does not say so yet.
    Processed,
}

/// A record of the source partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Its key, of which the first 1,024 bytes count.
    pub key: &'a [u8],
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds since 1970.
    pub timestamp: i64,
}

/// The treatment of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// It is processed: no letter of its key is before it.
    Process,
    /// It waits: the first letter of its key has that offset.
    Behind(i64),
    /// It waits already, and was read again.
    Known,
    /// It would have to wait, but there is no room.
    Full(Full),
}

/// A bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Full {
    /// The number of waiting keys is at its bound, which is this.
    Keys(usize),
    /// The number of dead letters of the key is at its bound, which is this.
    Letters(usize),
}

impl Display for Full {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys) => write!(f, "{keys} keys wait behind dead letters, the most that may"),
            Self::Letters(letters) => write!(f, "{letters} dead letters of a key wait, the most that may"),
        }
    }
}

impl KeySequences {
    /// Nothing waits.
    pub fn new(bounds: SequenceBounds) -> Self {
        Self { bounds, keys: BTreeMap::new() }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The numbers of waiting keys and letters.
    pub fn waiting(&self) -> Waiting {
        Waiting { keys: self.keys.len(), letters: self.keys.values().map(BTreeMap::len).sum() }
    }

    /// The number of further keys that may wait.
    pub fn room(&self) -> usize {
        self.bounds.keys.saturating_sub(self.keys.len())
    }

    /// The treatment of a record that was read.
    pub fn decide(&self, record: Origin<'_>) -> Decision {
        let Some(letters) = self.keys.get(record.key) else { return Decision::Process };
        let Some(first) = letters.keys().next() else { return Decision::Process };
        match letters.get(&record.offset) {
            Some(letter) if letter.timestamp == record.timestamp => Decision::Known,
            // It was done before the first one was set aside, and is read again, with all after it.
            _ if record.offset < *first => Decision::Process,
            None => self.room_for(record).map_or_else(Decision::Full, |()| Decision::Behind(*first)),
            Some(_) => Decision::Behind(*first),
        }
    }

    /// A record was processed in vain: those after it wait.
    ///
    /// # Errors
    ///
    /// There is no room, and nothing has changed.
    pub fn set_aside(&mut self, record: Origin<'_>) -> Result<(), Full> {
        self.room_for(record)?;
        self.insert(record, None, LetterState::Poison);
        Ok(())
    }

    /// Whether a bound lets another letter in. Records that are read again are not bounded: later letters wait until they
    /// are done, so they cannot wait for those letters.
    fn room_for(&self, record: Origin<'_>) -> Result<(), Full> {
        let full = match self.keys.get(record.key) {
            None if self.keys.len() >= self.bounds.keys => Full::Keys(self.bounds.keys),
            Some(letters) if letters.len() >= self.bounds.letters => Full::Letters(self.bounds.letters),
            _ => return Ok(()),
        };
        let mut last = self.keys.values().filter_map(|letters| letters.keys().next_back());
        if last.any(|last| *last > record.offset) { Ok(()) } else { Err(full) }
    }

    /// A record waits, as [`Decision::Behind`] says.
    pub fn wait(&mut self, record: Origin<'_>) {
        self.insert(record, None, LetterState::Waiting);
    }

    /// An entry was read from the dead letter topic.
    pub fn apply(&mut self, entry: &Entry<'_>) {
        let origin = entry.origin;
        match entry.kind {
            EntryKind::Poison { at } => self.insert(origin, Some(at), LetterState::Poison),
            EntryKind::Waiting { at } => match self.letter(origin.key, origin.offset) {
                Some(letter) if letter.timestamp == origin.timestamp => {
                    // The topic loses earlier copies first. A poison one stays: an operator redrives it.
                    let is_poison = letter.state == LetterState::Poison;
                    letter.at = letter.at.filter(|_| is_poison).or(Some(at));
                }
                _ => self.insert(origin, Some(at), LetterState::Waiting),
            },
            EntryKind::Redrive => {
                if let Some(letter) = self.letter(origin.key, origin.offset)
                    && letter.timestamp == origin.timestamp
                    && letter.state == LetterState::Poison
                {
                    letter.state = LetterState::Waiting;
                }
            }
            EntryKind::Drop | EntryKind::Done => self.remove(origin),
        }
    }

    /// The lowest offset in the dead letter topic of a letter that is to be processed now, of a record below `committed`:
    /// a later one will be read again, and there may be some before it.
    pub fn first_due(&self, committed: i64) -> Option<i64> {
        self.keys.values().filter_map(|letters| due(letters, committed)).map(|(_, at)| at).min()
    }

    /// Whether the letter at `at` is to be processed now: all of its key before it are, and it has not failed.
    pub fn is_due(&self, record: Origin<'_>, at: i64, committed: i64) -> bool {
        let due = self.keys.get(record.key).and_then(|letters| due(letters, committed));
        due == Some((record.offset, at))
    }

    /// A letter was processed.
    pub fn processed(&mut self, record: Origin<'_>) {
        if let Some(letter) = self.letter(record.key, record.offset) {
            letter.state = LetterState::Processed;
        }
    }

    /// A letter was processed in vain again. Another dead letter of it is in the topic.
    pub fn failed(&mut self, record: Origin<'_>) {
        self.insert(record, None, LetterState::Poison);
    }

    /// A letter that was redriven cannot be processed, since only its beginning is there: it waits for a verdict.
    pub fn refuse(&mut self, record: Origin<'_>) {
        if let Some(letter) = self.letter(record.key, record.offset) {
            letter.state = LetterState::Poison;
        }
    }

    /// Whether all waiting letters of `other` wait here, too.
    pub fn has_all_of(&self, other: &Self) -> bool {
        other.keys.iter().all(|(key, letters)| {
            self.keys.get(key).is_some_and(|known| letters.keys().all(|offset| known.contains_key(offset)))
        })
    }

    /// The processed letters that the dead letter topic does not call done yet.
    pub fn unsettled(&self) -> impl Iterator<Item = Origin<'_>> {
        self.keys.iter().flat_map(|(key, letters)| {
            let processed = letters.iter().filter(|(_, letter)| letter.state == LetterState::Processed);
            processed.map(|(offset, letter)| Origin { key, offset: *offset, timestamp: letter.timestamp })
        })
    }

    /// The dead letter topic now calls all processed letters done: their keys go on.
    pub fn settle(&mut self) {
        self.retain(|letter| letter.state != LetterState::Processed);
    }

    /// Whether the letter of a record below that offset was not read from the dead letter topic.
    pub fn has_unread(&self, committed: i64) -> bool {
        let mut below = self.keys.values().flat_map(|letters| letters.range(..committed));
        below.any(|(_, letter)| letter.at.is_none())
    }

    /// The dead letter topic no longer has the letters before that offset, which count as dropped. Returns their number.
    pub fn expire(&mut self, start: i64) -> usize {
        let before = self.waiting().letters;
        self.retain(|letter| letter.at.is_none_or(|at| at >= start));
        before - self.waiting().letters
    }

    /// The dead letter topic has no letter at that offset, which counts as dropped.
    pub fn missing(&mut self, at: i64) {
        self.retain(|letter| letter.at != Some(at));
    }

    /// The offset in the dead letter topic of each key's first letter, and the number of the key's letters.
    pub fn heads(&self) -> impl Iterator<Item = (i64, usize)> {
        self.keys.values().filter_map(|letters| Some((letters.values().next()?.at?, letters.len())))
    }

    fn retain(&mut self, keep: impl Fn(&Letter) -> bool) {
        self.keys.retain(|_, letters| {
            letters.retain(|_, letter| keep(letter));
            !letters.is_empty()
        });
    }

    fn insert(&mut self, record: Origin<'_>, at: Option<i64>, state: LetterState) {
        let letter = Letter { timestamp: record.timestamp, at, state };
        match self.keys.get_mut(record.key) {
            Some(letters) => drop(letters.insert(record.offset, letter)),
            None => drop(self.keys.insert(record.key.into(), BTreeMap::from([(record.offset, letter)]))),
        }
    }

    fn letter(&mut self, key: &[u8], offset: i64) -> Option<&mut Letter> {
        self.keys.get_mut(key)?.get_mut(&offset)
    }

    fn remove(&mut self, record: Origin<'_>) {
        if let Some(letters) = self.keys.get_mut(record.key) {
            let is_it = |letter: &Letter| letter.timestamp == record.timestamp;
            letters.retain(|offset, letter| *offset != record.offset || !is_it(letter));
            if letters.is_empty() {
                self.keys.remove(record.key);
            }
        }
    }
}

/// The offset of the first letter that is not processed, and its offset in the dead letter topic, if it is to be processed now.
fn due(letters: &BTreeMap<i64, Letter>, committed: i64) -> Option<(i64, i64)> {
    let mut left = letters.iter().filter(|(_, letter)| letter.state != LetterState::Processed);
    let (offset, letter) = left.next()?;
    let is_due = *offset < committed && letter.state == LetterState::Waiting;
    Some((*offset, letter.at.filter(|_| is_due)?))
}
