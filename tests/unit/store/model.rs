//! The store against one that is so simple that it is obviously right.

use std::collections::HashSet;

use highwater::store::{ActivityEvent, Direction, Erasure, EventQuery, EventStore};
use proptest::prelude::*;
use tokio::runtime;
use uuid::Uuid;

use super::{admit, listed, moment, store};

const MOST: u64 = 30;
const USERS: [&str; 3] = ["ada", "eve\"", "Ada"];
const TYPES: [&str; 4] = ["LOGIN", "login", "Ünlock", "üNLOCK"];

#[derive(Debug, Clone)]
struct Offered {
    number: u32,
    user: &'static str,
    event_type: &'static str,
    millis: i64,
}

#[derive(Debug, Clone)]
enum Step {
    Admit(i32, Vec<Offered>),
    Erase(i32, &'static str),
    Forget(i32),
    Share(usize),
    List(EventQuery, usize),
}

fn offered() -> impl Strategy<Value = Offered> {
    (0_u32..60, prop::sample::select(&USERS[..]), prop::sample::select(&TYPES[..]), 0_i64..10)
        .prop_map(|(number, user, event_type, millis)| Offered { number, user, event_type, millis })
}

fn query() -> impl Strategy<Value = EventQuery> {
    let time = || prop::option::of((0_i64..10).prop_map(moment));
    let user = prop::option::of(prop::sample::select(&USERS[..]).prop_map(str::to_owned));
    let event_type = prop::option::of(prop::sample::select(&TYPES[..]).prop_map(str::to_owned));
    let direction = prop::sample::select(&[Direction::Forward, Direction::Backward][..]);
    (user, event_type, time(), time(), direction).prop_map(|(user_id, event_type, from, to, direction)| {
        EventQuery { user_id, event_type, from, to, direction }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4, prop::collection::vec(offered(), 0..12)).prop_map(|(partition, some)| Step::Admit(partition, some)),
        2 => (0..4, prop::sample::select(&USERS[..])).prop_map(|(partition, user)| Step::Erase(partition, user)),
        1 => (0..4).prop_map(Step::Forget),
        1 => (0_usize..40).prop_map(Step::Share),
        4 => (query(), 1_usize..6).prop_map(|(query, limit)| Step::List(query, limit)),
    ]
}

/// All stored events in one list, which is searched from its beginning.
#[derive(Debug)]
struct Model {
    share: usize,
    held: Vec<(i32, Offered)>,
    /// The numbers of those of them that are erased.
    erased: HashSet<u32>,
    evicted: u64,
}

impl Model {
    fn admit(&mut self, partition: i32, some: &[Offered]) -> Vec<bool> {
        let mut new = Vec::new();
        for offered in some {
            let is_new = self.held.iter().all(|(_, held)| held.number != offered.number);
            if is_new {
                self.held.push((partition, offered.clone()));
            }
            new.push(is_new);
        }
        self.evict();
        new
    }

    fn evict(&mut self) {
        for partition in 0..4 {
            while self.held.iter().filter(|held| held.0 == partition).count() > self.share {
                let oldest = self.held.iter().position(|held| held.0 == partition).unwrap();
                let (_, oldest) = self.held.remove(oldest);
                self.evicted += u64::from(!self.erased.remove(&oldest.number));
            }
        }
    }

    fn listed(&self, query: &EventQuery) -> Vec<u32> {
        let matches = |held: &Offered| {
            !self.erased.contains(&held.number)
                && query.user_id.as_ref().is_none_or(|user| user == held.user)
                && query
                    .event_type
                    .as_ref()
                    .is_none_or(|wanted| wanted.to_lowercase() == held.event_type.to_lowercase())
                && query.from.is_none_or(|from| moment(held.millis) >= from)
                && query.to.is_none_or(|to| moment(held.millis) < to)
        };
        let mut numbers: Vec<u32> =
            self.held.iter().filter(|(_, held)| matches(held)).map(|(_, held)| held.number).collect();
        if query.direction == Direction::Backward {
            numbers.reverse();
        }
        numbers
    }
}

proptest! {
    #[test]
    fn logs_and_indexes_answer_as_one_list_would(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        let store = store(MOST);
        let mut model = Model { share: MOST as usize, held: Vec::new(), erased: HashSet::new(), evicted: 0 };
        for (step, offset) in steps.into_iter().zip(1_000..) {
            match step {
                Step::Admit(partition, some) => {
                    let made = some.iter().map(|offered| {
                        let id = Uuid::from_u128(offered.number.into());
                        ActivityEvent::new(id, offered.user, offered.event_type, moment(offered.millis), None)
                    });
                    let new = runtime.block_on(admit(&store, partition, made.collect()));
                    prop_assert_eq!(new, model.admit(partition, &some));
                }
                Step::Erase(partition, user) => {
                    let erasure = Erasure { user_id: user.to_owned(), offset };
                    runtime.block_on(store.erase(partition, &erasure, 0.into())).unwrap();
                    let of_user = model.held.iter().filter(|held| held.0 == partition && held.1.user == user);
                    model.erased.extend(of_user.map(|held| held.1.number));
                }
                Step::Forget(partition) => {
                    runtime.block_on(store.forget(partition)).unwrap();
                    let erased = &mut model.erased;
                    model.held.retain(|held| {
                        let stays = held.0 != partition;
                        if !stays {
                            erased.remove(&held.1.number);
                        }
                        stays
                    });
                }
                Step::Share(partitions) => {
                    runtime.block_on(store.set_partition_count(partitions)).unwrap();
                    model.share = (MOST as usize / partitions.max(1)).max(1);
                    model.evict();
                }
                Step::List(query, limit) => {
                    prop_assert_eq!(runtime.block_on(listed(&store, &query, limit)), model.listed(&query));
                }
            }
            let stats = store.stats();
            let events = model.held.len() - model.erased.len();
            prop_assert_eq!((stats.events, stats.evicted), (events as u64, model.evicted));
            for number in 0..60_u32 {
                let found = runtime.block_on(store.get(Uuid::from_u128(number.into()))).unwrap();
                let held = model.held.iter().any(|(_, held)| held.number == number && !model.erased.contains(&number));
                prop_assert_eq!(found.is_some(), held);
            }
        }
    }
}
