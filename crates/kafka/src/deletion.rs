//! Deletion of topics and groups.

use std::{sync::Arc, time::Duration};

use kafka_protocol::{
    ResponseError,
    messages::{DeleteTopicsRequest, MetadataRequest, TopicName},
    protocol::StrBytes,
};
use tokio::time::Instant;

use super::{Cluster, backoff::Backoff, group::Coordinator, wire::WireError};

/// Attempts to delete topics.
const ATTEMPTS: usize = 5;

impl Cluster {
    /// Deletes topics and their records. A topic that does not exist counts as deleted. A process that follows one
    /// ([`super::Topic::follow`]) creates it again.
    ///
    /// # Errors
    ///
    /// The last of five attempts failed.
    pub async fn delete_topics(&self, names: &[String]) -> Result<(), WireError> {
        let mut backoff = Backoff::new();
        for _ in 1..ATTEMPTS {
            match self.try_to_delete(names).await {
                Ok(()) => return Ok(()),
                Err(_) => backoff.wait().await,
            }
        }
        self.try_to_delete(names).await
    }

    async fn try_to_delete(&self, names: &[String]) -> Result<(), WireError> {
        let mut connection = self.connect().await?;
        let about = MetadataRequest::default().with_topics(Some(Vec::new()));
        let about = connection.call(&about, 4..=9).await?;
        let names = names.iter().map(|name| TopicName(StrBytes::from_string(name.clone())));
        let timeout_ms = i32::try_from(self.request_timeout().as_millis()).unwrap_or(i32::MAX);
        let request =
            DeleteTopicsRequest::default().with_topic_names(names.collect()).with_timeout_ms(timeout_ms);
        // Under ZooKeeper only the controller deletes topics.
        let controller = about.brokers.iter().find(|broker| broker.node_id == about.controller_id);
        let mut controller = match controller {
            Some(broker) => self.connect_to(&broker.host, broker.port).await?,
            None => connection,
        };
        let answer = controller.call(&request, 1..=5).await?;
        for deleted in answer.responses {
            match WireError::check("DeleteTopics", deleted.error_code) {
                Err(error) if error.code() == Some(ResponseError::UnknownTopicOrPartition) => {}
                checked => checked?,
            }
        }
        Ok(())
    }

    /// Deletes a consumer group without members, and its committed offsets. A group that does not exist counts as deleted. A
    /// member whose LeaveGroup was lost stays one until its session is over; `timeout` is the longest wait for that.
    ///
    /// # Errors
    ///
    /// The last attempt within that time failed.
    pub async fn delete_group(self: &Arc<Self>, id: &str, timeout: Duration) -> Result<(), WireError> {
        let coordinator = Coordinator::new(Arc::clone(self), id.to_owned());
        let by = Instant::now() + timeout;
        let mut backoff = Backoff::new();
        loop {
            match coordinator.delete().await {
                Err(_) if Instant::now() < by => backoff.wait().await,
                deleted => return deleted,
            }
        }
    }
}
