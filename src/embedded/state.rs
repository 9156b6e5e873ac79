//! All that the broker knows, and waiting for it to change.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::{faults::Faults, groups::Group, log::PartitionLog, producers::Producers};

/// The state, its lock, and a bell that rings when it changes.
#[derive(Debug)]
pub(super) struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
    changed: Notify,
    pub(super) faults: Faults,
}

/// Topics, groups, producers.
#[derive(Debug)]
pub(super) struct State {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) groups: HashMap<String, Group>,
    pub(super) producers: Producers,
    pub(super) default_partitions: i32,
}

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: Uuid,
    pub(super) configs: BTreeMap<String, String>,
    pub(super) partitions: Vec<PartitionLog>,
}

impl Topic {
    pub(super) fn new(partitions: usize, configs: BTreeMap<String, String>) -> Self {
        let partitions = (0..partitions).map(|_| PartitionLog::default()).collect();
        Self { id: Uuid::new_v4(), configs, partitions }
    }

    /// A setting, or Kafka's default for it.
    pub(super) fn config(&self, name: &str) -> Option<&str> {
        let default = DEFAULT_CONFIGS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        self.configs.get(name).map(String::as_str).or(default)
    }
}

/// The topic settings that anyone asks about, with Kafka's defaults.
pub(super) const DEFAULT_CONFIGS: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("max.message.bytes", "1048588"),
    ("min.insync.replicas", "1"),
    ("retention.ms", "604800000"),
    ("unclean.leader.election.enable", "false"),
];

impl State {
    pub(super) fn log(&self, topic: &str, partition: i32) -> Option<&PartitionLog> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    pub(super) fn log_mut(&mut self, topic: &str, partition: i32) -> Option<&mut PartitionLog> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }
}

impl Shared {
    pub(super) fn new(address: SocketAddr, default_partitions: i32) -> Self {
        let state = State {
            topics: BTreeMap::new(),
            groups: HashMap::new(),
            producers: Producers::default(),
            default_partitions,
        };
        Self { address, state: Mutex::new(state), changed: Notify::new(), faults: Faults::default() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Looks.
    pub(super) fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state and wakes whoever waits for that.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
        changed
    }

    /// As [`Shared::change`], but wakes nobody when the closure says that nothing changed.
    pub(super) fn change_if(&self, change: impl FnOnce(&mut State) -> bool) {
        let changed = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        if changed {
            self.changed.notify_waiters();
        }
    }

    /// Asks after each change until there is an answer; `None` when there is none by then.
    pub(super) async fn until<T>(
        &self,
        deadline: Instant,
        mut ask: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let answer = ask(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
            if answer.is_some() {
                return answer;
            }
            if timeout_at(deadline, changed).await.is_err() {
                return ask(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// As [`Shared::until`], without an end.
    pub(super) fn forever<T>(
        &self,
        ask: impl FnMut(&mut State) -> Option<T>,
    ) -> impl Future<Output = Option<T>> {
        self.until(Instant::now() + std::time::Duration::from_secs(86_400), ask)
    }
}
