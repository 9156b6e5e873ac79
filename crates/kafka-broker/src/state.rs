//! The state of the broker, and waiting for its changes.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::{
    Options,
    faults::Faults,
    groups::Group,
    log::PartitionLog,
    topics::{Topic, now_millis},
    transactions::{Ending, Transactions},
};

/// The state, its lock, and a notification of changes.
#[derive(Debug)]
pub(super) struct Shared {
    address: SocketAddr,
    pub(super) options: Options,
    state: Mutex<State>,
    changed: Notify,
    pub(super) faults: Faults,
}

/// Topics, groups, transactions.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) groups: HashMap<String, Group>,
    pub(super) transactions: Transactions,
}

impl State {
    pub(super) fn log(&self, topic: &str, partition: i32) -> Option<&PartitionLog> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    pub(super) fn log_mut(&mut self, topic: &str, partition: i32) -> Option<&mut PartitionLog> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    /// The name of the topic that has this id.
    pub(super) fn name_of(&self, id: Uuid) -> Option<&str> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.as_str())
    }

    /// Deletes a topic, with its committed offsets.
    pub(super) fn delete_topic(&mut self, topic: &str) -> Option<Topic> {
        self.groups.values_mut().for_each(|group| group.offsets.forget_topic(topic));
        self.topics.remove(topic)
    }

    /// Writes the end of a transaction to its partitions and groups.
    pub(super) fn end_transaction(&mut self, ending: &Ending) {
        let (id, epoch, committed) = (ending.producer.producer_id, ending.producer.epoch, ending.committed);
        for (topic, partition) in &ending.partitions {
            if let Some(log) = self.log_mut(topic, *partition) {
                log.end_transaction(id, epoch, committed, now_millis());
            }
        }
        for group in &ending.groups {
            if let Some(group) = self.groups.get_mut(group) {
                group.offsets.end_transaction(id, committed);
            }
        }
    }

    /// Handles timeouts. Returns whether anything changed.
    pub(super) fn sweep(&mut self) -> bool {
        let late = self.transactions.sweep();
        late.iter().for_each(|ending| self.end_transaction(ending));
        self.groups.values_mut().fold(!late.is_empty(), |any, group| group.sweep() || any)
    }
}

impl Shared {
    pub(super) fn new(address: SocketAddr, options: Options) -> Self {
        let (state, changed, faults) = Default::default();
        Self { address, options, state, changed, faults }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads the state.
    pub(super) fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state, and wakes the requests that wait for a change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
        changed
    }

    /// As [`Shared::change`], but wakes no request if the closure says that none waits for this.
    pub(super) fn change_if(&self, change: impl FnOnce(&mut State) -> bool) {
        let changed = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        if changed {
            self.changed.notify_waiters();
        }
    }

    /// Asks after each change until there is an answer; `None` at the deadline.
    pub(super) async fn until<T>(
        &self,
        deadline: Instant,
        mut ask: impl FnMut(&State) -> Option<T>,
    ) -> Option<T> {
        loop {
            // Enabled before the read, so that a change right after it is not missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let answer = self.with(&mut ask);
            if answer.is_some() || timeout_at(deadline, changed).await.is_err() {
                return answer;
            }
        }
    }

    /// As [`Shared::until`], without a deadline.
    pub(super) async fn forever<T>(&self, mut ask: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(answer) = self.with(&mut ask) {
                return answer;
            }
            changed.await;
        }
    }
}
