//! Poison in order: the state of a partition, in random histories of its owner, its operator and its crashes.

use std::collections::BTreeSet;

use highwater_kafka::dead_letter::{Decision, Entry, EntryKind, Full, KeySequences, Origin, SequenceBounds};
use proptest::prelude::*;

const BOUNDS: (usize, usize) = (2, 4);

fn empty() -> KeySequences {
    KeySequences::new(SequenceBounds::default().with_keys(BOUNDS.0).with_letters(BOUNDS.1))
}

fn at(key: &[u8], offset: i64) -> Origin<'_> {
    Origin { key, offset, timestamp: offset }
}

#[test]
fn a_record_waits_behind_the_first_of_its_key_alone() {
    let mut sequences = empty();
    sequences.set_aside(at(b"a", 3)).unwrap();
    assert_eq!(sequences.decide(at(b"a", 4)), Decision::Behind(3));
    assert_eq!(sequences.decide(at(b"b", 5)), Decision::Process);
    assert_eq!(sequences.decide(at(b"a", 3)), Decision::Known, "it was read again");
    assert_eq!(sequences.decide(at(b"a", 2)), Decision::Process, "it was done before, and is read again");
    let other = Origin { timestamp: 99, ..at(b"a", 3) };
    assert_eq!(sequences.decide(other), Decision::Behind(3), "the log was truncated: it is another record");
}

#[test]
fn at_a_bound_no_more_wait() {
    let mut sequences = empty();
    sequences.set_aside(at(b"a", 0)).unwrap();
    sequences.set_aside(at(b"b", 1)).unwrap();
    assert_eq!(sequences.set_aside(at(b"c", 2)), Err(Full::Keys(2)));
    (2..5).for_each(|offset| sequences.wait(at(b"a", offset)));
    assert_eq!(sequences.decide(at(b"a", 5)), Decision::Full(Full::Letters(4)));
    assert_eq!(sequences.decide(at(b"a", 4)), Decision::Known);
    assert_eq!(sequences.decide(at(b"c", 5)), Decision::Process);
    let waiting = sequences.waiting();
    assert_eq!((waiting.keys, waiting.letters), (2, 5));
}

#[test]
fn letters_that_the_topic_no_longer_has_count_as_dropped() {
    let mut sequences = empty();
    let origins = [at(b"a", 0), at(b"a", 1)];
    sequences.apply(&Entry { origin: origins[0], kind: EntryKind::Poison { at: 7 } });
    sequences.apply(&Entry { origin: origins[1], kind: EntryKind::Waiting { at: 8 } });
    assert_eq!(sequences.first_due(2), None);
    assert_eq!(sequences.expire(8), 1);
    assert_eq!(sequences.first_due(2), Some(8));
    assert_eq!(sequences.first_due(1), None, "it will be read again, and there may be one before it");
    sequences.missing(8);
    assert!(sequences.is_empty());
}

#[test]
fn a_second_letter_of_a_record_does_not_change_what_becomes_of_it() {
    let mut sequences = empty();
    let origin = at(b"a", 0);
    sequences.apply(&Entry { origin, kind: EntryKind::Poison { at: 7 } });
    sequences.apply(&Entry { origin, kind: EntryKind::Waiting { at: 8 } });
    assert_eq!(sequences.first_due(1), None, "it is poison");
    sequences.apply(&Entry { origin, kind: EntryKind::Redrive });
    assert!(sequences.is_due(origin, 7, 1));
    sequences.apply(&Entry { origin, kind: EntryKind::Poison { at: 9 } });
    assert_eq!(sequences.first_due(1), None, "it is poison still");
    sequences.apply(&Entry { origin, kind: EntryKind::Drop });
    assert!(sequences.is_empty());
}

#[test]
fn a_verdict_on_a_record_that_the_log_lost_does_not_count_for_the_one_that_has_its_offset_now() {
    let mut sequences = empty();
    let (lost, now) = (at(b"a", 0), Origin { timestamp: 99, ..at(b"a", 0) });
    sequences.apply(&Entry { origin: now, kind: EntryKind::Poison { at: 7 } });
    for kind in [EntryKind::Redrive, EntryKind::Drop, EntryKind::Done] {
        sequences.apply(&Entry { origin: lost, kind });
        assert_eq!((sequences.first_due(1), sequences.waiting().letters), (None, 1), "{kind:?}");
    }
    sequences.apply(&Entry { origin: now, kind: EntryKind::Redrive });
    assert_eq!(sequences.first_due(1), Some(7));
    sequences.apply(&Entry { origin: now, kind: EntryKind::Done });
    assert!(sequences.is_empty());
}

