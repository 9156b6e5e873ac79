//! A partition's way to its leader, for writing.
//!
//! Kafka answers a client that passes its quota that the records are written, and how long to wait before the
//! next (KIP-219). rskafka takes such an answer for a failure and writes the same records again, and it keeps one
//! header of a name. So writing goes by our own Produce.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::broker_sink::{BatchSlot, BrokerSink, BrokerSinks};
use crate::{Cluster, topic, wire::WireError};

/// How often a queue that is throttled looks whether its partition moved.
const LOOK: Duration = Duration::from_secs(1);

/// Writes to one partition.
#[derive(Debug)]
pub(super) struct Writer {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    partition: i32,
    sinks: Arc<BrokerSinks>,
    /// The partition's leader, `host:port`, where it is known.
    leader: Option<String>,
    /// A sink of its own, while there is trouble.
    own: Option<BrokerSink>,
    /// What the last batch was to go by.
    last: Option<BrokerSink>,
}

impl Writer {
    /// Without a way yet.
    pub(super) fn new(
        cluster: Arc<Cluster>,
        topic: Arc<str>,
        partition: i32,
        sinks: Arc<BrokerSinks>,
    ) -> Self {
        Self { cluster, topic, partition, sinks, leader: None, own: None, last: None }
    }

    /// Whether there is a way to the leader, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.sink().is_some()
    }

    /// Until when Kafka takes nothing, where that is to come.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.sink()?.paused_until()
    }

    /// Asks a broker which one leads the partition: its host and port.
    pub(super) async fn leader(&self) -> Result<(String, i32), WireError> {
        let mut connection = self.cluster.connect().await?;
        topic::leader(&mut connection, &self.topic, self.partition).await
    }

    /// Until another broker leads the partition than the one that is written to.
    pub(super) async fn moved(&self) {
        loop {
            sleep(LOOK).await;
            let Some(leader) = &self.leader else { return };
            if let Ok((host, port)) = self.leader().await
                && Cluster::address(&host, port) != *leader
            {
                return;
            }
        }
    }

    /// Finds a way to that broker: one that other queues share or may share, or one of its own.
    pub(super) async fn connect(
        &mut self,
        (host, port): &(String, i32),
        alone: bool,
    ) -> Result<(), WireError> {
        let leader = Cluster::address(host, *port);
        if alone || self.sinks.to(&leader).is_none() {
            self.own = Some(self.sinks.another(host, *port).await?);
        }
        self.leader = Some(leader);
        if !alone {
            self.share();
        }
        Ok(())
    }

    /// Its own way is for all who want it.
    pub(super) fn share(&mut self) {
        if let (Some(leader), Some(own)) = (&self.leader, self.own.take()) {
            self.sinks.offer(leader.clone(), own);
        }
    }

    /// Forgets the leader: the next batch finds it anew.
    pub(super) fn close(&mut self) {
        (self.leader, self.own, self.last) = (None, None, None);
    }

    /// As [`Writer::close`], and nobody else is to take the way that the last batch took.
    pub(super) fn give_up(&mut self) {
        if let Some(sink) = &self.last {
            self.sinks.give_up(sink);
        }
        self.close();
    }

    /// Waits for a slot in the next request to the leader; `None` where the way is closed.
    pub(super) async fn slot(&mut self) -> Result<Option<BatchSlot>, WireError> {
        self.last = self.sink();
        match &self.last {
            Some(sink) => sink.slot().await.map(Some),
            None => Ok(None),
        }
    }

    fn sink(&self) -> Option<BrokerSink> {
        let own = self.own.as_ref().filter(|own| own.is_open());
        own.cloned().or_else(|| self.sinks.to(self.leader.as_ref()?))
    }
}
