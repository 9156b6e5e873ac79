//! Event-sourced tables: all instances reach the same state, in every interleaving.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use highwater_commerce::users::{
    Users,
    event::{UserCreated, UserDeleted, UserEvent, UserUpdated, user_id},
};
use highwater_kafka::{Event as _, partition_for_key};
use highwater_table::{EventOutcome, Projection as _, Replica, Versioned as _};
use proptest::{prelude::*, test_runner::Config};

const PARTITIONS: usize = 3;
const INSTANCES: usize = 3;

/// A step: a request to an instance, or an event in its life.
#[derive(Debug, Clone)]
enum Move {
    /// A write, decided on what that instance has read, and in the log once or twice.
    Register {
        instance: usize,
        email: usize,
        twice: bool,
    },
    Rename {
        instance: usize,
        email: usize,
        twice: bool,
    },
    Delete {
        instance: usize,
        email: usize,
        twice: bool,
    },
    /// The instance reads some more of a partition.
    Read {
        instance: usize,
        partition: usize,
        most: usize,
    },
    /// A copy of an earlier write comes late.
    Again {
        write: usize,
    },
    /// The instance forgets all, as after a kill, and begins anew.
    Restart {
        instance: usize,
    },
}

fn moves() -> impl Strategy<Value = Move> {
    let instance = 0..INSTANCES;
    let write = (0..INSTANCES, 0_usize..4, any::<bool>());
    prop_oneof![
        3 => write.clone().prop_map(|(instance, email, twice)| Move::Register { instance, email, twice }),
        1 => write.clone().prop_map(|(instance, email, twice)| Move::Rename { instance, email, twice }),
        2 => write.prop_map(|(instance, email, twice)| Move::Delete { instance, email, twice }),
        5 => (instance.clone(), 0..PARTITIONS, 1_usize..6)
            .prop_map(|(instance, partition, most)| Move::Read { instance, partition, most }),
        1 => any::<prop::sample::Index>().prop_map(|write| Move::Again { write: write.index(1000) }),
        1 => instance.prop_map(|instance| Move::Restart { instance }),
    ]
}

/// The log, each event with the number of the write that it is of.
type Log = [Vec<(usize, UserEvent)>; PARTITIONS];

struct Instance {
    replica: Replica<Users>,
    position: [usize; PARTITIONS],
    /// Writes of its own whose fate it has not read yet; after a restart nobody waits any more.
    awaited: BTreeMap<usize, Option<EventOutcome>>,
}

impl Instance {
    fn new() -> Self {
        Self { replica: Replica::new(PARTITIONS), position: [0; PARTITIONS], awaited: BTreeMap::new() }
    }

    fn read(&mut self, log: &Log, partition: usize, most: usize) {
        for (write, event) in log[partition].iter().skip(self.position[partition]).take(most) {
            let outcome = self.replica.apply(partition as i32, event.clone());
            // The first appearance is the answer.
            if let Some(told @ None) = self.awaited.get_mut(write) {
                *told = Some(outcome);
            }
            self.position[partition] += 1;
        }
    }
}

fn at(number: usize) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(number as i64)
}