#[test]
fn while_the_topic_has_a_later_copy_of_a_letter_it_is_not_lost() {
    let mut sequences = empty();
    for at in [7, 9] {
        sequences.apply(&Entry { origin: self::at(b"a", 0), kind: EntryKind::Waiting { at } });
    }
    assert_eq!(sequences.expire(8), 0);
    assert_eq!(sequences.first_due(1), Some(9));
}

/// A record of the source topic. Its offset is its place in the log.
#[derive(Debug, Clone, Copy)]
struct Source {
    key: u8,
    is_bad: bool,
}

/// A step of a history.
#[derive(Debug, Clone)]
enum Step {
    Produce(Source),
    /// The owner reads so many records, and dies when the letters of this mask are written, if that is not all.
    Read(usize, u8),
    Commit,
    Crash,
    /// As `kafka-consumer-groups --reset-offsets` to a lower offset.
    Rewind(usize),
    /// Redrives the head of that number, which is mended first or not.
    Redrive(usize, bool),
    Drop(usize),
    /// The owner processes letters, and dies after so many.
    Turn(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3_u8, prop::bool::weighted(0.2)).prop_map(|(key, is_bad)| Step::Produce(Source { key, is_bad })),
        8 => (1..4_usize, any::<u8>()).prop_map(|(records, mask)| Step::Read(records, mask)),
        8 => (1..4_usize).prop_map(|records| Step::Read(records, u8::MAX)),
        4 => Just(Step::Commit),
        2 => Just(Step::Crash),
        1 => (0..20_usize).prop_map(Step::Rewind),
        4 => (0..2_usize, any::<bool>()).prop_map(|(head, mended)| Step::Redrive(head, mended)),
        2 => (0..2_usize).prop_map(Step::Drop),
        4 => (1..4_usize).prop_map(Step::Turn),
        4 => Just(Step::Turn(usize::MAX)),
    ]
}

/// The logs, the owner of the partition, and what happened.
struct World {
    log: Vec<Source>,
    dead_letters: Vec<(i64, EntryKind)>,
    mended: BTreeSet<i64>,
    dropped: BTreeSet<i64>,
    /// Those that are poison as the dead letters say, and that nobody has redriven since.
    failed: BTreeSet<i64>,
    committed: i64,
    processed: Vec<i64>,
    sequences: KeySequences,
    position: i64,
    followed: usize,
}

impl World {
    fn new() -> Self {
        Self {
            log: Vec::new(),
            dead_letters: Vec::new(),
            mended: BTreeSet::new(),
            dropped: BTreeSet::new(),
            failed: BTreeSet::new(),
            committed: 0,
            processed: Vec::new(),
            sequences: empty(),
            position: 0,
            followed: 0,
        }
    }

    fn key(&self, offset: i64) -> [u8; 1] {
        [self.log[offset as usize].key]
    }

    fn is_poison(&self, offset: i64) -> bool {
        self.log[offset as usize].is_bad && !self.mended.contains(&offset)
    }

    fn write(&mut self, offset: i64, kind: impl Fn(i64) -> EntryKind) {
        let at = self.dead_letters.len() as i64;
        self.dead_letters.push((offset, kind(at)));
        match kind(at) {
            EntryKind::Poison { .. } => self.failed.insert(offset),
            _ => self.failed.remove(&offset),
        };
    }

    fn follow(&mut self) {
        while let Some((offset, kind)) = self.dead_letters.get(self.followed).copied() {
            self.sequences.apply(&Entry { origin: at(&self.key(offset), offset), kind });
            self.followed += 1;
        }
    }

    /// Another member takes the partition up.
    fn crash(&mut self) {
        (self.sequences, self.followed, self.position) = (empty(), 0, self.committed);
        self.follow();
    }

    fn process(&mut self, offset: i64) {
        let key = self.key(offset);
        let before = (0..offset).filter(|earlier| self.key(*earlier) == key);
        for earlier in before {
            let is_settled = self.processed.contains(&earlier) || self.dropped.contains(&earlier);
            assert!(is_settled, "{offset} overtakes {earlier}: {:?}", self.processed);
        }
        self.processed.push(offset);
    }

