//! Finds the leader of a partition and the sink to it.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::broker_sink::{BatchSlot, BrokerSink, BrokerSinks};
use crate::{Cluster, topic, wire::WireError};

/// The time between looks for another leader, while Kafka throttles.
const LEADER_POLL: Duration = Duration::from_secs(1);

/// Writes to one partition, through a sink of its leader.
#[derive(Debug)]
pub(super) struct Writer {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    partition: i32,
    sinks: Arc<BrokerSinks>,
    /// The leader, `host:port`, if it is known.
    leader: Option<String>,
    /// A sink of its own, after a failed attempt.
    own: Option<BrokerSink>,
    /// The sink of the last batch.
    last: Option<BrokerSink>,
}

impl Writer {
    /// A writer without a sink yet.
    pub(super) fn new(
        cluster: Arc<Cluster>,
        topic: Arc<str>,
        partition: i32,
        sinks: Arc<BrokerSinks>,
    ) -> Self {
        Self { cluster, topic, partition, sinks, leader: None, own: None, last: None }
    }

    /// Whether there is a sink, and its connection is open as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.sink().is_some()
    }

    /// The end of the leader's pause, if it throttles now.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.sink()?.paused_until()
    }

    /// Asks a broker for the leader: its host and port.
    pub(super) async fn leader(&self) -> Result<(String, i32), WireError> {
        let mut connection = self.cluster.connect().await?;
        topic::leader(&mut connection, &self.topic, self.partition).await
    }

    /// Waits until another broker leads the partition.
    pub(super) async fn moved(&self) {
        loop {
            sleep(LEADER_POLL).await;
            let Some(leader) = &self.leader else { return };
            if let Ok((host, port)) = self.leader().await
                && Cluster::address(&host, port) != *leader
            {
                return;
            }
        }
    }

    /// Gets a sink of that broker: a shared one, or a new one, which is not shared if `alone`.
    pub(super) async fn connect(
        &mut self,
        (host, port): &(String, i32),
        alone: bool,
    ) -> Result<(), WireError> {
        let leader = Cluster::address(host, *port);
        if alone || self.sinks.get(&leader).is_none() {
            self.own = Some(self.sinks.connect(host, *port).await?);
        }
        self.leader = Some(leader);
        if !alone {
            self.share();
        }
        Ok(())
    }

    /// Shares its own sink.
    pub(super) fn share(&mut self) {
        if let (Some(leader), Some(own)) = (&self.leader, self.own.take()) {
            self.sinks.share(leader.clone(), own);
        }
    }

    /// Forgets the leader and the sink: the next batch finds them anew.
    pub(super) fn close(&mut self) {
        (self.leader, self.own, self.last) = (None, None, None);
    }

    /// As [`Writer::close`]; no other queue gets the sink of the last batch either.
    pub(super) fn abandon(&mut self) {
        if let Some(sink) = &self.last {
            self.sinks.unshare(sink);
        }
        self.close();
    }

    /// Waits for a slot in the next request to the leader; `None` if there is no open sink.
    pub(super) async fn slot(&mut self) -> Result<Option<BatchSlot>, WireError> {
        self.last = self.sink();
        match &self.last {
            Some(sink) => sink.slot().await.map(Some),
            None => Ok(None),
        }
    }

    fn sink(&self) -> Option<BrokerSink> {
        let own = self.own.as_ref().filter(|own| own.is_open());
        own.cloned().or_else(|| self.sinks.get(self.leader.as_ref()?))
    }
}
