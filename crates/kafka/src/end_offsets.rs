//! Where the log ends now, by word of the partitions' leaders.
//!
//! Not by what a Fetch says: a leader that was elected a moment ago may not know yet how far its predecessor had told
//! others to read, and would name an earlier end. To ListOffsets it then answers that it does not know (KIP-207).

use std::sync::Arc;

use futures::future::try_join_all;
use rskafka::client::partition::{OffsetAt, PartitionClient};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    Cluster,
    cluster::{CallError, within},
    wire::LONGEST_IDLE,
};

/// A connection that was used, and when.
type Kept = (PartitionClient, Instant);

/// A topic's partitions, each on a connection that is kept.
#[derive(Debug)]
pub struct EndOffsets {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    clients: Vec<Mutex<Option<Kept>>>,
}

impl EndOffsets {
    /// Makes no connection yet.
    pub fn new(cluster: &Arc<Cluster>, topic: &Arc<str>, partitions: i32) -> Self {
        let clients = (0..partitions).map(|_| Mutex::default()).collect();
        Self { cluster: Arc::clone(cluster), topic: Arc::clone(topic), clients }
    }

    /// For each partition the offset before which are all committed records that were acknowledged before this was
    /// called, except for those that an open transaction holds back.
    pub async fn now(&self) -> Result<Vec<i64>, CallError> {
        try_join_all((0..self.clients.len()).map(|partition| self.of(partition))).await
    }

    async fn of(&self, partition: usize) -> Result<i64, CallError> {
        let mut kept = self.clients[partition].lock().await;
        // Taken: when nobody waits for the answer any more, the next call has a connection of its own.
        if let Some((client, used)) = kept.take()
            && used.elapsed() < LONGEST_IDLE
            && let Ok(end) = self.ask(&client).await
        {
            *kept = Some((client, Instant::now()));
            return Ok(end);
        }
        // Brokers close what was idle for long: that alone is no failure.
        let client = self.cluster.partition(&self.topic, partition as i32).await?;
        let end = self.ask(&client).await?;
        *kept = Some((client, Instant::now()));
        Ok(end)
    }

    async fn ask(&self, client: &PartitionClient) -> Result<i64, CallError> {
        let end = within(self.cluster.request_timeout(), client.get_offset(OffsetAt::Latest)).await;
        if end.is_err() {
            self.cluster.discard();
        }
        end
    }
}
