//! Which of a lane's events have something in common, such as the user, in a few bytes an event.

use std::collections::VecDeque;

use hashbrown::{HashTable, hash_table::Entry};

/// The numbers of a lane's events, grouped by the hash of what they have in common. Two keys of one hash, in a
/// million some hundred, share a group: whoever reads looks at each event anyway, and the hash is keyed, so that
/// nobody can make many. In return an event is put into its group without a look at any other, each of which
/// would be somewhere else in memory.
#[derive(Debug, Default)]
pub(super) struct Index {
    groups: HashTable<Numbers>,
}

/// The numbers of the events of a group, in their order; at least one.
///
/// In a service of many users most groups are of one event: those allocate nothing.
#[derive(Debug)]
pub(super) struct Numbers {
    hash: u32,
    first: u32,
    #[expect(clippy::box_collection, reason = "8 bytes where there are none, not 32")]
    others: Option<Box<VecDeque<u32>>>,
}

impl Index {
    /// Adds an event to the group of that hash.
    pub(super) fn push(&mut self, hash: u32, number: u32) {
        match self.groups.entry(spread(hash), |group| group.hash == hash, |group| spread(group.hash)) {
            Entry::Occupied(group) => group.into_mut().push(number),
            Entry::Vacant(vacant) => {
                vacant.insert(Numbers { hash, first: number, others: None });
            }
        }
    }

    /// The group of that hash.
    pub(super) fn find(&self, hash: u32) -> Option<&Numbers> {
        self.groups.find(spread(hash), |group| group.hash == hash)
    }

    /// Takes out an event, which is the first of the group of that hash; and the group with its last.
    pub(super) fn pop(&mut self, hash: u32, number: u32) {
        let Ok(mut group) = self.groups.find_entry(spread(hash), |group| group.hash == hash) else { return };
        debug_assert_eq!(group.get().first, number, "events leave oldest first");
        if !group.get_mut().pop() {
            group.remove();
        }
    }
}

impl Numbers {
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

    /// Takes the first out; `false` where it is the only one.
    fn pop(&mut self) -> bool {
        let Some(others) = &mut self.others else { return false };
        let Some(next) = others.pop_front() else { return false };
        self.first = next;
        if others.is_empty() {
            self.others = None;
        } else if others.capacity() > 32 && others.len() < others.capacity() / 4 {
            // A group that was once large gives its room back.
            others.shrink_to(others.len() * 2);
        }
        true
    }
}

/// A hash of which both ends can be used, as the table does.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
