//! The end offsets of a topic's partitions, by ListOffsets (`Consumer.endOffsets` in Java).
//!
//! A Fetch's high watermark would not do: a leader that was just elected may name an end that is too early, as it has
//! not heard yet how far its predecessor let others read. To ListOffsets it answers with an error then (KIP-207).

use std::sync::Arc;

use futures::future::try_join_all;
use rskafka::client::partition::{OffsetAt, PartitionClient};
use tokio::{sync::Mutex, time::Instant};

use super::{
    CallError,
    client::{Partition, within},
};
use crate::{
    Cluster, topic,
    wire::{Connection, LONGEST_IDLE, WireError},
};

/// A connection of rskafka's, and the time of its last use.
type Kept = (Partition, Instant);

/// A connection of our own to a partition's leader, and the leader's epoch.
type Leader = (Connection, i32);

/// Asks for the end offsets of a topic's partitions, on one connection a partition, which it keeps.
#[derive(Debug)]
pub struct EndOffsets {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    clients: Vec<Mutex<Option<Kept>>>,
    /// The connections that replace those where streams come from a connector: rskafka knows none but its own.
    leaders: Vec<Mutex<Option<Leader>>>,
}

impl EndOffsets {
    /// The end offsets of the partitions from 0 to `partitions` (exclusive). Does not connect yet.
    pub fn new(cluster: &Arc<Cluster>, topic: &Arc<str>, partitions: i32) -> Self {
        let clients = (0..partitions).map(|_| Mutex::default()).collect();
        let leaders = (0..partitions).map(|_| Mutex::default()).collect();
        Self { cluster: Arc::clone(cluster), topic: Arc::clone(topic), clients, leaders }
    }

    /// The high watermark of each partition: all committed records that were acknowledged before the call are below
    /// it, except for those that an open transaction holds back.
    ///
    /// # Errors
    ///
    /// A partition's leader does not answer, or refuses. A partition that failed is asked on a new connection by the
    /// next call.
    pub async fn fetch(&self) -> Result<Vec<i64>, CallError> {
        try_join_all((0..self.clients.len()).map(|partition| self.of(partition))).await
    }

    async fn of(&self, partition: usize) -> Result<i64, CallError> {
        if self.cluster.config().connector.is_some() {
            return Ok(self.through_connector(partition).await?);
        }
        let mut kept = self.clients[partition].lock().await;
        // Taken: if the caller gives up before the response, the next call has a connection of its own.
        if let Some((client, used)) = kept.take()
            && used.elapsed() < LONGEST_IDLE
            && !client.is_nearly_over()
            && let Ok(end) = self.ask(&client).await
        {
            *kept = Some((client, Instant::now()));
            return Ok(end);
        }
        // Brokers close idle connections: that alone is no failure.
        let client = self.cluster.rskafka().partition(&self.cluster, &self.topic, partition as i32).await?;
        let end = self.ask(&client).await?;
        *kept = Some((client, Instant::now()));
        Ok(end)
    }

    /// Asks by our own ListOffsets.
    async fn through_connector(&self, partition: usize) -> Result<i64, WireError> {
        let mut kept = self.leaders[partition].lock().await;
        let partition = partition as i32;
        if let Some((mut leader, epoch)) = kept.take()
            && !leader.is_unusable()
            && let Ok(end) = leader.end(&self.topic, partition, epoch).await
        {
            *kept = Some((leader, epoch));
            return Ok(end);
        }
        let known = topic::leadership(&mut self.cluster.connect().await?, &self.topic, partition).await?;
        let (host, port) = known.leader.ok_or(WireError::NO_LEADER)?;
        let mut leader = self.cluster.connect_to(&host, port).await?;
        let end = leader.end(&self.topic, partition, known.epoch).await?;
        *kept = Some((leader, known.epoch));
        Ok(end)
    }

    async fn ask(&self, client: &PartitionClient) -> Result<i64, CallError> {
        let end = within(self.cluster.request_timeout(), client.get_offset(OffsetAt::Latest)).await;
        if end.is_err() {
            self.cluster.rskafka().discard();
        }
        end
    }
}
