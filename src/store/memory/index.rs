//! An index of a store log by one property, such as the user, at a few bytes an event.

use std::collections::VecDeque;

use hashbrown::{HashTable, hash_table::Entry};

/// A posting list per hash of the indexed property.
///
/// Two keys of one hash share a list; among a million keys this happens some hundred times. A query compares each event
/// anyway, and the hash is keyed, so nobody can cause many collisions. In return, adding an event looks at no other
/// event, each of which would be a cache miss.
#[derive(Debug, Default)]
pub(super) struct Index {
    lists: HashTable<Postings>,
}

/// The numbers of the events that share a hash, in order; at least one.
///
/// In a service of many users most lists have one entry and allocate nothing.
#[derive(Debug)]
pub(super) struct Postings {
    hash: u32,
    first: u32,
    #[expect(clippy::box_collection, reason = "8 bytes where there are no others, not 32")]
    others: Option<Box<VecDeque<u32>>>,
}

impl Index {
    /// Appends an event to the list of this hash.
    pub(super) fn push(&mut self, hash: u32, number: u32) {
        match self.lists.entry(spread(hash), |list| list.hash == hash, |list| spread(list.hash)) {
            Entry::Occupied(list) => list.into_mut().push(number),
            Entry::Vacant(vacant) => {
                vacant.insert(Postings { hash, first: number, others: None });
            }
        }
    }

    /// The list of this hash.
    pub(super) fn find(&self, hash: u32) -> Option<&Postings> {
        self.lists.find(spread(hash), |list| list.hash == hash)
    }

    /// Removes the events that `goes` selects from the list of this hash, at most `most` of them, the first ones first.
    pub(super) fn remove(&mut self, hash: u32, most: usize, goes: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut removed = Vec::new();
        let Ok(mut list) = self.lists.find_entry(spread(hash), |list| list.hash == hash) else {
            return removed;
        };
        let mut stays = |number| {
            let stays = removed.len() == most || !goes(number);
            if !stays {
                removed.push(number);
            }
            stays
        };
        let postings = list.get_mut();
        let first_stays = stays(postings.first);
        if let Some(others) = &mut postings.others {
            others.retain(|number| stays(*number));
        }
        if !first_stays && !postings.pop() {
            list.remove();
        }
        removed
    }

    /// Removes the first event of the list of this hash, and the list with its last event.
    pub(super) fn pop(&mut self, hash: u32, number: u32) {
        let Ok(mut list) = self.lists.find_entry(spread(hash), |list| list.hash == hash) else { return };
        debug_assert_eq!(list.get().first, number, "events leave oldest first");
        if !list.get_mut().pop() {
            list.remove();
        }
    }
}

impl Postings {
    pub(super) fn len(&self) -> usize {
        1 + self.others.as_ref().map_or(0, |others| others.len())
    }

    pub(super) fn get(&self, at: usize) -> Option<u32> {
        match at.checked_sub(1) {
            None => Some(self.first),
            Some(at) => self.others.as_ref()?.get(at).copied(),
        }
    }

    fn push(&mut self, number: u32) {
        self.others.get_or_insert_default().push_back(number);
    }

    /// Removes the first number; `false` if it is the only one.
    fn pop(&mut self) -> bool {
        let Some(others) = &mut self.others else { return false };
        let Some(next) = others.pop_front() else { return false };
        self.first = next;
        if others.is_empty() {
            self.others = None;
        } else if others.capacity() > 32 && others.len() < others.capacity() / 4 {
            // A list that has shrunk gives its memory back.
            others.shrink_to(others.len() * 2);
        }
        true
    }
}

/// Spreads a hash over 64 bits, since the table uses both ends.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
