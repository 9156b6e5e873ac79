//! One partition's events in their order, and the ways to find some of them without looking at all.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::super::Stored;

/// A deque in the order of processing. Events leave a lane oldest first; so whichever index an event is in,
/// when it leaves it is the first there, and everything here costs the same however much is held.
pub(super) type Sequence = VecDeque<Arc<Stored>>;

/// One partition's events.
#[derive(Debug, Default)]
pub(super) struct Lane {
    all: Sequence,
    by_user: HashMap<Box<[u8]>, Sequence>,
    by_type: HashMap<Box<str>, Sequence>,
}

impl Lane {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn push(&mut self, stored: Arc<Stored>) {
        let user = stored.event.user_id_json();
        match self.by_user.get_mut(user) {
            Some(sequence) => sequence.push_back(Arc::clone(&stored)),
            None => {
                self.by_user.insert(user.into(), one(&stored));
            }
        }
        let event_type = stored.event.event_type().to_lowercase();
        match self.by_type.get_mut(event_type.as_str()) {
            Some(sequence) => sequence.push_back(Arc::clone(&stored)),
            None => {
                self.by_type.insert(event_type.into(), one(&stored));
            }
        }
        self.all.push_back(stored);
    }

    pub(super) fn pop_oldest(&mut self) -> Option<Arc<Stored>> {
        let oldest = self.all.pop_front()?;
        let user = oldest.event.user_id_json();
        if let Some(sequence) = self.by_user.get_mut(user) {
            sequence.pop_front();
            if sequence.is_empty() {
                self.by_user.remove(user);
            }
        }
        let event_type = oldest.event.event_type().to_lowercase();
        if let Some(sequence) = self.by_type.get_mut(event_type.as_str()) {
            sequence.pop_front();
            if sequence.is_empty() {
                self.by_type.remove(event_type.as_str());
            }
        }
        Some(oldest)
    }

    /// The shortest sequence that has every event of that user (a JSON string) and that type (lower case);
    /// `None` when there is no such event.
    pub(super) fn narrowest(&self, user: Option<&[u8]>, event_type: Option<&str>) -> Option<&Sequence> {
        let mut found = &self.all;
        if let Some(user) = user {
            found = self.by_user.get(user)?;
        }
        if let Some(event_type) = event_type {
            let of_type = self.by_type.get(event_type)?;
            if of_type.len() < found.len() {
                found = of_type;
            }
        }
        Some(found)
    }
}

/// Most users of a quiet service have few events: the first takes no more room than it needs.
fn one(stored: &Arc<Stored>) -> Sequence {
    let mut sequence = VecDeque::with_capacity(1);
    sequence.push_back(Arc::clone(stored));
    sequence
}