/// The event that a service would write, by what it has read.
fn write(users: &Users, step: &Move, number: usize) -> Option<UserEvent> {
    let key = |email: &usize| format!("user-{email}@example.org");
    let at = at(number);
    match step {
        Move::Register { email, .. } => {
            let email_key = key(email);
            if users.with_email(&email_key).is_some() {
                return None;
            }
            let version = users.next_version(&email_key);
            Some(UserEvent::UserCreated(UserCreated {
                user_id: user_id(&email_key, version),
                email: email_key.clone(),
                email_key,
                version,
                at,
                name: format!("write {number}"),
                idempotency: None,
            }))
        }
        Move::Rename { email, .. } => {
            let user = users.with_email(&key(email))?;
            Some(UserEvent::UserUpdated(UserUpdated {
                user_id: user.id,
                email_key: user.email_key.clone(),
                version: user.version + 1,
                at,
                name: format!("write {number}"),
            }))
        }
        Move::Delete { email, .. } => {
            let user = users.with_email(&key(email))?;
            Some(UserEvent::UserDeleted(UserDeleted {
                user_id: user.id,
                email_key: user.email_key.clone(),
                version: user.version + 1,
                at,
            }))
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(Config { cases: 512, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_interleaving_over_any_number_of_instances_gives_one_outcome(steps in prop::collection::vec(moves(), 1..120)) {
        let mut log: Log = Default::default();
        let mut instances: Vec<Instance> = (0..INSTANCES).map(|_| Instance::new()).collect();
        let mut writes: Vec<(usize, UserEvent)> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            match step {
                Move::Read { instance, partition, most } => instances[*instance].read(&log, *partition, *most),
                Move::Restart { instance } => instances[*instance] = Instance::new(),
                Move::Again { write } => {
                    if let Some((write, event)) = writes.get(*write % writes.len().max(1)) {
                        log[home(event)].push((*write, event.clone()));
                    }
                }
                Move::Register { instance, twice, .. }
                | Move::Rename { instance, twice, .. }
                | Move::Delete { instance, twice, .. } => {
                    let instance = &mut instances[*instance];
                    let Some(event) = write(instance.replica.projection(), step, number) else { continue };
                    instance.awaited.insert(number, None);
                    writes.push((number, event.clone()));
                    for _ in 0..=usize::from(*twice) {
                        log[home(&event)].push((number, event.clone()));
                    }
                }
            }
        }

        // One who reads all of it at once says what is so.
        let mut whole = Replica::<Users>::new(PARTITIONS);
        let mut valid = BTreeMap::<usize, usize>::new();
        for (partition, events) in log.iter().enumerate() {
            for (write, event) in events {
                let outcome = whole.apply(partition as i32, event.clone());
                *valid.entry(*write).or_default() += usize::from(outcome == EventOutcome::Applied);
            }
        }
        prop_assert!(valid.values().all(|times| *times <= 1), "a write counts once: {valid:?}");
        for instance in &mut instances {
            for partition in 0..PARTITIONS {
                instance.read(&log, partition, usize::MAX);
            }
            prop_assert_eq!(instance.replica.projection(), whole.projection());
            for (write, outcome) in &instance.awaited {
                let expected = if valid[write] == 1 { EventOutcome::Applied } else { EventOutcome::Rejected };
                prop_assert_eq!(*outcome, Some(expected), "write {}", write);
            }
        }
    }
}

fn home(event: &UserEvent) -> usize {
    partition_for_key(event.key().as_bytes(), PARTITIONS) as usize
}

#[test]
fn an_event_in_a_partition_that_is_not_its_key_s_is_void() {
    let mut replica = Replica::<Users>::new(PARTITIONS);
    let register = Move::Register { instance: 0, email: 0, twice: false };
    let event = write(replica.projection(), &register, 0).unwrap();
    for partition in (0..PARTITIONS).filter(|partition| *partition != home(&event)) {
        assert_eq!(replica.apply(partition as i32, event.clone()), EventOutcome::Rejected);
    }
    assert_eq!(replica.apply(home(&event) as i32, event.clone()), EventOutcome::Applied);
    assert_eq!(replica.apply(home(&event) as i32, event), EventOutcome::Rejected);
    assert_eq!((replica.applied(), replica.rejected()), (1, PARTITIONS as u64));
}

#[test]
fn an_event_is_of_a_type_that_its_readers_know() {
    let register = Move::Register { instance: 0, email: 0, twice: false };
    let mut replica = Replica::<Users>::new(1);
    for step in [
        register,
        Move::Rename { instance: 0, email: 0, twice: false },
        Move::Delete { instance: 0, email: 0, twice: false },
    ] {
        let event = write(replica.projection(), &step, 0).unwrap();
        assert!(UserEvent::TYPES.contains(&&*event.event_type()), "{}", event.event_type());
        assert_eq!(replica.apply(0, event), EventOutcome::Applied);
    }
}

#[test]
fn a_view_counts_the_memory_that_it_takes() {
    let mut replica = Replica::<Users>::new(1);
    let mut taken = Vec::new();
    for (number, step) in [
        Move::Register { instance: 0, email: 0, twice: false },
        Move::Rename { instance: 0, email: 0, twice: false },
        Move::Delete { instance: 0, email: 0, twice: false },
        Move::Register { instance: 0, email: 0, twice: false },
    ]
    .iter()
    .enumerate()
    {
        // The first name has one digit, the second two, the last two.
        let event = write(replica.projection(), step, if number == 0 { 1 } else { 10 + number }).unwrap();
        assert_eq!(replica.apply(0, event.clone()), EventOutcome::Applied);
        taken.push(replica.projection().bytes());
        assert_eq!(replica.apply(0, event), EventOutcome::Rejected);
        assert_eq!(replica.projection().bytes(), taken[number], "what is rejected takes nothing");
    }
    let [registered, renamed, deleted, again] = taken[..] else { panic!("{taken:?}") };
    assert_eq!(renamed, registered + 1);
    assert!(deleted > 0 && deleted < registered, "{taken:?}");
    // The e-mail has its slot still.
    assert!(again > renamed && again - deleted < renamed, "{taken:?}");
}