    /// Reads up to `records`; of the letters, those of the mask are written before the owner dies.
    fn read(&mut self, records: usize, mask: u8) {
        let mut letters: Vec<(i64, bool)> = Vec::new();
        for _ in 0..records {
            let offset = self.position;
            if offset == self.log.len() as i64 {
                break;
            }
            let key = self.key(offset);
            match self.sequences.decide(at(&key, offset)) {
                Decision::Process if self.is_poison(offset) => {
                    if self.sequences.set_aside(at(&key, offset)).is_err() {
                        break;
                    }
                    letters.push((offset, true));
                }
                Decision::Process => self.process(offset),
                Decision::Behind(_) => {
                    self.sequences.wait(at(&key, offset));
                    letters.push((offset, false));
                }
                Decision::Known => {}
                _ => break,
            }
            self.position += 1;
        }
        let written = |number: &usize| mask & (1 << (number % 8)) != 0;
        let all = letters.iter().enumerate().filter(|(number, _)| written(number)).count() == letters.len();
        // They are sent at the same time, and come in any order.
        for (number, (offset, is_poison)) in letters.into_iter().enumerate().rev() {
            match (written(&number), is_poison) {
                (true, true) => self.write(offset, |at| EntryKind::Poison { at }),
                (true, false) => self.write(offset, |at| EntryKind::Waiting { at }),
                (false, _) => {}
            }
        }
        if !all {
            self.crash();
        }
    }

    fn turn(&mut self, most: usize) {
        self.committed = self.position;
        self.follow();
        let mut processed = 0;
        while let Some(place) = self.sequences.first_due(self.committed) {
            let offset = self.dead_letters[place as usize].0;
            let key = self.key(offset);
            assert!(self.sequences.is_due(at(&key, offset), place, self.committed));
            assert!(!self.failed.contains(&offset), "{offset} was not redriven");
            if self.is_poison(offset) {
                self.write(offset, |at| EntryKind::Poison { at });
                self.sequences.failed(at(&key, offset));
            } else {
                self.process(offset);
                self.sequences.processed(at(&key, offset));
            }
            processed += 1;
            if processed == most {
                return self.crash();
            }
        }
        let done: Vec<i64> = self.sequences.unsettled().map(|origin| origin.offset).collect();
        for (number, offset) in done.into_iter().enumerate() {
            if number == most {
                return self.crash();
            }
            self.write(offset, |_| EntryKind::Done);
        }
        self.sequences.settle();
    }

    /// The offset of the head of that number, as an operator finds it in the dead letters.
    fn head(&self, number: usize) -> Option<i64> {
        let mut seen = empty();
        for (offset, kind) in &self.dead_letters {
            seen.apply(&Entry { origin: at(&self.key(*offset), *offset), kind: *kind });
        }
        let (place, _) = seen.heads().nth(number)?;
        Some(self.dead_letters[place as usize].0)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Produce(source) => self.log.push(source),
            Step::Read(records, mask) => self.read(records, mask),
            Step::Commit => self.committed = self.position,
            Step::Crash => self.crash(),
            Step::Rewind(to) => {
                self.committed = self.committed.min(to as i64);
                self.crash();
            }
            Step::Redrive(head, is_mended) => {
                if let Some(offset) = self.head(head) {
                    if is_mended {
                        self.mended.insert(offset);
                    }
                    self.write(offset, |_| EntryKind::Redrive);
                }
            }
            Step::Drop(head) => {
                if let Some(offset) = self.head(head) {
                    self.dropped.insert(offset);
                    self.write(offset, |_| EntryKind::Drop);
                }
            }
            Step::Turn(most) => self.turn(most),
        }
    }

    /// Everything is mended and redriven, until nothing waits.
    fn finish(&mut self) {
        for _ in 0..1_000 {
            self.read(1_000, u8::MAX);
            (0..BOUNDS.0).for_each(|head| self.step(Step::Redrive(head, true)));
            self.turn(usize::MAX);
            if self.position == self.log.len() as i64 && self.sequences.is_empty() {
                return;
            }
        }
        panic!("it waits for ever: {:?}", self.sequences);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn in_every_history_nothing_is_lost_and_no_record_of_a_key_overtakes_another(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.finish();
        for key in 0..3 {
            let of_key = |offset: &i64| world.key(*offset) == [key];
            for offset in (0..world.log.len() as i64).filter(of_key) {
                let is_settled = world.processed.contains(&offset) || world.dropped.contains(&offset);
                prop_assert!(is_settled, "{offset} is lost");
            }
            // A repeat is followed by all that came after it, but for what was dropped by then.
            let kept = |offset: &i64| of_key(offset) && !world.dropped.contains(offset);
            let last = world.processed.iter().copied().rfind(kept);
            prop_assert_eq!(last, world.processed.iter().copied().filter(kept).max());
        }
        prop_assert!(world.head(0).is_none(), "nothing waits in the dead letters either");
    }
}
