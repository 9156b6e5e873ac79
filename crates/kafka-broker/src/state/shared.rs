//! The state behind its lock, and waiting for its changes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{LogName, State};
use crate::{
    Options,
    cluster::{Cluster, NodeId, PartitionId},
    faults::Faults,
    replication::Message,
    topics::Topic,
};

/// The state, its lock, and a notification of changes.
#[derive(Debug)]
pub(crate) struct Shared {
    address: SocketAddr,
    pub(crate) options: Options,
    cluster: Cluster,
    state: Mutex<State>,
    changed: Notify,
    /// Whether it takes part in its cluster: it is not suspended.
    is_up: AtomicBool,
    pub(crate) faults: Faults,
}

impl Shared {
    pub(crate) fn new(address: SocketAddr, cluster: Cluster, node: NodeId, options: Options) -> Self {
        let mut state = State::new(node, &options);
        state.apply_image(cluster.image(), Instant::now());
        let (changed, faults) = Default::default();
        let (state, is_up) = (Mutex::new(state), AtomicBool::new(true));
        Self { address, options, cluster, state, changed, is_up, faults }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads the state.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the requests that wait for a change.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = {
            let mut state = self.lock();
            let changed = change(&mut state);
            state.sync_groups();
            state.replication.wake();
            changed
        };
        self.changed.notify_waiters();
        changed
    }

    /// Changes the cluster, and applies the new image on this node at once.
    pub(crate) fn administer<T>(&self, act: impl FnOnce(&Cluster) -> T) -> T {
        let done = act(&self.cluster);
        self.change(|state| state.apply_image(self.cluster.image(), Instant::now()));
        done
    }

    /// Handles timeouts, and takes part in the cluster.
    pub(crate) fn sweep(&self) {
        let changed = {
            let (mut state, now) = (self.lock(), Instant::now());
            let changed = state.sweep();
            if changed {
                state.sync_groups();
            }
            changed
                | (self.is_up.load(Ordering::Relaxed) && state.take_part(&self.cluster, &self.options, now))
        };
        if changed {
            self.changed.notify_waiters();
        }
    }

    /// Takes the messages that are to be carried to other nodes.
    pub(crate) fn take_messages(&self) -> Vec<(NodeId, Message)> {
        self.lock().take_messages()
    }

    /// Takes a message of another node.
    pub(crate) fn receive(&self, from: NodeId, message: Message) {
        if self.lock().progresses(|state| state.receive(from, message, Instant::now())) {
            self.changed.notify_waiters();
        }
    }

    /// Cuts a log and begins a new leader epoch, as an unclean election can.
    pub(crate) fn truncate(&self, topic: &str, partition: i32, offset: i64) {
        self.change(|state| {
            let Some(id) = state.topics.get(topic).map(Topic::id) else { return };
            if let Ok(found) = state.led_mut(topic, partition) {
                found.write(|log| log.cut(offset));
                self.cluster.begin_epoch(PartitionId::Topic(id, partition));
                state.apply_image(self.cluster.image(), Instant::now());
            }
        });
    }

    /// The end of each log.
    pub(crate) fn ends(&self) -> BTreeMap<LogName, i64> {
        self.with(State::ends)
    }

    /// Begins as a new process, which takes part in the cluster as one that was not there.
    pub(crate) fn restart(&self, lost: &BTreeMap<LogName, i64>) {
        self.change(|state| {
            self.cluster.fence(state.node);
            state.restart(lost);
        });
    }

    /// Takes part in the cluster, or does not.
    pub(crate) fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
    }

    /// Asks after each change until there is an answer; `None` at the deadline.
    pub(crate) async fn until<T>(
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
    pub(crate) async fn forever<T>(&self, mut ask: impl FnMut(&State) -> Option<T>) -> T {
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
